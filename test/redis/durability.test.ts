/** After a reconnect, the server may be another one: it is asked for its settings until it answers. */
import { expect, test } from 'vitest'
import { MillraceError } from '../../src/base/errors.ts'
import { durabilityAgain } from '../../src/engines/redis/durability.ts'
import { redisSettings } from '../../src/engines/redis/redis-url.ts'

const settings = redisSettings('redis://localhost')
const busy = new MillraceError('UNAVAILABLE', 'redis: the server is loading its data')

/** A server whose append-only file is on, or off, that first answers nothing. */
function link(
  aof: boolean,
  failures: readonly Error[],
): { call(command: readonly unknown[]): Promise<unknown>; asked: number } {
  const left = [...failures]
  const made = {
    asked: 0,
    call: async ([name]: readonly unknown[]): Promise<unknown> => {
      made.asked++
      const failure = left.shift()
      if (failure !== undefined) throw failure
      if (name === 'INFO') return `redis_version:7.4.0\r\naof_enabled:${aof ? 1 : 0}\r\n`
      return ['appendfsync', 'always']
    },
  }
  return made
}

test('a server that does not answer is asked again, and a server with weaker settings is detected', async () => {
  expect(await durabilityAgain(link(true, [busy, busy]), settings, () => false)).toMatchObject({
    capability: { support: 'native' },
  })
  expect(await durabilityAgain(link(false, [busy]), settings, () => false)).toMatchObject({ code: 'CLAUSE_REFUSED' })
})

test('a server that refuses to answer is not written to', async () => {
  const forbidden = new MillraceError('FORBIDDEN', 'redis: NOPERM')
  expect(await durabilityAgain(link(true, [forbidden]), settings, () => false)).toBe(forbidden)
})

test('the server is not asked any more when the connection is lost again', async () => {
  const server = link(true, [busy, busy])
  expect(await durabilityAgain(server, settings, () => server.asked > 0)).toBeNull()
  expect(server.asked).toBe(1)
})

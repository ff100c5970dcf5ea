/** `/ready` and `/health` are open to everyone: they ask no store and no server, and reveal nothing but the answer. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'

let folder: string
let broker: Broker
let gateway: Gateway
let all: string
let some: string
const asked: string[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-ready-'))
  const tokens = join(folder, 'tokens.json')
  all = addToken(tokens, { name: 'all', permissions: { read: ['>'] } }).token
  some = addToken(tokens, { name: 'some', permissions: { read: ['orders'] } }).token
  broker = await connect('memory:')
  await broker.declare(stream('orders'))
  gateway = createGateway(broker, { drain: 0, access: { tokens } })
  await gateway.started
  asked.length = 0
  await broker.start({
    start: async ({ engine, alarms }) => {
      alarms.raise('UNAVAILABLE', 'redis at 10.1.2.3:6379 is silent')
      for (const name of ['describe', 'channel', 'channels', 'bounds'] as const)
        vi.spyOn(engine, name).mockImplementation(() => void asked.push(name) as never)
      for (const name of ['describe', 'deadLetters'] as const)
        vi.spyOn(engine.consumers, name).mockImplementation(() => void asked.push(name) as never)
      return { stop: async () => undefined, done: Promise.resolve() }
    },
  })
})
afterEach(async () => {
  vi.restoreAllMocks()
  await gateway.close()
  await broker.close()
  rmSync(folder, { recursive: true })
})

async function ask(path: string, token?: string): Promise<{ status: number; body: unknown }> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const answer = await gateway.fetch(new Request(`http://x.example${path}`, { headers }))
  return { status: answer.status, body: await answer.json() }
}

test('/ready tells only callers with a permission for all channels more than yes or no, and it asks no server', async () => {
  const alarms = [expect.objectContaining({ code: 'UNAVAILABLE' })]
  expect(await ask('/ready')).toEqual({ status: 503, body: { status: 'not ready' } })
  expect(await ask('/ready', 'wrong')).toEqual({ status: 503, body: { status: 'not ready' } })
  expect(await ask('/ready', some)).toEqual({ status: 503, body: { status: 'not ready' } })
  expect(await ask('/ready', all)).toEqual({ status: 503, body: { status: 'not ready', alarms } })
  expect(await ask('/health')).toEqual({ status: 200, body: { status: 'ok' } })
  expect(asked).toEqual([])
})

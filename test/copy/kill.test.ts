/**
 * `millrace copy`, killed repeatedly at any moment, ends with the same result: no event twice, none missing, consumers
 * and dead letters at their positions.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { engineOf } from '../../src/broker/engine-of.ts'
import { copyBroker } from '../../src/copy/copy.ts'
import { eventsOf } from '../../src/copy/source-events.ts'
import { connect } from '../../src/index.ts'
import { MAIN, type Ran, runMillrace } from '../cli/command-line.ts'
import { carts, fill, keyOf, Noted } from './fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-copy-kill-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const millrace = (...args: string[]): Promise<Ran> => runMillrace(args, { cwd: folder })

/** Start a copy, and kill it this long after its first output. Returns whether it was killed before it ended. */
async function killed(args: readonly string[], afterMs: number): Promise<boolean> {
  const child: ChildProcess = spawn(process.execPath, [MAIN, ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once('exit', (_code, signal) => resolve(signal)))
  await new Promise((resolve) => child.stdout?.once('data', resolve))
  const timer = setTimeout(() => child.kill('SIGKILL'), afterMs)
  const signal = await ended
  clearTimeout(timer)
  return signal === 'SIGKILL'
}

test('killed while it copies, compares and settles', { timeout: 120_000 }, async () => {
  const source = await connect(`file:${join(folder, 'source')}`)
  await fill(source)
  for (let round = 0; round < 30; round++) {
    await source.publish(
      carts,
      Array.from({ length: 1000 }, (_, n) => Noted({ n: 5000 + n, key: keyOf(n) }, { id: `more-${round}-${n}` })),
    )
  }
  await source.close()
  const args = ['copy', '--from', 'file:./source', '--to', 'file:./target']
  let kills = 0
  for (let afterMs = 1; kills < 12; afterMs += 40) {
    if (!(await killed(args, afterMs))) break
    kills++
  }
  expect(kills).toBeGreaterThan(2)
  const last = await millrace(...args, '--json')
  expect(last).toMatchObject({ code: 0 })

  const again = await connect(`file:${join(folder, 'source')}`, { readOnly: true })
  const target = await connect(`file:${join(folder, 'target')}`)
  try {
    const [from, to] = [engineOf(again), engineOf(target)]
    for (const { name } of (await from.describe()).channels) {
      const [here, there] = [from, to].map(async (engine) => {
        const ids = []
        for await (const { id } of eventsOf(engine, name)) ids.push(id)
        return ids
      })
      if (name === 'carts') expect(await there).toEqual(await here)
      expect((await to.carriage.consumers(name)).map(({ consumer, retries }) => [consumer, retries.length])).toEqual(
        (await from.carriage.consumers(name)).map(({ consumer, retries }) => [consumer, retries.length]),
      )
    }
    for (const consumer of ['half', 'worker', 'loser']) {
      const [here, there] = await Promise.all([again, target].map((broker) => broker.deadLetters(consumer).list()))
      expect(there?.map(({ id, attempts, deadAtMs, waiting }) => [id, attempts, deadAtMs, waiting])).toEqual(
        here?.map(({ id, attempts, deadAtMs, waiting }) => [id, attempts, deadAtMs, waiting]),
      )
    }
    const { channels } = await target.describe()
    expect(channels.find(({ name }) => name === 'carts')?.scheduled).toBe(1)
    expect(channels.find(({ name }) => name === 'jobs')?.scheduled).toBe(1)
    // Everything was reported in the end, and a further run has nothing to do.
    expect(
      (await copyBroker(again, target, { name: 'source' })).channels.every(({ state }) => state === 'already'),
    ).toBe(true)
  } finally {
    await again.close()
    await target.close()
  }
})

test('it says before what the target makes of it, and refuses what is not the same', { timeout: 60_000 }, async () => {
  const source = await connect(`file:${join(folder, 'small')}`)
  await source.publish(carts, [Noted({ n: 1, key: 'a' }, { id: 'e-1' }), Noted({ n: 2, key: 'a' }, { id: 'e-2' })])
  await source.close()

  const dry = await millrace('copy', '--from', 'file:./small', '--to', 'file:./other', '--dry-run')
  expect(dry.code).toBe(0)
  expect(dry.out).toMatch(/carts +stream +2 /)
  expect(dry.out).toMatch(/1 durable +native/)
  expect(dry.err).toContain('nothing was copied')

  const refused = await millrace('copy', '--from', 'file:./small', '--to', 'memory:')
  expect(refused.code).toBe(1)
  expect(refused.err).toContain('CLAUSE_REFUSED')
  const unknown = await millrace('copy', '--from', 'file:./small', '--to', 'file:./other', '--channels', 'cart')
  expect(unknown.err).toContain('UNKNOWN_CHANNEL')

  // Events of somebody else are there already.
  const other = await connect(`file:${join(folder, 'other')}`)
  await other.publish(carts, Noted({ n: 3, key: 'a' }, { id: 'e-3' }))
  await other.close()
  const conflict = await millrace('copy', '--from', 'file:./small', '--to', 'file:./other')
  expect(conflict.code).toBe(1)
  expect(conflict.err).toContain('CHANNEL_CONFLICT')

  // The source continues after the copy has ended.
  expect((await millrace('copy', '--from', 'file:./small', '--to', 'file:./third')).code).toBe(0)
  const more = await connect(`file:${join(folder, 'small')}`)
  await more.publish(carts, Noted({ n: 4, key: 'a' }, { id: 'e-4' }))
  await more.close()
  const late = await millrace('copy', '--from', 'file:./small', '--to', 'file:./third', '--json')
  expect(late.code).toBe(1)
  expect(JSON.parse(late.err)).toMatchObject({ error: { code: 'COPY_DIFFERS' } })
})

test('a cut-off copy whose target was tampered with ends with an error', { timeout: 60_000 }, async () => {
  const source = await connect(`file:${join(folder, 'honest')}`)
  await source.publish(carts, [Noted({ n: 1, key: 'a' }, { id: 'e-1' }), Noted({ n: 2, key: 'a' }, { id: 'e-2' })])
  const target = await connect(`file:${join(folder, 'tampered')}`)
  const to = engineOf(target)
  const stopped = new AbortController()
  stopped.abort(new Error('stopped'))
  await expect(copyBroker(source, target, { name: 'source', signal: stopped.signal })).rejects.toThrow('stopped')
  await to.carriage.putEvents('carts', [
    {
      id: 'e-2',
      type: 'noted',
      key: 'a',
      text: '{"specversion":"1.0","id":"e-2","source":"/x","type":"noted","data":{"n":9,"key":"a"}}',
      timeMs: 1,
    },
  ])
  await expect(copyBroker(source, target, { name: 'source' })).rejects.toMatchObject({ code: 'COPY_DIFFERS' })
  await target.channel('carts').remove()
  expect((await copyBroker(source, target, { name: 'source' })).channels).toMatchObject([
    { channel: 'carts', events: 2, state: 'copied' },
  ])
  await source.close()
  await target.close()
})

test('what comes is followed until the source is quiet', { timeout: 60_000 }, async () => {
  const source = await connect(`file:${join(folder, 'busy')}`)
  await source.publish(carts, Noted({ n: 0, key: 'a' }, { id: 'e-0' }))
  const running = millrace('copy', '--from', 'file:./busy', '--to', 'file:./quiet', '--follow', '--quiet', '2s')
  let published = 1
  for (; published < 60; published++) {
    await source.publish(carts, Noted({ n: published, key: keyOf(published) }, { id: `e-${published}` }))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  expect(await running).toMatchObject({ code: 0 })
  const target = await connect(`file:${join(folder, 'quiet')}`)
  const ids = []
  for await (const { id } of target.read('carts')) ids.push(id)
  expect(ids).toEqual(Array.from({ length: published }, (_, n) => `e-${n}`))
  await source.close()
  await target.close()
})

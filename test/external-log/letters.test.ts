/**
 * Texts of dead letters are stored on the servers, in any size, before their events are settled. They are read when
 * they are needed and deleted later.
 */
import { expect, it } from 'vitest'
import { MillraceError } from '../../src/base/errors.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { ConsumerLogRecords, textOffsetsBytes } from '../../src/external-log/consumer-log/consumer-log-records.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { Appended, AppendItem } from '../../src/external-log/log-backend.ts'
import { consumer, queue, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const orders = stream('orders', { dedupe: false })
const PATIENCE = { timeout: 10_000 }

/** Takes no more than it says, and fails to store letters as a test wants it. */
class Letters extends MemoryBackend {
  override readonly limits: MemoryBackend['limits']
  /** What becomes of the next attempts to store letters: refused, or stored and not answered. */
  readonly trouble: ('before' | 'after')[] = []
  tries = 0

  constructor(server: MemoryServer, entryBytes: number) {
    super(server)
    this.limits = { batchEvents: 65_536, entryBytes }
  }

  override async append(channel: string, items: readonly AppendItem[]): Promise<Appended[]> {
    for (const { event } of items)
      if (Buffer.byteLength(event.text) > this.limits.entryBytes) throw new MillraceError('EVENT_TOO_LARGE', event.id)
    const trouble = channel.startsWith('~dead') ? this.trouble.shift() : undefined
    if (channel.startsWith('~dead')) this.tries++
    if (trouble === 'before') throw new MillraceError('UNAVAILABLE', 'not now')
    const appended = await super.append(channel, items)
    if (trouble === 'after') throw new MillraceError('UNAVAILABLE', 'no answer')
    return appended
  }

  override appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
    if (entry.length > this.limits.entryBytes) throw new MillraceError('EVENT_TOO_LARGE', id)
    return super.appendConsumerLog(id, expected, entry)
  }
}

async function open(server: MemoryServer, entryBytes = 4096): Promise<{ backend: Letters; broker: ConnectedBroker }> {
  const backend = new Letters(server, entryBytes)
  const engine = await ExternalLogEngine.open({ backend, partitions: 2 })
  return { backend, broker: new ConnectedBroker(engine, { source: '/test', random: Math.random }) }
}

function stored(server: MemoryServer): number {
  return [...server.channels]
    .filter(([name]) => name.startsWith('~dead'))
    .reduce((sum, [, { records }]) => sum + records.length, 0)
}

it('an event of the largest size can become a dead letter, and can wait behind one', async () => {
  const server = new MemoryServer()
  const { broker } = await open(server)
  const data = `${'"é'.repeat(700)}\u{1f6b2}`
  let bad = true
  const done: unknown[] = []
  const worker = consumer('worker', orders).onAny((event, ctx) => {
    if (bad) ctx.reject('not now')
    done.push(event.data)
  })
  await broker.start(worker)
  for (const n of [1, 2]) await broker.publish(orders, { type: 'order', data: `${n}${data}`, partitionkey: 'one' })
  await expect.poll(async () => (await broker.describe()).consumers[0]?.parked, PATIENCE).toBe(1)
  await expect.poll(() => stored(server), PATIENCE).toBeGreaterThan(3)
  // Another process sees it too.
  const other = await open(server)
  const [letter] = await other.broker.deadLetters(worker).list()
  expect(JSON.parse(letter?.text ?? '').data).toBe(`1${data}`)
  bad = false
  expect(await broker.deadLetters(worker).redrive()).toBe(1)
  await expect.poll(() => done, PATIENCE).toEqual([`1${data}`, `2${data}`])
  await expect.poll(() => stored(server), PATIENCE).toBe(0)
  await other.broker.close()
  await broker.close()
})

it('an event is settled only when its letter is stored, and several attempts store one letter', async () => {
  const server = new MemoryServer()
  const { backend, broker } = await open(server)
  backend.trouble.push('before', 'after', 'before')
  let handled = 0
  const worker = consumer('worker', orders).onAny((_event, ctx) => {
    handled++
    ctx.reject('never')
  })
  await broker.start(worker)
  await broker.publish(orders, { type: 'order', partitionkey: 'one' })
  await expect.poll(() => backend.tries, PATIENCE).toBe(1)
  expect(
    (await (await open(server)).broker.deadLetters(worker).list()).length,
    'no other process sees a letter whose text is not stored',
  ).toBe(0)
  expect((await broker.describe()).alarms.map(({ code }) => code)).toEqual(['UNAVAILABLE'])
  await expect.poll(() => backend.tries, PATIENCE).toBe(4)
  await expect.poll(async () => (await (await open(server)).broker.deadLetters(worker).list()).length, PATIENCE).toBe(1)
  expect(handled).toBe(1)
  await broker.close()
})

it('texts that are not needed any more are deleted, also behind a letter that stays', async () => {
  const server = new MemoryServer()
  const { broker } = await open(server, 200_000)
  const jobs = queue('jobs', { dedupe: false })
  let bad = true
  let done = 0
  const worker = consumer('worker', jobs, { concurrency: 50, onDead: 'skip' }).onAny((event, ctx) => {
    if (bad || event.id === 'stays') ctx.reject('not now')
    done++
  })
  await broker.start(worker)
  const box = broker.deadLetters(worker)
  await broker.publish(jobs, { id: 'stays', type: 'job', data: 'kept' })
  for (let round = 1; round <= 2; round++) {
    bad = true
    for (let batch = 0; batch < 10; batch++) {
      await broker.publish(
        jobs,
        Array.from({ length: 300 }, (_, n) => ({ type: 'job', data: n })),
      )
    }
    await expect.poll(async () => (await broker.describe()).consumers[0]?.deadLetters, PATIENCE).toBe(3001)
    bad = false
    expect(await box.redrive()).toBe(3001)
    await expect.poll(() => done, PATIENCE).toBe(round * 3000)
  }
  await expect.poll(() => stored(server), PATIENCE).toBeLessThan(2200)
  const letters = await box.list()
  expect(letters.map(({ id, text }) => [id, JSON.parse(text).data])).toEqual([['stays', 'kept']])
  await box.drop()
  await expect.poll(() => stored(server), PATIENCE).toBe(0)
  await broker.close()
}, 40_000)

it('records of letters are found like all other records', () => {
  const records = new ConsumerLogRecords()
  const plain = new Map<string, Uint8Array>()
  let seed = 7
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  const key = (table: string): string =>
    table === 'w' ? `w/${random(20)}` : `${table}/group/0000000${random(2)}/${String(random(300)).padStart(16, '0')}`
  const value = (table: string): Uint8Array =>
    table === 'd'
      ? textOffsetsBytes(random(2) === 0 ? random(1e6) : [random(1e6), random(1e6)])
      : Buffer.from(`{"some":${random(30)}}`)
  const shown = (found: Iterable<readonly [string, Uint8Array]>): string[] =>
    [...found].map(([at, bytes]) => `${at} ${Buffer.from(bytes)}`)
  const sorted = (): [string, Uint8Array][] => [...plain].sort(([a], [b]) => (a < b ? -1 : 1))
  for (let step = 0; step < 20_000; step++) {
    const table = 'dkrw'[random(4)] as string
    const at = key(table)
    if (random(3) === 0) {
      records.delete(at)
      plain.delete(at)
    } else {
      const bytes = value(table)
      records.set(at, bytes)
      plain.set(at, bytes)
    }
    if (step % 50 !== 0) continue
    const prefix = `${'dkr'[random(3)]}/group/0000000${random(2)}/`
    const from =
      random(2) === 0 ? prefix : `${prefix}${String(random(300)).padStart(16, '0')}${random(2) === 0 ? '!' : ''}`
    const to = `${prefix.slice(0, -1)}0`
    const limit = random(2) === 0 ? random(40) : Number.POSITIVE_INFINITY
    expect(shown(records.range(from, to, limit))).toEqual(
      shown(sorted().filter(([each]) => each >= from && each < to)).slice(0, limit),
    )
    expect(shown(records).sort()).toEqual(shown(plain).sort())
  }
})

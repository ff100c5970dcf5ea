/** Members whose partition another process takes for a moment, and members that start again while they leave. */
import { afterEach, expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { encodeEntry, entryIn, fold } from '../../src/external-log/consumer-log/consumer-log-entry.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { type Broker, consumer, stream } from '../../src/index.ts'
import { type Faults, MemoryBackend, MemoryServer } from './memory-backend.ts'

const LEASE_MS = 1000
const orders = stream('orders', { key: ({ data }: { readonly data: unknown }) => (data as { order: string }).order })

const brokers: Broker[] = []
/** Let go of what a dead process waits for, so that it can be closed. */
const revivals: (() => void)[] = []
afterEach(async () => {
  for (const revive of revivals.splice(0)) revive()
  for (const broker of brokers.splice(0)) await broker.close()
})

async function processOn(backend: MemoryBackend, partitions = 1): Promise<Broker> {
  const broker = new ConnectedBroker(await ExternalLogEngine.open({ backend, partitions }), {
    source: '/test',
    random: Math.random,
  })
  brokers.push(broker)
  return broker
}

interface ConsumerLog {
  readonly entries: readonly (readonly [version: number, entry: Uint8Array])[]
}

function ofWorker({ consumerLogs }: MemoryServer): ConsumerLog[] {
  return [...consumerLogs].flatMap(([id, consumerLog]) => (id.startsWith('worker/') ? [consumerLog] : []))
}

/** Faults of a process that can die: none of its calls comes back any more. */
function mortal(): Faults & { die(): void } {
  let dead: Promise<void> | undefined
  const die = (): void => {
    dead = new Promise((resolve) => revivals.push(resolve))
  }
  return { die, wait: () => dead }
}

/** Another process claims the consumer log, and gives it back, just before the first change of this one is written. */
class Crossed extends MemoryBackend {
  #crossed = false

  override async appendConsumerLog(id: string, expected: number, bytes: Uint8Array): Promise<number> {
    if (!this.#crossed && entryIn(bytes)?.kind === 'commit') {
      this.#crossed = true
      await super.appendConsumerLog(id, expected, encodeEntry({ number: 1, owner: 'other', kind: 'claim' }))
      await super.appendConsumerLog(id, expected + 1, encodeEntry({ number: 2, owner: 'other', kind: 'release' }))
    }
    return super.appendConsumerLog(id, expected, bytes)
  }
}

test('an owner is told that its partition was taken for a moment, also if the change was written at the second try', async () => {
  const server = new MemoryServer()
  const [owner, other] = [await processOn(new MemoryBackend(server)), await processOn(new Crossed(server))]
  const handled: string[] = []
  await owner.start(consumer('worker', orders, { lease: LEASE_MS }).onAny(({ id }) => void handled.push(id)))
  await owner.publish(orders, { id: 'e', type: 'placed', data: { order: 'o' } })
  await expect.poll(() => handled).toEqual(['e'])
  await other.consumer('worker').rewind('beginning')
  await expect.poll(() => handled, { timeout: 5000 }).toEqual(['e', 'e'])
})

test('a worker that starts while the last one leaves keeps its partitions and handles each event once', async () => {
  const server = new MemoryServer()
  const held: (() => void)[] = []
  class SlowRelease extends MemoryBackend {
    override async appendConsumerLog(id: string, expected: number, bytes: Uint8Array): Promise<number> {
      if (id.endsWith('/0') && entryIn(bytes)?.kind === 'release' && held.length === 0)
        await new Promise<void>((resolve) => held.push(resolve))
      return super.appendConsumerLog(id, expected, bytes)
    }
  }
  const broker = await processOn(new SlowRelease(server), 4)
  const handled: string[] = []
  const worker = consumer('worker', orders, { lease: LEASE_MS }).onAny(({ id }) => void handled.push(id))
  const stopping = (await broker.start(worker)).stop()
  await expect.poll(() => held.length).toBe(1)
  const starting = broker.start(worker)
  // As far as it comes without the release.
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  for (const letGo of held) letGo()
  await Promise.all([stopping, starting])
  const isOurs = ({ entries }: ConsumerLog): boolean => !fold(entries.map(([, bytes]) => bytes)).released
  await expect.poll(() => ofWorker(server).map(isOurs), { timeout: 5000 }).toEqual([true, true, true, true])
  const ids = Array.from({ length: 32 }, (_, at) => `e${at}`)
  await broker.publish(
    orders,
    ids.map((id) => ({ id, type: 'placed', data: { order: id } })),
  )
  await expect.poll(() => new Set(handled).size, { timeout: 5000 }).toBe(ids.length)
  expect(handled.length).toBe(ids.length)
})

/**
 * The attempt in which an event comes to a second worker after the first had it in hand, died or not, while another
 * process redrove a dead letter beside it.
 */
async function attemptAfter(dies: boolean): Promise<number> {
  const server = new MemoryServer()
  const faults = mortal()
  const [owner, other] = [
    await processOn(new MemoryBackend(server, faults)),
    await processOn(new MemoryBackend(server)),
  ]
  const attempts: number[] = []
  let longRuns = (): void => undefined
  const recorded = new Promise<void>((resolve) => {
    longRuns = resolve
  })
  const worker = (long: (attempt: number) => Promise<void> | void) =>
    consumer('worker', orders, { lease: LEASE_MS, concurrency: 4 }).onAny(async ({ id }, ctx) => {
      if (id === 'bad' && attempts.length === 0) ctx.reject('bad')
      if (id !== 'long') return
      attempts.push(ctx.attempt)
      await long(ctx.attempt)
    })
  await owner.start(
    worker(() => {
      longRuns()
      return attempts.length === 1 ? new Promise((resolve) => revivals.push(resolve)) : undefined
    }),
  )
  await owner.publish(orders, [
    { id: 'bad', type: 'placed', data: { order: 'bad' } },
    { id: 'long', type: 'placed', data: { order: 'long' } },
  ])
  await recorded
  const [consumerLog] = ofWorker(server)
  const isRecorded = (): boolean =>
    consumerLog?.entries.some(([, bytes]) =>
      JSON.stringify(entryIn(bytes)?.records ?? {}).includes(String.raw`\"offsets\":[1]`),
    ) === true
  await expect.poll(isRecorded).toBe(true)
  if (dies) faults.die()
  expect(await other.deadLetters('worker').redrive()).toBe(1)
  if (dies) await other.start(worker(() => undefined))
  else for (const endHandler of revivals.splice(0)) endHandler()
  await expect.poll(() => attempts.length, { timeout: 8000 }).toBe(2)
  return attempts[1] as number
}

test('an event in flight at a process that died has used an attempt, also if a dead letter was redriven before the death was known', async () => {
  expect(await attemptAfter(true)).toBe(2)
})

test('an event in flight at a process that lives uses no attempt when its partition is taken for a moment', async () => {
  expect(await attemptAfter(false)).toBe(1)
})

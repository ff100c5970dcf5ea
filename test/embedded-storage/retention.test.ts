/**
 * Retention continues: while a sweep takes longer than its interval, after a failed sweep, and after the clock was set
 * back.
 */
import { afterEach, expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { memoryCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { EmbeddedEngine } from '../../src/engines/embedded/embedded-engine.ts'
import { MemoryStore } from '../../src/engines/embedded/storage/memory-store.ts'
import type { StoredBlock } from '../../src/engines/embedded/store.ts'
import type { Block } from '../../src/event/block.ts'
import { event, stream } from '../../src/index.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const Noted = event('noted')

/** A store whose reads end, or fail, when the test says so. */
class SlowStore extends MemoryStore<Block> {
  reads: Promise<void> = Promise.resolve()
  reading = 0

  /** Each sweep of a stream that is kept by age asks for an offset by time. */
  sweeps = 0

  override seek(channelId: number, timeMs: number): number {
    this.sweeps++
    return super.seek(channelId, timeMs)
  }

  override async read(channelId: number, offset: number, maxBytes: number): Promise<StoredBlock[]> {
    this.reading++
    await this.reads
    return super.read(channelId, offset, maxBytes)
  }
}

let opened: ConnectedBroker | null = null
afterEach(async () => {
  await opened?.close()
  opened = null
})

function open() {
  const clock = new VirtualClock(1_000_000)
  const store = new SlowStore()
  const alarms: string[] = []
  const engine = new EmbeddedEngine({
    ...{ name: 'memory', capabilities: memoryCapabilities, store, clock },
    onAlarm: ({ code, message }) => alarms.push(`${code}: ${message}`),
  })
  opened = new ConnectedBroker(engine, { source: '/test', random: Math.random })
  return { clock, store, alarms, broker: opened }
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

async function passes(clock: VirtualClock, ms: number): Promise<void> {
  for (const until = clock.now() + ms; clock.step(until); ) await settled()
  await settled()
}

async function kept(broker: ConnectedBroker, name: string): Promise<number> {
  const channel = (await broker.describe()).channels.find((each) => each.name === name)
  return channel === undefined ? -1 : channel.next - channel.first
}

const few = stream('few', { retain: { count: 10 }, dedupe: false })
/** A sweep of this channel reads. */
const small = stream('small', { retain: { bytes: 1000 }, dedupe: false })

async function fill(broker: ConnectedBroker, channel: typeof few): Promise<void> {
  for (let n = 0; n < 50; n++) await broker.publish(channel, Noted({ n, pad: 'x'.repeat(100) }))
}

test('events that are stored during a sweep longer than its interval are swept after it', async () => {
  const { clock, store, broker } = open()
  let go: () => void = () => undefined
  store.reads = new Promise((resolve) => {
    go = resolve
  })
  await fill(broker, small)
  await passes(clock, 1500)
  expect(store.reading, 'a sweep is under way').toBe(1)
  await fill(broker, few)
  await passes(clock, 5000)
  expect(await kept(broker, 'few')).toBe(50)
  go()
  await settled()
  await passes(clock, 2000)
  expect(await kept(broker, 'few')).toBe(10)
  expect(await kept(broker, 'small')).toBeLessThan(10)
  // Retention continues.
  await fill(broker, few)
  await passes(clock, 2000)
  expect(await kept(broker, 'few')).toBe(10)
})

test('if the sweep of one channel fails, the others are swept, and that one when it is possible', async () => {
  const { clock, store, broker, alarms } = open()
  store.reads = Promise.reject(new Error('a bad sector'))
  store.reads.catch(() => undefined)
  await fill(broker, small)
  await fill(broker, few)
  await passes(clock, 1500)
  expect(await kept(broker, 'few')).toBe(10)
  expect(await kept(broker, 'small')).toBe(50)
  expect(alarms).toEqual([expect.stringMatching(/^RETENTION_FAILED: .*"small".*a bad sector/)])
  store.reads = Promise.resolve()
  await passes(clock, 15_000)
  expect(await kept(broker, 'small')).toBeLessThan(10)
  expect((await broker.describe()).alarms).toEqual([])
})

test('after the clock goes back by an hour, channels with new events are swept as before', async () => {
  let offsetMs = 0
  const steady = new VirtualClock(1_000_000)
  const store = new MemoryStore<Block>()
  const now = (): number => steady.now() + offsetMs
  const after = (delayMs: number, task: () => void): (() => void) => steady.after(delayMs, task)
  const clock = {
    now,
    after,
    elapsed: () => steady.elapsed(),
    at: (timeMs: number, task: () => void) => after(Math.min(timeMs - now(), 60_000), task),
  }
  opened = new ConnectedBroker(new EmbeddedEngine({ name: 'memory', capabilities: memoryCapabilities, store, clock }), {
    source: '/test',
    random: Math.random,
  })
  await fill(opened, few)
  offsetMs = -3_600_000
  await fill(opened, few)
  await passes(steady, 61_000)
  expect(await kept(opened, 'few')).toBe(10)
})

test('sweeps do not multiply while one channel waits longer for its next sweep than another', async () => {
  const { clock, store, broker } = open()
  // Events that no longer count are deleted after the deduplication window: a sweep every ten seconds until then.
  const counted = stream('counted', { retain: { count: 5 } })
  const aged = stream('aged', { retain: { age: '1h' } })
  await broker.declare(counted, aged)
  await broker.publish(
    counted,
    Array.from({ length: 10 }, () => ({ type: 'noted' })),
  )
  await broker.publish(aged, { type: 'noted' })
  store.sweeps = 0
  await passes(clock, 30_000)
  expect(store.sweeps).toBeGreaterThan(20)
  expect(store.sweeps).toBeLessThan(40)
})

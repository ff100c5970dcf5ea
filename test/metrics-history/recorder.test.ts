/** What is recorded while a broker works, and what a later process knows of it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type BrokerCore, coreOf } from '../../src/broker/engine-of.ts'
import { type Broker, connect, consumer, stream } from '../../src/index.ts'
import { HistoryRecorder } from '../../src/metrics-history/recorder.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const START_MS = Date.parse('2026-05-01T12:00:03Z')
const STEP = 10_000

let broker: Broker
let clock: VirtualClock
let recorders: HistoryRecorder[]
/** How far the wall clock is from the one that the test moves. */
let skewMs = 0
/** While it is set, describing the broker fails. */
let down = false

/** The engine with a clock that the test moves, under a name for which the recorder saves. */
function coreFor(of: Broker): BrokerCore {
  const core = coreOf(of)
  const { engine } = core
  const steady = clock
  const seen = {
    name: 'file',
    clock: {
      now: () => steady.now() + skewMs,
      elapsed: () => steady.elapsed(),
      after: steady.after.bind(steady),
      at: steady.at.bind(steady),
    },
    consumers: engine.consumers,
    describe: () => (down ? Promise.reject(new Error('down')) : engine.describe()),
    bounds: engine.bounds.bind(engine),
    publish: engine.publish.bind(engine),
    read: engine.read.bind(engine),
  }
  return { ...core, closed: false, random: () => 0, engine: seen as unknown as BrokerCore['engine'] }
}

async function started(): Promise<HistoryRecorder> {
  const recorder = new HistoryRecorder(coreFor(broker))
  recorders.push(recorder)
  recorder.start()
  await recorder.loaded
  return recorder
}

/** Move the clock by slots, and wait until each is recorded. */
async function pass(slots: number): Promise<void> {
  for (let slot = 0; slot < slots; slot++) {
    const untilMs = clock.now() + STEP
    while (clock.step(untilMs)) for (const recorder of recorders) await recorder.loaded
  }
}

const figureOf = (recorder: HistoryRecorder, name: string, figure: string, slots: number): unknown => {
  const toMs = Math.floor(clock.now() / STEP) * STEP
  const kind = name === 'orders' ? 'channel' : 'consumer'
  return recorder.history.of(kind, name, toMs - slots * STEP, toMs, 2000)?.figures[figure]
}

beforeEach(async () => {
  broker = await connect('memory:', { logger: false })
  clock = new VirtualClock(START_MS)
  recorders = []
  skewMs = 0
  down = false
  await broker.declare(stream('orders'))
})
afterEach(async () => {
  for (const recorder of recorders) await recorder.close()
  await broker.close()
})

async function publish(count: number): Promise<void> {
  await broker.publish(
    'orders',
    Array.from({ length: count }, () => ({ type: 'order.placed' })),
  )
}

describe('a recorder', () => {
  test('records what was published, and how far a consumer is behind', async () => {
    const running = await broker.start(consumer('billing', 'orders').onAny(() => undefined))
    await running.stop()
    const recorder = await started()
    await publish(30)
    await pass(1)
    await publish(10)
    await pass(2)
    expect(figureOf(recorder, 'orders', 'published', 3)).toEqual([3, 1, 0])
    expect(figureOf(recorder, 'billing', 'lag', 3)).toEqual([30, 40, 40])
  })

  test('records attempts by their outcome, and how long events and handlers took', async () => {
    const recorder = await started()
    const running = await broker.start(
      consumer('billing', 'orders', { retry: { attempts: 2, min: 1, max: 1 } }).onAny(async (event) => {
        await new Promise((resolve) => setTimeout(resolve, 20))
        if (event.subject === 'bad') throw new Error('no')
      }),
    )
    await publish(10)
    await broker.publish('orders', { type: 'order.placed', subject: 'bad' })
    const settled = async (): Promise<unknown> =>
      (await broker.describe()).consumers.map(({ channels, deadLetters }) => [channels[0]?.lag, deadLetters])
    await expect.poll(settled).toEqual([[0, 1]])
    await pass(1)
    for (const [figure, rate] of [
      ['completed', 1],
      ['retried', 0.1],
      ['deadLettered', 0.1],
      ['delivered', 1.2],
    ] as const)
      expect([figure, figureOf(recorder, 'billing', figure, 1)]).toEqual([figure, [rate]])
    for (const figure of ['latencyP50', 'latencyP99', 'durationP50', 'durationP99']) {
      const [found] = figureOf(recorder, 'billing', figure, 1) as number[]
      expect(found, figure).toBeGreaterThan(15)
      expect(found, figure).toBeLessThan(20_000)
    }
    expect(Object.keys((await broker.describe()).consumers[0] ?? {})).not.toContain('counted')
    expect(Object.keys(await broker.consumer('billing').describe())).not.toContain('counted')
    await running.stop()
    await pass(1)
    expect(figureOf(recorder, 'billing', 'completed', 1)).toEqual([0])
  })

  test('knows after a restart what was recorded before, and has a gap where no process ran', async () => {
    const first = await started()
    await publish(30)
    await pass(2)
    await first.close()
    recorders = []
    clock.step(clock.now() + 3 * STEP)
    const second = await started()
    await pass(2)
    expect(figureOf(second, 'orders', 'published', 7)).toEqual([3, 0, null, null, null, 0, 0])
  })

  test('takes a slot from another process, and saves none twice', async () => {
    const [one, other] = [await started(), await started()]
    await publish(20)
    await pass(3)
    expect(figureOf(one, 'orders', 'published', 3)).toEqual([2, 0, 0])
    expect(figureOf(other, 'orders', 'published', 3)).toEqual([2, 0, 0])
    expect((await broker.describe()).channels.find(({ name }) => name === '$metrics.day')?.next).toBe(3)
  })

  test('joins the slots of five minutes, also those that a process before did not', async () => {
    const first = await started()
    for (let slot = 0; slot < 20; slot++) {
      await publish(3)
      await pass(1)
    }
    await first.close()
    recorders = []
    const second = await started()
    await pass(25)
    const fromMs = Math.floor(START_MS / 300_000) * 300_000
    expect(second.history.newest('month')).toBe(fromMs / 300_000)
    const saved = []
    for await (const { data } of broker.read('$metrics.month')) saved.push(data)
    expect(saved).toEqual([{ slot: fromMs / 300_000, rows: expect.any(String) }])
  })

  test('records nothing while the clock is behind, and forgets what came after if it went back far', async () => {
    const recorder = await started()
    await pass(3)
    const newest = recorder.history.newest('day')
    clock = new VirtualClock(clock.now() - 2 * STEP)
    await recorder.close()
    recorders = []
    const after = await started()
    expect(after.history.newest('day')).toBe(newest - 1)
    await pass(1)
    expect(after.history.newest('day')).toBe(newest - 1)
    await pass(2)
    expect(after.history.newest('day')).toBe(newest + 1)
  })

  test('has a gap while the broker cannot be described, and goes on', async () => {
    const recorder = await started()
    await pass(1)
    down = true
    await publish(20)
    await pass(1)
    down = false
    await pass(2)
    // Half of the events were published in the slot that is missing.
    expect(figureOf(recorder, 'orders', 'published', 4)).toEqual([0, null, 1, 0])
  })

  test('leaves out a saved slot that cannot be read', async () => {
    const first = await started()
    await publish(10)
    await pass(1)
    await first.close()
    recorders = []
    const core = coreOf(broker)
    await core.encoder.prepare('$metrics.day')
    const data = { slot: Math.floor(clock.now() / STEP) - 2, rows: 'AAAA' }
    const event = await core.encoder.encode('$metrics.day', { type: 'millrace.metrics.day', data })
    await core.engine.publish('$metrics.day', event, null)
    const second = await started()
    await pass(1)
    expect(figureOf(second, 'orders', 'published', 2)).toEqual([1, 0])
  })

  test('that starts while the clock is far behind knows what was recorded before, when the clock is set', async () => {
    const first = await started()
    await publish(30)
    await pass(2)
    await first.close()
    recorders = []
    skewMs = -365 * 86_400_000
    const second = await started()
    await publish(10)
    await pass(3)
    skewMs = 0
    await publish(20)
    await pass(1)
    expect(figureOf(second, 'orders', 'published', 6)).toEqual([3, 0, null, null, null, 2])
    await publish(50)
    await pass(1)
    expect(figureOf(second, 'orders', 'published', 2)).toEqual([2, 5])
  })

  test('continues at once when the clock goes back an hour, and forgets the slots of the wrong time', async () => {
    skewMs = 3_600_000
    const recorder = await started()
    await publish(10)
    await pass(2)
    skewMs = 0
    await publish(30)
    await pass(1)
    await publish(50)
    await pass(1)
    expect(figureOf(recorder, 'orders', 'published', 2)).toEqual([3, 5])
    expect(recorder.history.newest('day')).toBe(Math.floor(clock.now() / STEP) - 1)
    // A gateway beside it has the same, and so has one that starts later.
    const other = await started()
    expect(figureOf(other, 'orders', 'published', 2)).toEqual([3, 5])
    await publish(20)
    await pass(1)
    for (const each of [recorder, other]) expect(figureOf(each, 'orders', 'published', 3)).toEqual([3, 5, 2])
  })

  test('passes midnight and the end of a month, also when it starts again there', async () => {
    clock = new VirtualClock(Date.parse('2026-12-31T23:59:35Z'))
    const first = await started()
    for (let slot = 0; slot < 2; slot++) {
      await publish(10)
      await pass(1)
    }
    await first.close()
    recorders = []
    const second = await started()
    for (let slot = 0; slot < 40; slot++) {
      await publish(20)
      await pass(1)
    }
    expect(figureOf(second, 'orders', 'published', 42)).toEqual([1, 1, ...Array.from({ length: 40 }, () => 2)])
    const month = 300_000
    const toMs = Math.floor(clock.now() / month) * month
    const saved = []
    for await (const { data } of broker.read('$metrics.month')) saved.push((data as { slot: number }).slot)
    expect(saved).toEqual([toMs / month - 2, toMs / month - 1])
  })
})

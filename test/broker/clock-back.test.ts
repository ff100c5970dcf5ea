/**
 * The wall clock goes back under a running broker: durations are still measured correctly, on the embedded engine and
 * on the engine over servers.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { ConsumerDescription } from '../../src/broker/description.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { consumer, event, stream } from '../../src/index.ts'
import { TestClock } from '../consumer/fixture.ts'
import { MemoryBackend, MemoryServer } from '../external-log/memory-backend.ts'

const HOUR_MS = 3_600_000
const Noted = event('noted')
const notes = stream('notes', { events: [Noted] })

const engines = {
  embedded: async (clock: TestClock) => openMemoryEngine({}, clock),
  'over servers': (clock: TestClock) =>
    ExternalLogEngine.open({ backend: new MemoryBackend(new MemoryServer()), partitions: 1, clock }),
}

describe.each(Object.entries(engines))('%s: the wall clock goes back by an hour', (_, open) => {
  let clock: TestClock
  let broker: ConnectedBroker

  beforeEach(async () => {
    clock = new TestClock()
    broker = new ConnectedBroker(await open(clock), { source: '/test', random: Math.random })
    await broker.declare(notes)
  })

  afterEach(async () => {
    const closing = broker.close()
    await clock.pass(60_000)
    await closing
  })

  async function worker(): Promise<ConsumerDescription | undefined> {
    return (await broker.describe()).consumers[0]
  }

  test('a consumer that makes no progress is told of after its time', async () => {
    await broker.start(consumer('worker', notes, { stall: '10s' }).on(Noted, () => new Promise(() => undefined)))
    await broker.publish(notes, Noted({}))
    await clock.pass(1000)
    clock.skewMs -= HOUR_MS
    await clock.pass(4000)
    expect((await worker())?.stalled).toBeNull()
    await clock.pass(6000)
    const stalled = (await worker())?.stalled
    expect(stalled?.reason).toMatch('1 handler(s)')
    // As the wall clock is now.
    expect(clock.now() - (stalled?.sinceMs ?? 0)).toBeGreaterThanOrEqual(10_000)
    expect(clock.now() - (stalled?.sinceMs ?? 0)).toBeLessThan(12_000)
  })

  test('rates are of the last seconds', async () => {
    await broker.start(consumer('worker', notes).on(Noted, () => undefined))
    const publish = async (): Promise<void> => {
      for (let n = 0; n < 50; n++) await broker.publish(notes, Noted({}))
      await clock.pass(10)
    }
    await publish()
    await clock.pass(1000)
    clock.skewMs -= HOUR_MS
    await publish()
    const rates = async (): Promise<(number | undefined)[]> => [
      (await broker.describe()).channels[0]?.rate,
      (await worker())?.rate,
    ]
    expect(await rates()).toEqual([10, 10])
    await clock.pass(11_000)
    expect(await rates()).toEqual([0, 0])
  })
})

test('the wall clock goes back by an hour: a channel that keeps the last ten events is swept', async () => {
  const clock = new TestClock()
  const broker = new ConnectedBroker(openMemoryEngine({}, clock), { source: '/test', random: Math.random })
  const few = stream('few', { retain: { count: 10 }, dedupe: false })
  await broker.declare(few)
  await broker.publish(few, Noted({}))
  await clock.pass(2000)
  for (let n = 0; n < 20; n++) await broker.publish(few, Noted({}))
  clock.skewMs -= HOUR_MS
  await clock.pass(2000)
  expect((await broker.describe()).channels[0]).toMatchObject({ first: 11, next: 21 })
  await broker.close()
})

test('over servers, who is not heard of for its lease by the clock has gone', async () => {
  const server = new MemoryServer()
  const seen: string[] = []
  const start = async (member: string): Promise<readonly [TestClock, ConnectedBroker]> => {
    const clock = new TestClock()
    const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(server), partitions: 2, clock, member })
    const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
    await broker.declare(notes)
    await broker.start(consumer('worker', notes, { lease: '10s' }).on(Noted, () => void seen.push(member)))
    return [clock, broker]
  }
  // Time stands still for the one that owns both partitions.
  const [, still] = await start('still')
  const [clock, broker] = await start('goes on')
  for (let n = 0; n < 8; n++) await broker.publish(notes, Noted({}))
  await clock.pass(5000)
  clock.skewMs -= HOUR_MS
  await clock.pass(10_000)
  expect(seen.filter((name) => name === 'goes on').length).toBeGreaterThan(0)
  await Promise.all([still.close(), broker.close(), clock.pass(60_000)])
})

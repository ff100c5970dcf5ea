/**
 * A clock that jumps forward and back under a running broker: waits for a time follow it, order is kept, and everything
 * else continues.
 */
import { afterEach, expect, test } from 'vitest'
import { atTime, type Clock } from '../../src/base/clock.ts'
import { afterMs } from '../../src/base/timers.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { EmbeddedEngine } from '../../src/engines/embedded/embedded-engine.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { newId } from '../../src/event/identity.ts'
import { consumer, event, stream } from '../../src/index.ts'

const HOUR = 3_600_000
/** As the system's clock, which notices a jump within a minute; here sooner. */
const NOTICED_MS = 20

class JumpingClock implements Clock {
  #offsetMs = 0
  now = (): number => Date.now() + this.#offsetMs
  jump(ms: number): void {
    this.#offsetMs += ms
  }
  elapsed = (): number => performance.now()
  after = afterMs
  at(timeMs: number, task: () => void): () => void {
    return atTime(this.now, timeMs, task, NOTICED_MS)
  }
}

const Noted = event('noted')
let opened: ConnectedBroker | null = null
afterEach(async () => {
  await opened?.close()
  opened = null
})

function open(): { clock: JumpingClock; broker: ConnectedBroker; engine: EmbeddedEngine } {
  const clock = new JumpingClock()
  const engine = openMemoryEngine({}, clock)
  opened = new ConnectedBroker(engine, { source: '/test', random: Math.random })
  return { clock, broker: opened, engine }
}

const numberOf = (each: { readonly data: unknown }): number => (each.data as { readonly n: number }).n

/**
 * Wait long enough to see what must not happen: until an event that was published later is handled, and timers have
 * fired.
 */
async function passes(broker: ConnectedBroker, seen: readonly number[], channel: string): Promise<void> {
  await broker.publish(channel, { type: 'noted', data: { n: -1 } })
  await expect.poll(() => seen).toContain(-1)
  await new Promise((resolve) => setTimeout(resolve, 3 * NOTICED_MS))
}

test('delay: it is due when the clock says so, and what is not delayed is not held up', async () => {
  const { clock, broker } = open()
  const notes = stream('notes', { events: [Noted] })
  const seen: number[] = []
  await broker.declare(notes)
  await broker.start(consumer('worker', notes).on(Noted, (each) => void seen.push(numberOf(each))))
  await broker.publish(notes, Noted({ n: 1 }), { delay: '1h' })
  clock.jump(-HOUR)
  await broker.publish(notes, Noted({ n: 2 }), { delay: '1h' })
  await passes(broker, seen, 'notes')
  expect(seen).toEqual([-1])
  clock.jump(HOUR + 1000)
  await expect.poll(() => seen).toEqual([-1, 2])
  clock.jump(HOUR)
  await expect.poll(() => seen).toEqual([-1, 2, 1])
})

test('retry backoff: an attempt waits for the time it was given; others of the consumer go on', async () => {
  const { clock, broker } = open()
  const notes = stream('notes', { events: [Noted], key: (each) => String(numberOf(each)) })
  const seen: number[] = []
  const attempts: number[] = []
  const worker = consumer('worker', notes, { retry: { attempts: 5, min: '1h', max: '1h' } }).on(Noted, (each, ctx) => {
    if (numberOf(each) === 1) attempts.push(ctx.attempt)
    if (numberOf(each) === 1 && ctx.attempt < 3) throw new Error('not yet')
    seen.push(numberOf(each))
  })
  await broker.declare(notes)
  await broker.start(worker)
  await broker.publish(notes, Noted({ n: 1 }))
  await expect.poll(() => attempts).toEqual([1])
  clock.jump(HOUR + 1000)
  await expect.poll(() => attempts).toEqual([1, 2])
  clock.jump(-10 * HOUR)
  await passes(broker, seen, 'notes')
  expect(attempts).toEqual([1, 2])
  clock.jump(11 * HOUR + 2000)
  await expect.poll(() => seen).toEqual([-1, 1])
  expect(attempts).toEqual([1, 2, 3])
})

test.each([HOUR, -HOUR])('leases: a jump by %d ms takes nothing out of living hands', async (jumpMs) => {
  const { clock, broker } = open()
  const notes = stream('notes', { events: [Noted], key: (each) => String(numberOf(each)) })
  const seen: number[] = []
  const attempts: number[] = []
  let go: () => void = () => undefined
  const held = new Promise<void>((resolve) => {
    go = resolve
  })
  const aborted: boolean[] = []
  await broker.declare(notes)
  const worker = consumer('worker', notes, { lease: '5s' }).on(Noted, async (each, ctx) => {
    if (numberOf(each) === 1) {
      attempts.push(ctx.attempt)
      await held
      aborted.push(ctx.signal.aborted)
    }
    seen.push(numberOf(each))
  })
  await broker.start(worker)
  await broker.publish(notes, Noted({ n: 1 }))
  await expect.poll(() => attempts).toEqual([1])
  clock.jump(jumpMs)
  await passes(broker, seen, 'notes')
  go()
  await expect.poll(async () => (await broker.describe()).consumers[0]?.channels[0]?.lag).toBe(0)
  expect(attempts).toEqual([1])
  expect(aborted).toEqual([false])
})

test('retention by age: what is older than the clock says goes, what is newer stays, and a jump back brings nothing to an end', async () => {
  const { clock, broker, engine } = open()
  const notes = stream('notes', { events: [Noted], retain: { age: '30m' } })
  const there = async (): Promise<number[]> => {
    const found: number[] = []
    for await (const each of broker.read(notes)) found.push(numberOf(each))
    return found
  }
  await broker.publish(notes, Noted({ n: 1 }))
  clock.jump(-HOUR)
  await broker.publish(notes, Noted({ n: 2 }))
  await engine.sweep()
  expect(await there()).toEqual([1, 2])
  clock.jump(3 * HOUR)
  await broker.publish(notes, Noted({ n: 3 }))
  await engine.sweep()
  expect(await there()).toEqual([3])
})

test('deduplication: within the window an id is stored once, whichever way the clock jumps; beyond it, again', async () => {
  const { clock, broker } = open()
  const notes = stream('notes', { events: [Noted], dedupe: { age: '10m', count: 10 } })
  const publish = async (id: string): Promise<boolean> =>
    (await broker.publish(notes, { ...Noted({ n: 1 }), id })).duplicate
  expect(await publish('a')).toBe(false)
  clock.jump(-HOUR)
  expect(await publish('a')).toBe(true)
  clock.jump(HOUR)
  expect(await publish('a')).toBe(true)
  clock.jump(HOUR)
  // The window keeps at least so many ids: the age alone forgets none of the last ten.
  for (let n = 0; n < 20; n++) await publish(`other-${n}`)
  expect(await publish('a')).toBe(false)
})

test('order: offsets, times and ids never go back', async () => {
  const { clock, broker } = open()
  const notes = stream('notes', { events: [Noted] })
  for (let n = 0; n < 6; n++) {
    await broker.publish(notes, Noted({ n }))
    clock.jump(n % 2 === 0 ? -HOUR : 2 * HOUR)
  }
  const found: number[] = []
  for await (const each of broker.read(notes)) found.push(numberOf(each))
  expect(found).toEqual([0, 1, 2, 3, 4, 5])
  const now = Date.now()
  const ids = Array.from({ length: 10_000 }, (_, index) =>
    newId(now + (index % 3 === 0 ? -HOUR : index % 3 === 1 ? HOUR : 0)),
  )
  expect(ids).toEqual([...ids].sort())
  expect(new Set(ids).size).toBe(ids.length)
})

/**
 * Clause 10, bounded memory: publishing waits or is refused, deliveries are limited by credit, and a backlog is not
 * kept in memory.
 */
import assert from 'node:assert/strict'
import { isMillraceError } from '../../../base/errors.ts'
import type { Receipt } from '../../../broker/receipt.ts'
import { stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  describeConsumer,
  Gauge,
  gate,
  holds,
  idle,
  Note,
  numbers,
  orderStream,
  Placed,
  placedMany,
  QUICK,
  readAll,
  retainedBytes,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import type { World } from '../world.ts'

const MIB = 1024 * 1024
/** How much memory a broker may use for a backlog that is many times larger. */
const RETAINED_BYTES_MAX = 32 * MIB

/** Publish events of 4 KiB, a hundred at a time, 64 MiB in all. */
const BACKLOG = { events: 16_000, bytesEach: 4096 } as const

async function fill(publish: (texts: readonly string[]) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < BACKLOG.events; at += 100)
    await publish(numbers(100).map((n) => String(at + n).padEnd(BACKLOG.bytesEach, 'x')))
}

/**
 * Soon after, little more memory is used than before. Newly written events may be in memory until they are moved to
 * disk.
 */
async function heldLittle(world: World, before: number, what: string): Promise<void> {
  await world.eventually(async () => {
    const grown = (await retainedBytes()) - before
    holds(
      grown < RETAINED_BYTES_MAX,
      `${Math.round(grown / MIB)} MiB are held for ${what}, of ${(BACKLOG.events * BACKLOG.bytesEach) / MIB} MiB published`,
    )
  })
}

export const boundedMemory: readonly Scenario[] = clause(10, {
  'a-slow-consumer-of-a-fast-producer-holds-no-backlog': [
    ['disk'],
    async (world) => {
      const broker = await world.connect()
      const notes = stream(world.name('notes'))
      const wait = gate()
      const name = world.name('slow')
      let handled = 0
      await broker.start(
        consumer(name, notes, { concurrency: 2 }).on(Note, async () => {
          handled++
          await wait.opened
        }),
      )
      await fill((texts) =>
        broker.publish(
          notes,
          texts.slice(0, 5).map((text) => Note(text)),
        ),
      )
      const before = await retainedBytes()
      await fill((texts) =>
        broker.publish(
          notes,
          texts.map((text) => Note(text)),
        ),
      )
      await heldLittle(world, before, 'the backlog')
      assert.equal(handled, 2, 'no more handlers than its concurrency')
      wait.open()
      await idle(world, broker, name)
      assert.equal(handled, BACKLOG.events * 1.05)
    },
  ],

  'parked-and-retrying-events-are-not-held-in-memory': [
    ['disk'],
    async (world) => {
      const broker = await world.connect()
      const notes = stream(world.name('notes'), { key: () => 'one' })
      const name = world.name('worker')
      let bad = true
      let handled = 0
      await broker.start(
        consumer(name, notes, { retry: QUICK }).on(Note, (_, ctx) => {
          if (bad) ctx.reject('not now')
          handled++
        }),
      )
      await fill((texts) =>
        broker.publish(
          notes,
          texts.slice(0, 5).map((text) => Note(text)),
        ),
      )
      const before = await retainedBytes()
      await fill((texts) =>
        broker.publish(
          notes,
          texts.map((text) => Note(text)),
        ),
      )
      await world.eventually(async () =>
        assert.equal((await describeConsumer(broker, name)).parked, BACKLOG.events * 1.05 - 1),
      )
      await heldLittle(world, before, 'what is parked')
      bad = false
      await broker.deadLetters(name).redrive()
      await world.eventually(() => assert.equal(handled, BACKLOG.events * 1.05))
    },
  ],

  'a-backlog-is-read-by-credit': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    for (let batch = 0; batch < 5; batch++) await broker.publish(orders, placedMany(1000, 1, batch * 1000))
    const gauge = new Gauge()
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 4 }).on(Placed, (each, ctx) =>
        gauge.during(async () => {
          calls.add(each, ctx)
          await new Promise((resolve) => setImmediate(resolve))
        }),
      ),
    )
    await calls.reach(world, 5000)
    assert.equal(gauge.max, 4, 'never more handlers than the concurrency')
    assert.deepEqual(calls.sorted, numbers(5000))
  },

  'in-flight-is-never-more-than-the-concurrency': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const name = world.name('worker')
    const wait = gate()
    for (let at = 0; at < 3; at++)
      await broker.start(consumer(name, orders, { concurrency: 5 }).on(Placed, () => wait.opened))
    await broker.publish(orders, placedMany(200))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).inFlight, 15))
    await world.quiet()
    const found = await describeConsumer(broker, name)
    assert.deepEqual([found.inFlight, found.channels[0]?.lag], [15, 200])
    wait.open()
    await idle(world, broker, name)
  },

  'one-in-flight-is-strictly-one': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const gauge = new Gauge()
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 1, retry: QUICK }).on(Placed, (each, ctx) =>
        gauge.during(async () => {
          await Promise.resolve()
          if (ctx.attempt === 1 && each.data.n % 7 === 0) throw new Error('once')
          calls.add(each, ctx)
        }),
      ),
    )
    await broker.publish(orders, placedMany(100))
    await calls.reach(world, 100)
    assert.equal(gauge.max, 1)
    assert.deepEqual(calls.sorted, numbers(100))
  },

  'unawaited-publishes-are-refused-rather-than-piled-up': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { retain: { count: 1 }, dedupe: false })
    const data = 'x'.repeat(1_000_000)
    const before = await retainedBytes()
    const outcomes = await Promise.all(
      numbers(128).map(() =>
        broker.publish(notes, Note(data)).then(
          (receipt: Receipt) => receipt.offset,
          (error: unknown) => error,
        ),
      ),
    )
    const refused = outcomes.filter((outcome) => typeof outcome !== 'number')
    for (const error of refused) holds(isMillraceError(error, 'BACKPRESSURE') && error.retryable, String(error))
    holds(refused.length > 0, '128 MB were accepted without waiting for any of them')
    holds(refused.length < 128, 'some are accepted')
    await broker.publish(notes, Note('it continues'))
    const kept = outcomes.filter((outcome) => typeof outcome === 'number').length
    const read = await readAll(broker, notes)
    holds(read.length >= 1 && read.length <= kept + 1)
    assert.equal(read.at(-1)?.data, 'it continues')
    await world.eventually(async () => {
      const grown = (await retainedBytes()) - before
      holds(grown < 160 * MIB, `${Math.round(grown / MIB)} MiB are held of ${kept} MB accepted`)
    })
  },

  'a-producer-that-awaits-is-never-refused': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { retain: { count: 10 } })
    const data = 'x'.repeat(100_000)
    const producer = async (): Promise<void> => {
      for (let n = 0; n < 25; n++) await broker.publish(notes, Note(data))
    }
    await Promise.all(numbers(40).map(producer))
  },

  'a-slow-consumer-does-not-slow-another': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const wait = gate()
    const [slow, fast] = [new Calls(), new Calls()]
    await broker.start(
      consumer(world.name('slow'), orders, { concurrency: 1 }).on(Placed, async (each, ctx) => {
        await wait.opened
        slow.add(each, ctx)
      }),
    )
    await broker.start(consumer(world.name('fast'), orders).on(Placed, fast.handler))
    for (let batch = 0; batch < 20; batch++) await broker.publish(orders, placedMany(100, 10, batch * 100))
    await fast.reach(world, 2000)
    assert.equal(slow.length, 0)
    wait.open()
    await slow.reach(world, 2000)
    assert.deepEqual(slow.sorted, numbers(2000))
  },

  'a-reader-that-does-not-read-on-holds-one-batch': [
    ['disk'],
    async (world) => {
      const broker = await world.connect()
      const notes = stream(world.name('notes'))
      await fill((texts) =>
        broker.publish(
          notes,
          texts.map((text) => Note(text)),
        ),
      )
      const before = await retainedBytes()
      const readers = numbers(4).map(() => broker.read(notes, { follow: true })[Symbol.asyncIterator]())
      for (const reader of readers) for (let n = 0; n < 10; n++) await reader.next()
      await fill((texts) =>
        broker.publish(
          notes,
          texts.map((text) => Note(text)),
        ),
      )
      await heldLittle(world, before, 'readers that wait')
      for (const reader of readers) await reader.return?.()
    },
  ],
})

/**
 * Clause 13, retention: by age, bytes, count, and by key. A limit is a promise in both directions: what is within it is
 * kept, and what is beyond it is removed. Removal may take a while, so the scenarios wait for it.
 */
import assert from 'node:assert/strict'
import type { Broker } from '../../../broker/broker.ts'
import type { Channel } from '../../../channel/channel.ts'
import { type Retention, stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  gate,
  holds,
  idle,
  Note,
  numbers,
  type Order,
  offsetOf,
  orderStream,
  Placed,
  placed,
  placedMany,
  readAll,
  readNs,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep, type World } from '../world.ts'

/** A stream that keeps little, without a deduplication window, which would keep events longer. */
function keeping(world: World, retain: Retention): ReturnType<typeof unkeyedStream> {
  return unkeyedStream(world.name('orders'), { retain, dedupe: false })
}

async function description(broker: Broker, channel: Channel) {
  const found = (await broker.describe()).channels.find((each) => each.name === channel.name)
  holds(found)
  return found
}

export const retention: readonly Scenario[] = clause(13, {
  'count-keeps-the-newest': async (world) => {
    const broker = await world.connect()
    const orders = keeping(world, { count: 100 })
    for (let batch = 0; batch < 10; batch++) {
      await broker.publish(orders, placedMany(50, 1, batch * 50))
      const there = new Set(await readNs(broker, orders))
      for (const n of numbers((batch + 1) * 50, Math.max(0, (batch + 1) * 50 - 100)))
        holds(there.has(n), `${n} is one of the newest hundred`)
    }
    await world.eventually(async () => assert.deepEqual(await readNs(broker, orders), numbers(500, 400)))
    const { first, next } = await description(broker, orders)
    assert.equal(next - first, 100)
  },

  'bytes-keep-the-newest': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { retain: { bytes: '256KiB' }, dedupe: false })
    for (let n = 0; n < 400; n++) await broker.publish(notes, Note(String(n).padEnd(4096, 'x')))
    await world.eventually(async () => {
      const { first, next } = await description(broker, notes)
      holds(next - first <= 80, `${next - first} events of 4 KiB are kept in 256 KiB`)
    })
    const read = await readAll(broker, notes)
    holds(read.length >= 32 && read.length <= 80, `${read.length} events of 4 KiB are kept in 256 KiB`)
    assert.deepEqual(
      read.map((each) => Number.parseInt(each.data as string, 10)),
      numbers(400, 400 - read.length),
    )
  },

  'age-keeps-the-newest': async (world) => {
    const broker = await world.connect()
    const orders = keeping(world, { age: 300 })
    const startMs = Date.now()
    await broker.publish(orders, placedMany(20))
    const early = await readNs(broker, orders)
    if (Date.now() - startMs < 250) assert.deepEqual(early, numbers(20), 'what is young enough is there')
    await sleep(320)
    await broker.publish(orders, placedMany(20, 1, 20))
    await world.eventually(async () => holds(!(await readNs(broker, orders)).some((n) => n < 20), 'the old ones go'))
    await world.eventually(async () =>
      assert.deepEqual(await readNs(broker, orders), [], 'the last ones go too, though nothing new comes'),
    )
  },

  'the-latest-of-each-key-stays': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'), { retain: { latestByKey: true }, dedupe: false })
    for (let batch = 0; batch < 20; batch++) await broker.publish(orders, placedMany(50, 10, batch * 50))
    await world.eventually(async () => assert.deepEqual(await readNs(broker, orders), numbers(1000, 990)))
    await broker.publish(orders, placed('k3', 2000))
    await world.eventually(async () =>
      assert.deepEqual(await readNs(broker, orders), [...numbers(1000, 990).filter((n) => n !== 993), 2000]),
    )
  },

  'events-without-a-key-all-stay-in-a-latest-by-key-stream': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { retain: { latestByKey: true }, dedupe: false })
    for (const n of numbers(10)) {
      await broker.publish(notes, Note(n))
      await broker.publish(notes, Note(n + 100, { partitionkey: 'k' }))
    }
    await world.eventually(async () =>
      assert.deepEqual(
        (await readAll(broker, notes)).map((each) => each.data),
        [...numbers(10), 109],
      ),
    )
  },

  'a-new-consumer-of-a-latest-by-key-stream-sees-the-latest': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'), { retain: { latestByKey: true }, dedupe: false })
    for (let batch = 0; batch < 10; batch++) await broker.publish(orders, placedMany(50, 10, batch * 50))
    await world.eventually(async () => assert.equal((await readNs(broker, orders)).length, 10))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
    await idle(world, broker, world.name('worker'))
    for (const key of numbers(10)) {
      const seen = calls.of(`k${key}`)
      assert.equal(seen.at(-1), 490 + key, 'the latest comes last')
      assert.deepEqual(
        seen,
        [...seen].sort((a, b) => a - b),
      )
    }
  },

  'limits-hold-together': async (world) => {
    const broker = await world.connect()
    const orders = keeping(world, { count: 50, age: '1h', bytes: '10MiB' })
    await broker.publish(orders, placedMany(200))
    await world.eventually(async () => assert.deepEqual(await readNs(broker, orders), numbers(200, 150)))
  },

  'a-consumer-that-is-too-late-goes-on-with-what-is-kept': async (world) => {
    const broker = await world.connect()
    const orders = keeping(world, { count: 50 })
    const name = world.name('worker')
    const calls = new Calls()
    const wait = gate()
    await broker.start(
      consumer(name, orders, { concurrency: 1 }).on(Placed, async (each, ctx) => {
        await wait.opened
        calls.add(each, ctx)
      }),
    )
    for (let batch = 0; batch < 20; batch++) await broker.publish(orders, placedMany(50, 1, batch * 50))
    await world.eventually(async () => assert.equal((await readNs(broker, orders)).length, 50))
    wait.open()
    await idle(world, broker, name)
    assert.deepEqual(
      calls.sorted.filter((n) => n >= 950),
      numbers(1000, 950),
      'what is kept is handled',
    )
    assert.deepEqual(
      calls.ns,
      [...calls.ns].sort((a, b) => a - b),
    )
  },

  'offsets-are-never-used-again': async (world) => {
    const broker = await world.connect()
    const orders = keeping(world, { count: 1 })
    let last = -1
    for (let n = 0; n < 50; n++) {
      const offset = offsetOf(await broker.publish(orders, placed('a', n)))
      holds(offset > last)
      last = offset
    }
    await world.eventually(async () => assert.deepEqual(await readNs(broker, orders), [49]))
    assert.equal((await broker.publish(orders, placed('a', 50))).offset, last + 1)
  },

  'dead-letters-outlive-their-events': async (world) => {
    const broker = await world.connect()
    const orders = keeping(world, { count: 5 })
    const name = world.name('worker')
    const calls = new Calls()
    let bad = true
    await broker.start(
      consumer(name, orders, { retry: { attempts: 1 } }).on(Placed, (each, ctx) => {
        if (bad && each.data.n < 3) throw new Error('bad')
        calls.add(each, ctx)
      }),
    )
    await broker.publish(orders, placedMany(3))
    await world.eventually(async () => assert.equal((await broker.deadLetters(name).list()).length, 3))
    await broker.publish(orders, placedMany(50, 1, 3))
    await world.eventually(async () => assert.equal((await readNs(broker, orders))[0], 48))
    bad = false
    assert.equal(await broker.deadLetters(name).redrive(), 3)
    await world.eventually(() =>
      assert.deepEqual(
        calls.all
          .filter((call) => call.redriven)
          .map((call) => call.n)
          .sort(),
        [0, 1, 2],
      ),
    )
  },

  'a-stream-without-limits-keeps-everything': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
    for (let batch = 0; batch < 20; batch++) await broker.publish(orders, placedMany(100, 1, batch * 100))
    await calls.reach(world, 2000)
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(
      (await readAll(broker, orders)).map((each) => (each.data as Order).n),
      numbers(2000),
    )
  },

  'limits-hold-after-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = keeping(world, { count: 30 })
      await broker.publish(orders, placedMany(100))
      const { next } = await description(broker, orders)
      broker = await world.reopen(broker)
      await world.eventually(async () => assert.deepEqual(await readNs(broker, orders), numbers(100, 70)))
      assert.equal((await description(broker, orders)).next, next)
      await broker.publish(orders, placedMany(10, 1, 100))
      await world.eventually(async () => assert.deepEqual(await readNs(broker, orders), numbers(110, 80)))
    },
  ],
})

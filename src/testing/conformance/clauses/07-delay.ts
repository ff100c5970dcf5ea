/** Clause 7, delay: an event published with `delay` or `at` is not seen before that time, and is seen soon after. */
import assert from 'node:assert/strict'
import type { TimeText } from '../../../base/time-text.ts'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  holds,
  idle,
  numbers,
  orderQueue,
  orderStream,
  Placed,
  placed,
  placedMany,
  QUICK,
  readNs,
  refused,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const delay: readonly Scenario[] = clause(7, {
  'a-delayed-event-is-not-seen-before': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
    const before = Date.now()
    const receipt = await broker.publish(orders, placed('a', 0), { delay: 1000 })
    assert.equal(receipt.offset, null)
    holds(Math.abs(receipt.dueAtMs - before - 1000) < 150, `due in ${receipt.dueAtMs - before} ms instead of 1000`)
    assert.deepEqual(await readNs(broker, orders), [], 'reading does not see it either')
    await calls.reach(world, 1)
    holds((calls.all[0]?.atMs ?? 0) >= receipt.dueAtMs - 2, 'it came before it was due')
    assert.deepEqual(await readNs(broker, orders), [0])
  },

  'at-takes-a-date-or-milliseconds': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
    const dueMs = Date.now() + 3000
    const receipts = [
      await broker.publish(orders, placed('a', 0), { at: new Date(dueMs) }),
      await broker.publish(orders, placed('a', 1), { at: dueMs }),
      await broker.publish(orders, placed('a', 2), { at: new Date(dueMs).toISOString() as TimeText }),
    ]
    assert.deepEqual(
      receipts.map((receipt) => receipt.dueAtMs),
      [dueMs, dueMs, dueMs],
    )
    await calls.reach(world, 3)
    for (const call of calls.all) holds(call.atMs >= dueMs - 2)
  },

  'events-come-in-the-order-of-their-due-times': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
    const at = Date.now() + 2000
    await Promise.all([4, 2, 0, 3, 1].map((n) => broker.publish(orders, placed('a', n), { at: new Date(at + n * 20) })))
    await broker.publish(orders, placed('a', 100))
    await calls.reach(world, 6)
    assert.deepEqual(calls.ns, [100, 0, 1, 2, 3, 4])
    assert.deepEqual(await readNs(broker, orders), [100, 0, 1, 2, 3, 4])
  },

  'events-due-together-keep-their-publish-order': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const at = Date.now() + 1500
    await Promise.all(placedMany(50).map((each) => broker.publish(orders, each, { at: new Date(at) })))
    await world.eventually(async () => assert.equal((await readNs(broker, orders)).length, 50))
    assert.deepEqual(await readNs(broker, orders), numbers(50))
  },

  'past-times-are-now': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0), { at: new Date(Date.now() - 60_000) })
    await broker.publish(orders, placed('a', 1), { delay: 0 })
    await world.eventually(async () => assert.deepEqual(new Set(await readNs(broker, orders)), new Set([0, 1])))
  },

  'a-batch-can-be-delayed': async (world) => {
    const broker = await world.connect()
    const jobs = orderQueue(world.name('jobs'))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), jobs).on(Placed, calls.handler))
    const receipts = await broker.publish(jobs, placedMany(20, 2), { delay: 100 })
    assert.equal(receipts.length, 20)
    await calls.reach(world, 20)
    await idle(world, broker, world.name('worker'))
    for (const key of [0, 1])
      assert.deepEqual(
        calls.of(`k${key}`),
        numbers(20).filter((n) => n % 2 === key),
      )
  },

  'a-thousand-delays-each-arrive-once': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders, { concurrency: 100 }).on(Placed, calls.handler))
    await Promise.all(placedMany(1000).map((each) => broker.publish(orders, each, { delay: 50 + (each.data.n % 100) })))
    await calls.reach(world, 1000)
    await world.quiet()
    assert.deepEqual(calls.sorted, numbers(1000))
  },

  'scheduled-events-are-counted': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(7), { delay: '1h' })
    await broker.publish(orders, placed('a', 8))
    const found = (await broker.describe()).channels.find((each) => each.name === orders.name)
    assert.deepEqual([found?.scheduled, (found?.next ?? 0) - (found?.first ?? 0)], [7, 1])
  },

  'a-delayed-event-is-checked-when-it-is-published': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await refused(() => broker.publish(orders, Placed({ order: 'a', n: -1 }), { delay: 50 }), 'SCHEMA_MISMATCH')
    await refused(() => broker.publish(orders, placed('a', 0), { delay: 50, at: new Date() }), 'INVALID_OPTION')
    await refused(
      () => broker.publish(orders, placed('a', 0), { delay: '1 fortnight' as never }),
      'INVALID_OPTION',
      'delay',
    )
    await refused(() => broker.publish(orders, placed('a', 0), { delay: '5000d' }), 'INVALID_OPTION')
  },

  'a-delayed-event-is-retried-like-any-other': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        if (ctx.attempt < 3) throw new Error('again')
      }),
    )
    await broker.publish(orders, placed('a', 0), { delay: 30 })
    await calls.reach(world, 3)
    assert.deepEqual(
      calls.all.map((call) => call.attempt),
      [1, 2, 3],
    )
  },

  'delays-survive-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const at = Date.now() + 1000
      await Promise.all(placedMany(20).map((each) => broker.publish(orders, each, { at: new Date(at + each.data.n) })))
      broker = await world.reopen(broker)
      const calls = new Calls()
      await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
      await calls.reach(world, 20)
      assert.deepEqual(calls.ns, numbers(20))
      for (const call of calls.all)
        holds(call.atMs >= at + call.n - 2, `${call.n} came ${at + call.n - call.atMs} ms early`)
    },
  ],

  'what-fell-due-while-closed-comes-after-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      await broker.publish(orders, placedMany(5), { delay: 60 })
      await broker.close()
      await world.quiet(2)
      broker = await world.connect()
      await world.eventually(async () => assert.deepEqual(await readNs(broker, orders), numbers(5)))
    },
  ],
})

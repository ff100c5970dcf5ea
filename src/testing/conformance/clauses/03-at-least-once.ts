/** Clause 3, at least once: an event is done when its handler has finished; otherwise it is delivered again. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  gate,
  HASTY,
  hang,
  idle,
  numbers,
  orderQueue,
  orderStream,
  Placed,
  placed,
  placedMany,
  QUICK,
  unkeyedStream,
} from '../fixtures.ts'
import { RandomHistory } from '../random-history.ts'
import { clause, type Scenario } from '../scenario.ts'

export const atLeastOnce: readonly Scenario[] = clause(3, {
  'a-failed-event-is-delivered-again': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        if (ctx.attempt === 1) throw new Error('the first attempt fails')
      }),
    )
    await broker.publish(orders, placedMany(10, 10))
    await calls.reach(world, 20)
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(
      calls.sorted,
      numbers(10).flatMap((n) => [n, n]),
    )
  },

  'every-way-to-fail-counts-as-failure': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    const ways: readonly (() => unknown)[] = [
      () => {
        throw new Error('thrown')
      },
      () => Promise.reject(new Error('rejected')),
      async () => {
        await Promise.resolve()
        throw undefined
      },
      () => {
        throw 'a text'
      },
      () => Promise.reject(null),
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
      () => ({ then: (_: unknown, reject: (error: unknown) => void) => reject(new TypeError('thenable')) }),
    ]
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        return ctx.attempt === 1 ? ways[each.data.n]?.() : undefined
      }),
    )
    await broker.publish(orders, placedMany(ways.length, ways.length))
    await calls.reach(world, ways.length * 2)
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(
      calls.all
        .filter((call) => call.attempt === 2)
        .map((call) => call.n)
        .sort(),
      numbers(ways.length),
    )
  },

  'it-goes-on-after-three-hundred-errors': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const done = new Calls()
    let errors = 0
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 50, retry: QUICK }).on(Placed, (each, ctx) => {
        if (ctx.attempt <= 3) {
          errors++
          throw new Error(`attempt ${ctx.attempt}`)
        }
        done.add(each, ctx)
      }),
    )
    await broker.publish(orders, placedMany(100))
    await done.reach(world, 100)
    assert.equal(errors, 300)
    assert.deepEqual(done.sorted, numbers(100))
  },

  'an-event-is-not-done-before-its-handler-is': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const [first, second] = [new Calls(), new Calls()]
    const running = await broker.start(
      consumer(name, orders, HASTY).on(Placed, async (each, ctx) => {
        first.add(each, ctx)
        if (each.data.n >= 5) await hang(ctx.signal)
      }),
    )
    await broker.publish(orders, placedMany(10, 10))
    await first.reach(world, 10)
    const summary = await running.stop()
    assert.deepEqual([summary.completed, summary.released], [5, 5])
    await broker.start(consumer(name, orders).on(Placed, second.handler))
    await second.reach(world, 5)
    await idle(world, broker, name)
    assert.deepEqual(second.sorted, numbers(10, 5), 'what was done stays done, what was not comes again')
  },

  'what-is-done-is-not-delivered-after-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const jobs = orderQueue(world.name('jobs'))
      const calls = new Calls()
      for (let round = 0; round < 3; round++) {
        for (const channel of [orders, jobs])
          await broker.start(consumer(world.name(`on-${channel.kind}`), channel).on(Placed, calls.handler))
        for (const channel of [orders, jobs]) await broker.publish(channel, placedMany(50, 5, round * 50))
        await calls.reach(world, (round + 1) * 100)
        broker = await world.reopen(broker)
      }
      await world.quiet()
      assert.deepEqual(
        calls.sorted,
        numbers(150).flatMap((n) => [n, n]),
        'once on the stream and once on the queue',
      )
    },
  ],

  'done-out-of-order-is-remembered-after-reopen': [
    ['reopen'],
    async (world) => {
      const broker = await world.connect()
      const orders = unkeyedStream(world.name('orders'))
      const name = world.name('worker')
      const [first, second] = [new Calls(), new Calls()]
      const start = gate()
      await broker.start(
        consumer(name, orders, { concurrency: 100, ...HASTY }).on(Placed, async (each, ctx) => {
          await start.opened
          if (each.data.n % 3 === 0) return hang(ctx.signal)
          first.add(each, ctx)
        }),
      )
      await broker.publish(orders, placedMany(90))
      start.open()
      await first.reach(world, 60)
      const again = await world.reopen(broker)
      await again.start(consumer(name, orders).on(Placed, second.handler))
      await second.reach(world, 30)
      await idle(world, again, name)
      assert.deepEqual(
        second.sorted,
        numbers(30).map((n) => n * 3),
      )
    },
  ],

  'a-crash-before-completion-delivers-again': [
    ['crash'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      const [first, second] = [new Calls(), new Calls()]
      await broker.start(
        consumer(name, orders, HASTY).on(Placed, async (each, ctx) => {
          first.add(each, ctx)
          if (each.data.n % 2 === 1) await hang(ctx.signal)
        }),
      )
      await broker.publish(orders, placedMany(10, 10))
      await first.reach(world, 10)
      await world.quiet()
      const again = await world.crash()
      await again.start(consumer(name, orders, { retry: QUICK }).on(Placed, second.handler))
      await world.eventually(() => assert.deepEqual(new Set(second.ns), new Set([1, 3, 5, 7, 9])))
      await idle(world, again, name)
      assert.deepEqual(second.sorted, [1, 3, 5, 7, 9], 'what was done and durable is not done again')
    },
  ],

  'a-random-history-has-no-anomaly': async (world) => {
    await new RandomHistory(world, await world.connect(), {
      seed: 3,
      producers: 4,
      eventsEach: 60,
      keys: 8,
      failing: 0,
      changes: 6,
      reopenings: 0,
    }).check()
  },

  'a-random-history-across-reopen-has-no-anomaly': [
    ['reopen'],
    async (world) => {
      await new RandomHistory(world, await world.connect(), {
        seed: 33,
        producers: 3,
        eventsEach: 90,
        keys: 6,
        failing: 0.1,
        changes: 3,
        reopenings: 2,
      }).check()
    },
  ],

  'a-consumer-that-falls-behind-catches-up': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    const wait = gate()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 4 }).on(Placed, async (each, ctx) => {
        await wait.opened
        calls.add(each, ctx)
      }),
    )
    for (let at = 0; at < 10; at++) await broker.publish(orders, placedMany(500, 50, at * 500))
    await broker.publish(orders, placed('last', 5000))
    wait.open()
    await calls.reach(world, 5001)
    assert.deepEqual(calls.sorted, numbers(5001))
  },
})

/** Clause 16, wildcards: a consumer may take several channels, or all that match, including those created later. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  describeConsumer,
  Gauge,
  gate,
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

export const wildcards: readonly Scenario[] = clause(16, {
  'a-consumer-takes-several-channels': async (world) => {
    const broker = await world.connect()
    const channels = numbers(5).map((at) => orderStream(world.name(`orders-${at}`)))
    const other = orderStream(world.name('other'))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), channels).on(Placed, calls.handler))
    for (const [at, channel] of [...channels, other].entries())
      await broker.publish(
        channel,
        numbers(20).map((n) => placed(`c${at}`, n)),
      )
    await calls.reach(world, 100)
    await world.quiet()
    assert.equal(calls.length, 100)
    for (const at of numbers(5)) assert.deepEqual(calls.of(`c${at}`), numbers(20))
  },

  'a-wildcard-takes-what-matches': async (world) => {
    const broker = await world.connect()
    const names = ['orders.eu', 'orders.us', 'orders', 'orders.eu.north', 'others.eu', 'xorders.eu']
    const channels = names.map((name) => orderStream(world.name(name)))
    await broker.declare(...channels)
    const [one, rest, middle] = [new Calls(), new Calls(), new Calls()]
    await broker.start(consumer(world.name('one'), world.name('orders.*')).on(Placed, one.handler))
    await broker.start(consumer(world.name('rest'), world.name('orders.>')).on(Placed, rest.handler))
    await broker.start(consumer(world.name('middle'), world.name('*.eu')).on(Placed, middle.handler))
    for (const [at, channel] of channels.entries()) await broker.publish(channel, placed(names[at] ?? '', at))
    await one.reach(world, 2)
    await rest.reach(world, 3)
    await middle.reach(world, 3)
    await world.quiet()
    assert.deepEqual(one.sorted, [0, 1], '* is one word')
    assert.deepEqual(rest.sorted, [0, 1, 3], '> is one word or more')
    assert.deepEqual(middle.sorted, [0, 4, 5])
  },

  'channels-created-later-are-taken-too': async (world) => {
    const broker = await world.connect()
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), world.name('orders.*')).on(Placed, calls.handler))
    for (const at of numbers(10)) {
      const channel = orderStream(world.name(`orders.c${at}`))
      await broker.publish(
        channel,
        numbers(10).map((n) => placed(`c${at}`, n)),
      )
      await broker.publish(orderStream(world.name(`others.c${at}`)), placed('other', at))
    }
    await calls.reach(world, 100)
    await world.quiet()
    assert.deepEqual(calls.of('other'), [])
    for (const at of numbers(10)) assert.deepEqual(calls.of(`c${at}`), numbers(10))
  },

  'from-the-end-sees-all-of-a-channel-created-later': async (world) => {
    const broker = await world.connect()
    const old = orderStream(world.name('orders.old'))
    await broker.publish(old, placedMany(10))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), world.name('orders.*'), { from: 'end' }).on(Placed, calls.handler),
    )
    const young = orderStream(world.name('orders.young'))
    for (const n of numbers(10)) await broker.publish(young, placed('young', n))
    await broker.publish(old, placed('old', 10))
    await calls.reach(world, 11)
    await world.quiet()
    assert.deepEqual([calls.of('young'), calls.of('old'), calls.length], [numbers(10), [10], 11])
  },

  'channels-created-while-it-was-stopped-are-taken-from-their-beginning': async (world) => {
    const broker = await world.connect()
    const calls = new Calls()
    const worker = () => consumer(world.name('worker'), world.name('orders.*')).on(Placed, calls.handler)
    const first = orderStream(world.name('orders.first'))
    await broker.publish(first, placed('first', 0))
    const running = await broker.start(worker())
    await calls.reach(world, 1)
    await running.stop()
    await broker.publish(
      orderStream(world.name('orders.second')),
      numbers(5).map((n) => placed('second', n)),
    )
    await broker.publish(first, placed('first', 1))
    await broker.start(worker())
    await calls.reach(world, 7)
    assert.deepEqual([calls.of('first'), calls.of('second')], [numbers(2), numbers(5)])
  },

  'names-and-wildcards-that-overlap-give-each-event-once': async (world) => {
    const broker = await world.connect()
    const eu = orderStream(world.name('orders.eu'))
    await broker.declare(eu)
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), [world.name('orders.eu'), world.name('orders.*'), world.name('*.eu')]).on(
        Placed,
        calls.handler,
      ),
    )
    await broker.publish(eu, placedMany(20))
    await broker.publish(orderStream(world.name('more.eu')), placed('later', 100))
    await calls.reach(world, 21)
    await world.quiet()
    assert.equal(calls.length, 21)
  },

  'streams-and-queues-mix': async (world) => {
    const broker = await world.connect()
    const [orders, jobs] = [orderStream(world.name('work.orders')), orderQueue(world.name('work.jobs'))]
    const calls = new Calls()
    await broker.declare(orders)
    await broker.start(consumer(world.name('worker'), world.name('work.*')).on(Placed, calls.handler))
    for (const channel of [orders, jobs])
      await broker.publish(
        channel,
        numbers(20).map((n) => placed(channel.kind, n)),
      )
    await calls.reach(world, 40)
    await idle(world, broker, world.name('worker'))
    assert.deepEqual([calls.of('stream'), calls.of('queue')], [numbers(20), numbers(20)])
    await world.eventually(async () => assert.deepEqual(await readNs(broker, jobs), [], 'the queue forgets'))
    assert.equal((await readNs(broker, orders)).length, 20)
  },

  'concurrency-counts-over-all-channels': async (world) => {
    const broker = await world.connect()
    const gauge = new Gauge()
    const wait = gate()
    await broker.start(
      consumer(world.name('worker'), world.name('orders.*'), { concurrency: 7 }).on(Placed, () =>
        gauge.during(() => wait.opened),
      ),
    )
    for (const at of numbers(10)) await broker.publish(unkeyedStream(world.name(`orders.c${at}`)), placedMany(5))
    await world.eventually(() => assert.equal(gauge.now, 7))
    await world.quiet()
    wait.open()
    await idle(world, broker, world.name('worker'))
    assert.equal(gauge.max, 7)
  },

  'every-channel-gets-its-turn': async (world) => {
    const broker = await world.connect()
    const [busy, quiet] = [unkeyedStream(world.name('orders.busy')), unkeyedStream(world.name('orders.quiet'))]
    for (const from of [0, 1000, 2000]) await broker.publish(busy, placedMany(1000, 1, from))
    await broker.publish(quiet, [placed('quiet', 0)])
    const order: string[] = []
    await broker.start(
      consumer(world.name('worker'), world.name('orders.*'), { concurrency: 2 }).on(Placed, async (_, ctx) => {
        order.push(ctx.channel)
        await new Promise((resolve) => setImmediate(resolve))
      }),
    )
    await world.eventually(() => order.length === 3001)
    holds(
      order.indexOf(quiet.name) < 2500,
      `the quiet channel waited for ${order.indexOf(quiet.name)} events of the busy one`,
    )
  },

  'failures-in-one-channel-leave-the-others': async (world) => {
    const broker = await world.connect()
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), world.name('orders.*'), { retry: { attempts: 2, ...QUICK } }).on(
        Placed,
        (each, ctx) => {
          if (ctx.channel.endsWith('c0')) throw new Error('all of c0 fails')
          calls.add(each, ctx)
        },
      ),
    )
    for (const at of numbers(4)) await broker.publish(orderStream(world.name(`orders.c${at}`)), placedMany(10, 2))
    await calls.reach(world, 30)
    await world.eventually(async () =>
      assert.equal((await describeConsumer(broker, world.name('worker'))).deadLetters, 2),
    )
    const letters = await broker.deadLetters(world.name('worker')).list({ channel: world.name('orders.c0') })
    assert.deepEqual(
      letters.map((letter) => letter.channel),
      [world.name('orders.c0'), world.name('orders.c0')],
    )
    assert.equal((await broker.deadLetters(world.name('worker')).list({ channel: world.name('orders.c1') })).length, 0)
  },

  'a-channel-removed-and-created-again-is-taken-again': async (world) => {
    const broker = await world.connect()
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), world.name('orders.*')).on(Placed, calls.handler))
    const orders = orderStream(world.name('orders.eu'))
    for (const round of numbers(3)) {
      await broker.publish(orders, placedMany(5, 1, round * 5))
      await calls.reach(world, (round + 1) * 5)
      await broker.channel(orders).remove()
    }
    assert.deepEqual(calls.ns, numbers(15))
  },

  'a-malformed-wildcard-is-refused': async (world) => {
    const broker = await world.connect()
    for (const wrong of ['orders.*x', 'orders.>.eu', '', 'a..b', '.a', 'orders.**']) {
      await refused(
        () => broker.start(consumer(world.name('worker'), wrong).on(Placed, () => undefined)),
        'INVALID_NAME',
      )
    }
  },

  'a-wildcards-position-survives-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const calls = new Calls()
      for (const round of numbers(3)) {
        await broker.start(consumer(world.name('worker'), world.name('orders.*')).on(Placed, calls.handler))
        for (const at of numbers(round + 2))
          await broker.publish(orderStream(world.name(`orders.c${at}`)), placed(`c${at}`, round))
        await calls.reach(world, [2, 5, 9][round] ?? 0)
        broker = await world.reopen(broker)
      }
      assert.equal(calls.length, 9)
      assert.deepEqual([calls.of('c0'), calls.of('c2'), calls.of('c3')], [[0, 1, 2], [1, 2], [2]])
    },
  ],
})

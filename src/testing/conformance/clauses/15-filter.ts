/** Clause 15, filter: a consumer with patterns is given only what matches. */
import assert from 'node:assert/strict'
import { stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  describeConsumer,
  gate,
  holds,
  idle,
  Note,
  numbers,
  orderStream,
  Paid,
  Placed,
  placed,
  placedMany,
  QUICK,
  readNs,
  refused,
  unkeyedQueue,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const filter: readonly Scenario[] = clause(15, {
  'a-consumer-is-given-only-what-its-handlers-are-for': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders).on(Paid, calls.handler))
    for (const n of numbers(40)) await broker.publish(orders, n % 4 === 0 ? Paid({ order: 'a', n }) : placed('a', n))
    await calls.reach(world, 10)
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(
      calls.sorted,
      numbers(10).map((n) => n * 4),
    )
    holds(calls.all.every((call) => call.type === 'order.paid'))
  },

  'a-pattern-looks-into-the-data': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders).on(
        Placed.where({ n: [{ numeric: ['>=', 10, '<', 15] }], order: ['a', { prefix: 'b' }] }),
        calls.handler,
      ),
    )
    await broker.publish(
      orders,
      ['a', 'bb', 'c'].flatMap((order) => numbers(20).map((n) => placed(order, n))),
    )
    await idle(world, broker, world.name('worker'))
    for (const order of ['a', 'bb'])
      assert.deepEqual(
        calls.of(order).sort((a, b) => a - b),
        numbers(15, 10),
      )
    assert.equal(calls.length, 10)
  },

  'several-patterns-are-alternatives': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const [low, high] = [new Calls(), new Calls()]
    await broker.start(
      consumer(world.name('worker'), orders)
        .on(Placed.where({ n: [{ numeric: ['<', 3] }] }), low.handler)
        .on(Placed.where({ n: [{ numeric: ['>=', 17] }] }), high.handler),
    )
    await broker.publish(orders, placedMany(20))
    await idle(world, broker, world.name('worker'))
    assert.deepEqual([low.sorted, high.sorted], [numbers(3), numbers(20, 17)])
  },

  'an-event-goes-to-every-handler-it-is-for': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const [all, large] = [new Calls(), new Calls()]
    await broker.start(
      consumer(world.name('worker'), orders)
        .on(Placed, all.handler)
        .on(Placed.where({ n: [{ numeric: ['>', 5] }] }), large.handler),
    )
    await broker.publish(orders, placedMany(10))
    await idle(world, broker, world.name('worker'))
    assert.deepEqual([all.ns, large.ns], [numbers(10), numbers(10, 6)])
  },

  'what-does-not-match-is-settled': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    await broker.start(consumer(name, orders).on(Paid, () => undefined))
    await broker.publish(orders, placedMany(500, 10))
    await idle(world, broker, name)
    const { channels, stalled } = await describeConsumer(broker, name)
    assert.deepEqual(
      [channels[0]?.lag, channels[0]?.lagMs, stalled],
      [0, 0, null],
      'it is not behind because of what it does not want',
    )
  },

  'what-does-not-match-does-not-hold-back-its-key': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, (each, ctx) => {
        if (ctx.attempt === 1 && each.data.n % 10 === 0) throw new Error('once')
        calls.add(each, ctx)
      }),
    )
    for (let n = 0; n < 60; n++) await broker.publish(orders, n % 2 === 0 ? placed('a', n) : Paid({ order: 'a', n }))
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(
      calls.ns,
      numbers(30).map((n) => n * 2),
    )
  },

  'a-sparse-match-in-a-long-channel-is-found': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    for (let batch = 0; batch < 10; batch++) await broker.publish(orders, placedMany(1000, 1, batch * 1000))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders).on(Placed.where({ n: [17, 5000, 9999] }), calls.handler))
    await calls.reach(world, 3)
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(calls.sorted, [17, 5000, 9999])
  },

  'on-any-takes-what-no-other-handler-is-for': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    const seen: string[] = []
    await broker.start(
      consumer(world.name('worker'), notes)
        .on(Note, ({ data }) => void seen.push(`note ${String(data)}`))
        .onAny(({ type }) => void seen.push(type)),
    )
    await broker.publish(notes, [Note(1), { type: 'unheard.of', data: 2 }, Note(3)])
    await world.eventually(() => seen.length === 3)
    assert.deepEqual(seen.sort(), ['note 1', 'note 3', 'unheard.of'])
  },

  'workers-of-a-queue-divide-it-by-what-they-handle': async (world) => {
    const broker = await world.connect()
    const jobs = unkeyedQueue(world.name('jobs'))
    const [placedCalls, paidCalls] = [new Calls(), new Calls()]
    await broker.start(consumer(world.name('placer'), jobs).on(Placed, placedCalls.handler))
    for (const n of numbers(30)) await broker.publish(jobs, n % 3 === 0 ? Paid({ order: 'a', n }) : placed('a', n))
    await placedCalls.reach(world, 20)
    await world.quiet()
    assert.equal(placedCalls.length, 20)
    await broker.start(consumer(world.name('payer'), jobs).on(Paid, paidCalls.handler))
    await paidCalls.reach(world, 10)
    assert.deepEqual(
      paidCalls.sorted,
      numbers(10).map((n) => n * 3),
      'what nobody handled waited for a worker that does',
    )
    assert.equal(placedCalls.length, 20)
  },

  'instances-with-different-patterns-each-get-their-own': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const [one, two] = [new Calls(), new Calls()]
    const wait = gate()
    await broker.start(
      consumer(world.name('one'), orders).on(Placed.where({ n: [{ numeric: ['<', 10] }] }), async (each, ctx) => {
        await wait.opened
        one.add(each, ctx)
      }),
    )
    await broker.start(consumer(world.name('two'), orders).on(Placed, two.handler))
    await broker.publish(orders, placedMany(20))
    await two.reach(world, 20)
    wait.open()
    await one.reach(world, 10)
    assert.deepEqual([one.ns, two.ns], [numbers(10), numbers(20)])
  },

  'reading-takes-a-pattern-over-the-whole-event': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    await broker.publish(
      orders,
      numbers(30).map((n) => (n % 2 === 0 ? placed('a', n, { subject: `s-${n % 3}` }) : Paid({ order: 'a', n }))),
    )
    assert.deepEqual(
      await readNs(broker, orders, { where: { type: ['order.paid'], data: { n: [{ numeric: ['<', 6] }] } } }),
      [1, 3, 5],
    )
    assert.deepEqual(await readNs(broker, orders, { where: { subject: ['s-0'] } }), [0, 6, 12, 18, 24])
    assert.deepEqual(await readNs(broker, orders, { where: { subject: [{ exists: false }], data: { n: [29] } } }), [29])
  },

  'a-malformed-pattern-is-refused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.declare(orders)
    await refused(
      () =>
        broker.start(
          consumer(world.name('worker'), orders).on(
            Placed.where({ n: [{ numeric: ['~', 3] }] } as never),
            () => undefined,
          ),
        ),
      'INVALID_PATTERN',
    )
    await refused(() => readNs(broker, orders, { where: { data: {} } as never }), 'INVALID_PATTERN')
    await refused(() => readNs(broker, orders, { where: { data: 'scalar' } as never }), 'INVALID_PATTERN')
  },
})

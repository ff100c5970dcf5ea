/** Clause 21, flow control: limits of concurrency and rates, for all events or by key, of one consumer or shared. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import type { HandlerContext } from '../../../consumer/consumer-types.ts'
import {
  Calls,
  describeConsumer,
  Gauge,
  gate,
  holds,
  idle,
  type OrderEvent,
  orderQueue,
  orderStream,
  Placed,
  placedMany,
  QUICK,
  refused,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep } from '../world.ts'

/** Two tenants: the events with even and with odd numbers. */
const tenant = ({ data: { n } }: OrderEvent): string => `t${n % 2}`

/**
 * Fails if the `n`-th of these times is earlier than the rate lets it be. The times are those of handlers, which may be
 * late on a busy machine, and never early.
 */
function checkRate(atMs: readonly number[], publishedMs: number, eachMs: number, burst: number): void {
  const late = [...atMs].sort((a, b) => a - b).map((at) => at - publishedMs)
  const early = late.findIndex((ms, n) => ms < (n + 1 - burst) * eachMs - CLOCK_MS)
  holds(early < 0, `event ${early} began ${late[early]} ms after the first could`)
}

/** The clock of the test shows whole milliseconds, and another one than that of the limit. */
const CLOCK_MS = 3

export const flowControl: readonly Scenario[] = clause(21, {
  'a-limit-of-concurrency-holds-over-all-instances': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const gauge = new Gauge()
    const calls = new Calls()
    for (let instance = 0; instance < 3; instance++)
      await broker.start(
        consumer(world.name('worker'), orders, { limit: { concurrency: 4 } }).on(Placed, (each, ctx) =>
          gauge.during(async () => {
            await sleep(2)
            calls.add(each, ctx)
          }),
        ),
      )
    await broker.publish(orders, placedMany(120))
    await calls.reach(world, 120)
    assert.equal(gauge.max, 4)
    await idle(world, broker, world.name('worker'))
  },

  'consumers-that-name-one-limit-share-it-and-none-starves': async (world) => {
    const broker = await world.connect()
    const gauge = new Gauge()
    const opened = gate()
    const calls = [new Calls(), new Calls()] as const
    let othersAtTen: number | null = null
    for (const [index, each] of calls.entries()) {
      const orders = index === 0 ? orderStream(world.name('orders')) : orderQueue(world.name('jobs'))
      await broker.start(
        consumer(world.name(`worker-${index}`), orders, {
          limit: { concurrency: 2, share: world.name('database') },
        }).on(Placed, (given, ctx) =>
          gauge.during(async () => {
            await opened.opened
            await sleep(2)
            each.add(given, ctx)
            if (index === 1 && each.length === 10) othersAtTen = calls[0].length
          }),
        ),
      )
      await broker.publish(orders, placedMany(60, 60))
    }
    await world.eventually(() => assert.equal(gauge.now, 2))
    opened.open()
    for (const each of calls) await each.reach(world, 60)
    holds(othersAtTen !== null && othersAtTen < 60, `one waited until the other had handled ${othersAtTen}`)
    assert.equal(gauge.max, 2)
  },

  'a-limit-by-key-holds-back-its-keys-only': [
    ['own-key'],
    async (world) => {
      const broker = await world.connect()
      const orders = unkeyedStream(world.name('orders'))
      const name = world.name('worker')
      const gauges = [new Gauge(), new Gauge()]
      const opened = gate()
      const calls = new Calls()
      await broker.start(
        consumer(name, orders, { limit: { concurrency: 2, key: tenant } }).on(Placed, (each, ctx) =>
          (gauges[each.data.n % 2] as Gauge).during(async () => {
            if (each.data.n % 2 === 0) await opened.opened
            calls.add(each, ctx)
          }),
        ),
      )
      await broker.publish(orders, placedMany(40))
      await calls.reach(world, 20)
      assert.deepEqual(
        calls.sorted.filter((n) => n % 2 === 0),
        [],
      )
      assert.equal((await describeConsumer(broker, name)).inFlight, 2)
      opened.open()
      await calls.reach(world, 40)
      assert.deepEqual(
        gauges.map(({ max }) => max <= 2),
        [true, true],
      )
      await idle(world, broker, name)
    },
  ],

  'a-limit-by-key-keeps-the-order-of-the-channels-keys': [
    ['own-key'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const calls = new Calls()
      let failures = 0
      await broker.start(
        consumer(world.name('worker'), orders, {
          concurrency: 8,
          limit: { concurrency: 3, key: tenant },
          retry: { attempts: 50, ...QUICK },
        }).on(Placed, async (each, ctx: HandlerContext) => {
          await sleep(each.data.n % 3)
          if (each.data.n % 7 === 0 && ctx.attempt === 1) {
            failures++
            throw new Error('once')
          }
          calls.add(each, ctx)
        }),
      )
      await broker.publish(orders, placedMany(90, 6))
      await calls.reach(world, 90)
      for (let key = 0; key < 6; key++) {
        const ns = calls.of(`k${key}`)
        assert.deepEqual(
          ns,
          [...ns].sort((a, b) => a - b),
        )
      }
      assert.equal(failures, 13)
    },
  ],

  'a-rate-with-a-burst-holds-in-every-span': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, {
        concurrency: 32,
        rate: { events: 10, per: '200ms', burst: 5 },
      }).on(Placed, calls.handler),
    )
    const publishedMs = Date.now()
    await broker.publish(orders, placedMany(25, 25))
    await calls.reach(world, 25)
    const times = calls.all.map(({ atMs }) => atMs)
    checkRate(times, publishedMs, 20, 5)
  },

  'a-rate-by-key-is-one-for-each-key': [
    ['own-key'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const calls = new Calls()
      const rate = { events: 1, per: '150ms', key: ({ data: { order } }: OrderEvent) => order } as const
      await broker.start(consumer(world.name('worker'), orders, { rate }).on(Placed, calls.handler))
      const publishedMs = Date.now()
      await broker.publish(orders, placedMany(12, 4))
      await calls.reach(world, 12)
      for (let key = 0; key < 4; key++) {
        const times = calls.all.filter(({ order }) => order === `k${key}`).map(({ atMs }) => atMs)
        checkRate(times, publishedMs, 150, 1)
      }
    },
  ],

  'a-rate-holds-through-a-restart': [
    ['reopen'],
    async (world) => {
      const before = await world.connect()
      const orders = orderStream(world.name('orders'))
      const worker = (): ReturnType<typeof consumer<typeof orders>> =>
        consumer(world.name('worker'), orders, { rate: { events: 2, per: '2s', burst: 2 } })
      const first = new Calls()
      await before.start(worker().on(Placed, first.handler))
      const publishedMs = Date.now()
      await before.publish(orders, placedMany(4, 4))
      await first.reach(world, 2)
      await idleOf(before, world.name('worker'))
      const broker = await world.reopen(before)
      const second = new Calls()
      await broker.start(worker().on(Placed, second.handler))
      await second.reach(world, 1)
      const times = [...first.all, ...second.all].map(({ atMs }) => atMs)
      checkRate(times, publishedMs, 1000, 2)
    },
  ],

  'a-limit-is-changed-while-its-consumer-runs': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const share = world.name('database')
    const opened = gate()
    const gauge = new Gauge()
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 16, limit: { concurrency: 1, share } }).on(
        Placed,
        (each, ctx) =>
          gauge.during(async () => {
            await opened.opened
            calls.add(each, ctx)
          }),
      ),
    )
    await broker.publish(orders, placedMany(30))
    await world.eventually(() => assert.equal(gauge.now, 1))
    await world.quiet()
    assert.equal(gauge.max, 1)
    const changed = await broker.setLimit(share, { concurrency: 5 })
    assert.deepEqual([changed.max, changed.declared.max], [5, 1])
    await world.eventually(() => assert.equal(gauge.now, 5))
    opened.open()
    await calls.reach(world, 30)
    assert.equal(gauge.max, 5)
    const limits = await broker.limits()
    assert.deepEqual(
      limits.filter(({ name }) => name === share).map(({ kind, consumers }) => [kind, consumers]),
      [['concurrency', [world.name('worker')]]],
    )
    assert.equal((await broker.setLimit(share, null)).max, 1)
    await refused(() => broker.setLimit(world.name('none'), { concurrency: 2 }), 'UNKNOWN_LIMIT', 'none')
    await refused(() => broker.setLimit(share, { events: 2, per: '1s' }), 'INVALID_OPTION', share)
  },
})

/** The consumer has nothing in flight. */
async function idleOf(broker: Parameters<typeof describeConsumer>[0], name: string): Promise<void> {
  while ((await describeConsumer(broker, name)).inFlight > 0) await sleep(2)
}

/** Clause 4 with a consumer's own key: it orders the consumer's events instead of the keys of the channels. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import type { HandlerContext } from '../../../consumer/consumer-types.ts'
import {
  Calls,
  describeConsumer,
  Gauge,
  HASTY,
  hang,
  holds,
  idle,
  numbers,
  type OrderEvent,
  orderQueue,
  orderStream,
  Placed,
  QUICK,
  refused,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep } from '../world.ts'

const SHOWS = 3

/** Each event has a channel key of its own; the show is in its note. */
function ofShows(count: number, from = 0): ReturnType<typeof Placed>[] {
  return numbers(from + count, from).map((n) => Placed({ order: `o${n}`, n, note: `show${n % SHOWS}` }))
}

const byShow = (event: OrderEvent): string | undefined => event.data.note

const ofShow = (show: number, count: number): number[] => numbers(count).filter((n) => n % SHOWS === show)

/** Reports when two events of a show are handled at once. */
class ShowWatch {
  readonly wrong: string[] = []
  readonly done = new Calls()
  readonly #running = new Map<string, string>()

  readonly handle = async (given: OrderEvent, ctx: HandlerContext): Promise<void> => {
    const show = given.data.note ?? ''
    if (ctx.key !== show) this.wrong.push(`ctx.key is ${ctx.key} for an event of ${show}`)
    const here = `${given.data.n} of ${ctx.channel}`
    const other = this.#running.get(show)
    if (other !== undefined) this.wrong.push(`${show}: ${here} began while ${other} ran`)
    this.#running.set(show, here)
    await sleep(given.data.n % 3)
    this.#running.delete(show)
    this.done.add(given, ctx)
  }

  /** The numbers of a show's events in a channel, in the order in which they were handled. */
  of(channel: string, show: number): number[] {
    return this.done.all.filter((call) => call.channel === channel && call.n % SHOWS === show).map((call) => call.n)
  }
}

export const ownKey: readonly Scenario[] = clause(4, {
  'a-consumers-own-key-orders-its-events-over-all-of-its-channels': [
    ['own-key'],
    async (world) => {
      const broker = await world.connect()
      const channels = [
        orderStream(world.name('orders')),
        orderStream(world.name('payments')),
        orderQueue(world.name('jobs')),
      ]
      const watch = new ShowWatch()
      for (let instance = 0; instance < 2; instance++)
        await broker.start(
          consumer(world.name('seats'), channels, { concurrency: 8, key: byShow }).on(Placed, watch.handle),
        )
      for (let batch = 0; batch < 3; batch++)
        for (const channel of channels) await broker.publish(channel, ofShows(20, batch * 20))
      await watch.done.reach(world, 180)
      assert.deepEqual(watch.wrong.slice(0, 5), [])
      for (const { name } of channels)
        for (let show = 0; show < SHOWS; show++) assert.deepEqual(watch.of(name, show), ofShow(show, 60))
    },
  ],

  'events-without-an-own-key-run-beside-each-other': [
    ['own-key'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      let running = 0
      let most = 0
      await broker.start(
        consumer(world.name('worker'), orders, { concurrency: 8, key: () => undefined }).on(Placed, async (_, ctx) => {
          assert.equal(ctx.key, null)
          most = Math.max(most, ++running)
          await world.eventually(() => most === 4)
          running--
        }),
      )
      // One key in the channel.
      await broker.publish(
        orders,
        numbers(4).map((n) => Placed({ order: 'one', n })),
      )
      await world.eventually(() => assert.equal(most, 4))
      await idle(world, broker, world.name('worker'))
    },
  ],

  'an-event-whose-own-key-fails-becomes-a-dead-letter': [
    ['own-key'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      const calls = new Calls()
      let broken = true
      const key = ({ data: { n, note } }: OrderEvent): string | undefined => {
        if (broken && n === 1) throw new Error('no such show')
        if (broken && n === 2) return 5 as unknown as string
        if (broken && n === 4) return Promise.reject(new Error('late')) as unknown as string
        return note
      }
      await broker.start(consumer(name, orders, { key }).on(Placed, calls.handler))
      await broker.publish(orders, ofShows(8))
      await calls.reach(world, 5)
      await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 3))
      assert.deepEqual(calls.sorted, [0, 3, 5, 6, 7])
      const letters = await broker.deadLetters(name).list()
      assert.deepEqual(
        letters.map(({ offset, key: of }) => [offset, of]),
        [
          [1, null],
          [2, null],
          [4, null],
        ],
      )
      holds(letters[0]?.failure.message.includes('no such show'), letters[0]?.failure.message)
      holds(letters[1]?.failure.message.includes('returned 5'), letters[1]?.failure.message)
      // It fails once more, and then no longer.
      await broker.deadLetters(name).redrive({ offset: 1 })
      await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 3))
      broken = false
      await broker.deadLetters(name).redrive()
      await calls.reach(world, 8)
      await idle(world, broker, name)
      assert.deepEqual(calls.sorted, numbers(8))
      assert.deepEqual(
        calls.all.filter(({ redriven }) => redriven).map((call) => call.key),
        ['show1', 'show2', 'show1'],
      )
    },
  ],

  'events-wait-behind-a-dead-letter-of-their-own-key': [
    ['own-key'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      const calls = new Calls()
      let broken = true
      await broker.start(
        consumer(name, orders, { concurrency: 8, key: byShow }).on(Placed, (each, ctx) => {
          if (broken && each.data.n === 0) ctx.reject('not now')
          calls.add(each, ctx)
        }),
      )
      await broker.publish(orders, ofShows(12))
      await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).parked, 3))
      await calls.reach(world, 8)
      assert.deepEqual(calls.sorted, [1, 2, 4, 5, 7, 8, 10, 11])
      const [letter] = await broker.deadLetters(name).list({ key: 'show0' })
      assert.deepEqual([letter?.offset, letter?.key, letter?.waiting], [0, 'show0', 3])
      broken = false
      await broker.deadLetters(name).redrive({ key: 'show0' })
      await calls.reach(world, 12)
      assert.deepEqual(calls.ns.slice(8), [0, 3, 6, 9])
    },
  ],

  'a-failing-event-holds-back-its-own-key-only': [
    ['own-key'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const calls = new Calls()
      await broker.start(
        consumer(world.name('worker'), orders, { key: byShow, retry: { attempts: 50, ...QUICK } }).on(
          Placed,
          (each, ctx) => {
            if (each.data.n === 0 && ctx.attempt < 4) throw new Error('again')
            calls.add(each, ctx)
          },
        ),
      )
      await broker.publish(orders, ofShows(12))
      await calls.reach(world, 12)
      for (let show = 0; show < SHOWS; show++)
        assert.deepEqual(
          calls.ns.filter((n) => n % SHOWS === show),
          ofShow(show, 12),
        )
      holds(calls.ns.indexOf(11) < calls.ns.indexOf(0), 'the other shows did not wait')
    },
  ],

  'another-own-key-holds-from-the-next-start-for-all-that-is-not-done': [
    ['own-key', 'reopen'],
    async (world) => {
      const before = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      let hanging = 0
      await before.start(
        consumer(name, orders, { ...HASTY, concurrency: 8, key: byShow }).on(Placed, (each, ctx) => {
          if (each.data.n === 0) ctx.reject('not now')
          if (each.data.n < 6) return
          hanging++
          return hang(ctx.signal)
        }),
      )
      await before.publish(orders, ofShows(12))
      await world.eventually(async () => {
        const { parked, deadLetters } = await describeConsumer(before, name)
        assert.deepEqual([deadLetters, parked, hanging], [1, 3, 2])
      })
      const broker = await world.reopen(before)
      const calls = new Calls()
      const gauge = new Gauge()
      // One key for all events.
      await broker.start(
        consumer(name, orders, { concurrency: 8, key: () => 'all' }).on(Placed, (each, ctx) =>
          gauge.during(async () => {
            assert.equal(ctx.key, 'all')
            await sleep(1)
            calls.add(each, ctx)
          }),
        ),
      )
      await broker.deadLetters(name).redrive()
      await calls.reach(world, 8)
      await idle(world, broker, name)
      assert.equal(gauge.max, 1)
      assert.deepEqual(
        [0, 1].map((half) => calls.ns.filter((n) => [0, 3, 6, 9].includes(n) === (half === 0))),
        [
          [0, 3, 6, 9],
          [7, 8, 10, 11],
        ],
      )
    },
  ],

  'an-own-key-holds-after-a-crash': [
    ['own-key', 'crash'],
    async (world) => {
      const before = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      const first = new ShowWatch()
      await before.start(consumer(name, orders, { concurrency: 8, key: byShow }).on(Placed, first.handle))
      await before.publish(orders, ofShows(60))
      await first.done.reach(world, 20)
      const broker = await world.crash()
      const second = new ShowWatch()
      await broker.start(consumer(name, orders, { concurrency: 8, key: byShow }).on(Placed, second.handle))
      await world.eventually(() => {
        const handled = new Set([...first.done.ns, ...second.done.ns])
        assert.equal(handled.size, 60)
      })
      await idle(world, broker, name)
      assert.deepEqual(second.wrong, [])
      for (let show = 0; show < SHOWS; show++) {
        const ns = second.of(orders.name, show)
        assert.deepEqual(
          ns,
          [...new Set(ns)].sort((a, b) => a - b),
        )
      }
    },
  ],

  'a-queue-has-one-consumer-where-one-has-an-own-key': [
    ['own-key'],
    async (world) => {
      const broker = await world.connect()
      const jobs = orderQueue(world.name('jobs'))
      const keyed = consumer(world.name('keyed'), jobs, { key: byShow }).on(Placed, () => undefined)
      const plain = consumer(world.name('plain'), jobs).on(Placed, () => undefined)
      const running = await broker.start(keyed)
      await refused(() => broker.start(plain), 'CLAUSE_REFUSED', 'plain', 'keyed')
      await running.stop()
      await broker.start(plain)
      await refused(() => broker.start(keyed), 'CLAUSE_REFUSED', 'plain', 'keyed')
    },
  ],
})

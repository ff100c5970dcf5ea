/** Clause 4 over a consumer's channels: one event of a key at a time, whichever channel it comes from. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import type { HandlerContext } from '../../../consumer/consumer-types.ts'
import {
  Calls,
  describeConsumer,
  numbers,
  type OrderEvent,
  orderQueue,
  orderStream,
  Placed,
  placedMany,
  QUICK,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep } from '../world.ts'

/** Reports when two events of a key are handled at once, or events of a channel out of order. */
class ChannelWatch {
  readonly wrong: string[] = []
  readonly done = new Calls()
  readonly #running = new Map<string, string>()

  readonly handle = async (given: OrderEvent, ctx: HandlerContext): Promise<void> => {
    const { order, n } = given.data
    const here = `${n} of ${ctx.channel}`
    const other = this.#running.get(order)
    if (other !== undefined) this.wrong.push(`${order}: ${here} began while ${other} ran`)
    this.#running.set(order, here)
    await sleep(n % 3)
    this.#running.delete(order)
    this.done.add(given, ctx)
  }

  check(channels: readonly string[], count: number, keys: number): void {
    assert.deepEqual(this.wrong.slice(0, 5), [])
    for (const channel of channels) {
      for (let key = 0; key < keys; key++) {
        const its = this.done.all
          .filter((call) => call.channel === channel && call.order === `k${key}`)
          .map((call) => call.n)
        assert.deepEqual(
          its,
          numbers(count).filter((n) => n % keys === key),
        )
      }
    }
  }
}

export const oneKeyInChannels: readonly Scenario[] = clause(4, {
  'one-key-is-handled-one-at-a-time-over-a-consumers-channels': async (world) => {
    const broker = await world.connect()
    const channels = [
      orderStream(world.name('orders')),
      orderStream(world.name('payments')),
      orderQueue(world.name('jobs')),
    ]
    const watch = new ChannelWatch()
    for (let instance = 0; instance < 2; instance++)
      await broker.start(consumer(world.name('worker'), channels, { concurrency: 8 }).on(Placed, watch.handle))
    for (let batch = 0; batch < 3; batch++)
      for (const channel of channels) await broker.publish(channel, placedMany(20, 2, batch * 20))
    await watch.done.reach(world, 180)
    watch.check(
      channels.map(({ name }) => name),
      60,
      2,
    )
  },

  'what-waits-in-one-channel-does-not-hold-back-its-key-in-another': async (world) => {
    const broker = await world.connect()
    const [orders, payments] = [orderStream(world.name('orders')), orderStream(world.name('payments'))]
    const name = world.name('worker')
    const calls = new Calls()
    await broker.start(
      consumer(name, [orders, payments], { concurrency: 4, retry: { attempts: 1000, ...QUICK } }).on(
        Placed,
        (each, ctx) => {
          if (ctx.channel === orders.name && each.data.n === 0) ctx.reject('a dead letter')
          if (ctx.channel === orders.name && each.data.n === 1) throw new Error('an attempt that fails')
          calls.add(each, ctx)
        },
      ),
    )
    await broker.publish(orders, placedMany(4, 2))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 1))
    await broker.publish(payments, placedMany(10, 2))
    await calls.reach(world, 10)
    for (const key of [0, 1])
      assert.deepEqual(
        calls.of(`k${key}`),
        numbers(10).filter((n) => n % 2 === key),
      )
  },

  'a-batch-holds-its-keys-in-the-other-channels-too': async (world) => {
    const broker = await world.connect()
    const [orders, payments] = [orderStream(world.name('orders')), orderStream(world.name('payments'))]
    const running = new Set<string>()
    const wrong: string[] = []
    let done = 0
    await broker.start(
      consumer(world.name('worker'), [orders, payments], { concurrency: 8 }).onBatch(
        Placed,
        { size: 4 },
        async (events) => {
          const keys = new Set(events.map(({ data: { order } }) => order))
          for (const key of keys) if (running.has(key)) wrong.push(key)
          for (const key of keys) running.add(key)
          await sleep(2)
          for (const key of keys) running.delete(key)
          done += events.length
        },
      ),
    )
    for (let batch = 0; batch < 3; batch++)
      for (const channel of [orders, payments]) await broker.publish(channel, placedMany(20, 2, batch * 20))
    await world.eventually(() => assert.equal(done, 120))
    assert.deepEqual(wrong, [])
  },
})

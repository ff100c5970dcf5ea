/** Clause 14, pauses: an instance, or a whole consumer, receives nothing for a while. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import type { Running } from '../../../consumer/consumer-types.ts'
import {
  Calls,
  describeConsumer,
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
  refused,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const pauses: readonly Scenario[] = clause(14, {
  'pause-takes-nothing-new-and-resume-goes-on': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    const wait = gate()
    const running = await broker.start(
      consumer(name, orders, { concurrency: 4 }).on(Placed, async (each, ctx) => {
        calls.add(each, ctx)
        await wait.opened
      }),
    )
    await broker.publish(orders, placedMany(50))
    await calls.reach(world, 4)
    running.pause()
    assert.equal((await describeConsumer(broker, name)).paused, true)
    wait.open()
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).inFlight, 0))
    await broker.publish(orders, placedMany(10, 1, 50))
    await world.quiet()
    assert.equal(calls.length, 4, 'handlers that run continue, nothing new begins')
    running.resume()
    await calls.reach(world, 60)
    await idle(world, broker, name)
    assert.deepEqual(calls.sorted, numbers(60))
    assert.equal((await describeConsumer(broker, name)).paused, false)
  },

  'retries-wait-while-paused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    const running: Running = await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        if (ctx.attempt === 1) {
          running.pause()
          throw new Error('once')
        }
      }),
    )
    await broker.publish(orders, placed('a', 0))
    await calls.reach(world, 1)
    await world.quiet(2)
    assert.equal(calls.length, 1)
    running.resume()
    await calls.reach(world, 2)
  },

  'one-instance-paused-leaves-the-work-to-the-others': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const [paused, other] = [new Calls(), new Calls()]
    const running = await broker.start(consumer(world.name('worker'), orders).on(Placed, paused.handler))
    running.pause()
    await broker.start(consumer(world.name('worker'), orders).on(Placed, other.handler))
    await broker.publish(orders, placedMany(100, 10))
    await other.reach(world, 100)
    assert.equal(paused.length, 0)
  },

  'a-consumer-paused-as-a-whole-is-given-nothing': async (world) => {
    const broker = await world.connect()
    const [orders, jobs] = [orderStream(world.name('orders')), orderQueue(world.name('jobs'))]
    const name = world.name('worker')
    await refused(() => broker.consumer(name).pause(), 'UNKNOWN_CONSUMER')
    const [calls, others] = [new Calls(), new Calls()]
    const start = () => broker.start(consumer(name, [orders, jobs]).on(Placed, calls.handler))
    await start()
    await start()
    await broker.start(consumer(world.name('other'), orders).on(Placed, others.handler))
    await broker.publish(orders, placedMany(10))
    await calls.reach(world, 10)
    await broker.consumer(name).pause({ reason: 'the bank is down' })
    const { paused, pause, stalled } = await describeConsumer(broker, name)
    assert.deepEqual([paused, pause?.reason, stalled], [true, 'the bank is down', null])
    await start()
    await broker.publish(orders, placedMany(10, 3, 10))
    await broker.publish(jobs, placedMany(5, 3, 20))
    await others.reach(world, 20)
    await world.quiet(3)
    assert.equal(calls.length, 10, 'a paused consumer is given nothing, nor is an instance of it that starts')
    await broker.consumer(name).resume()
    await calls.reach(world, 25)
    assert.deepEqual(calls.sorted, numbers(25))
    assert.deepEqual(
      [(await describeConsumer(broker, name)).paused, (await describeConsumer(broker, name)).pause],
      [false, null],
    )
  },

  'a-pause-outlives-a-restart-and-ends-with-its-consumer': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      const calls = new Calls()
      const start = () => broker.start(consumer(name, orders).on(Placed, calls.handler))
      await start()
      await broker.consumer(name).pause()
      broker = await world.reopen(broker)
      assert.equal((await describeConsumer(broker, name)).paused, true)
      const running = await start()
      await broker.publish(orders, placedMany(5))
      await world.quiet(3)
      assert.equal(calls.length, 0)
      await running.stop()
      await broker.consumer(name).remove()
      await start()
      await calls.reach(world, 5)
    },
  ],

  'a-pause-outlives-the-last-channel-of-its-consumer-and-is-seen': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    const start = () => broker.start(consumer(name, orders).on(Placed, calls.handler))
    const leave = async () => {
      const running = await start()
      await broker.consumer(name).pause({ reason: 'the bank is down' })
      await running.stop()
      await broker.channel(orders).remove()
      const { channels, paused, pause } = await describeConsumer(broker, name)
      assert.deepEqual([channels, paused, pause?.reason], [[], true, 'the bank is down'])
      assert.deepEqual(await broker.deadLetters(name).list(), [])
    }
    await leave()
    const again = await start()
    await broker.publish(orders, placedMany(3))
    await world.quiet(2)
    assert.equal(calls.length, 0, 'it is paused still')
    await broker.consumer(name).resume()
    await calls.reach(world, 3)
    await again.stop()
    await leave()
    await broker.consumer(name).remove()
    holds(!(await broker.describe()).consumers.some((each) => each.name === name))
    await refused(() => broker.consumer(name).remove(), 'UNKNOWN_CONSUMER', name)
    await start()
    await broker.publish(orders, placedMany(3, 3, 3))
    await calls.reach(world, 6)
  },
})

/**
 * Clause 2, fan-out and competition: each consumer name sees every event of a stream, and its instances share them.
 * Each event of a queue goes to one worker.
 */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  describeConsumer,
  gate,
  idle,
  numbers,
  orderQueue,
  orderStream,
  Placed,
  placed,
  placedMany,
  readNs,
  unkeyedQueue,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const fanOut: readonly Scenario[] = clause(2, {
  'each-consumer-sees-every-event': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const seen = [new Calls(), new Calls(), new Calls()]
    for (const [at, calls] of seen.entries())
      await broker.start(consumer(world.name(`group-${at}`), orders).on(Placed, calls.handler))
    await Promise.all(placedMany(200, 10).map((each) => broker.publish(orders, each)))
    for (const calls of seen) {
      await calls.reach(world, 200)
      assert.deepEqual(calls.sorted, numbers(200))
    }
  },

  'instances-share-a-stream': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const [all, one, two] = [new Calls(), new Calls(), new Calls()]
    const both = gate()
    for (const calls of [one, two]) {
      await broker.start(
        consumer(world.name('workers'), orders, { concurrency: 5 }).on(Placed, async (each, ctx) => {
          all.add(each, ctx)
          calls.add(each, ctx)
          await both.opened
        }),
      )
    }
    await broker.publish(orders, placedMany(100))
    await world.eventually(() =>
      assert.deepEqual([one.length, two.length], [5, 5], 'each instance takes what it has credit for'),
    )
    both.open()
    await all.reach(world, 100)
    await idle(world, broker, world.name('workers'))
    assert.deepEqual(all.sorted, numbers(100))
  },

  'a-queue-event-goes-to-one-worker': async (world) => {
    const broker = await world.connect()
    const jobs = orderQueue(world.name('jobs'))
    const calls = new Calls()
    for (let worker = 0; worker < 5; worker++)
      await broker.start(consumer(world.name('workers'), jobs, { concurrency: 2 }).on(Placed, calls.handler))
    await Promise.all(placedMany(300, 30).map((each) => broker.publish(jobs, each)))
    await calls.reach(world, 300)
    await idle(world, broker, world.name('workers'))
    assert.deepEqual(calls.sorted, numbers(300))
  },

  'consumers-of-two-names-compete-for-a-queue': async (world) => {
    const broker = await world.connect()
    const jobs = unkeyedQueue(world.name('jobs'))
    const calls = new Calls()
    for (const name of ['one', 'two'])
      await broker.start(consumer(world.name(name), jobs, { concurrency: 2 }).on(Placed, calls.handler))
    await Promise.all(placedMany(200).map((each) => broker.publish(jobs, each)))
    await calls.reach(world, 200)
    await world.quiet()
    assert.deepEqual(calls.sorted, numbers(200))
  },

  'a-queue-forgets-what-is-done': async (world) => {
    const broker = await world.connect()
    const jobs = unkeyedQueue(world.name('jobs'))
    await broker.publish(jobs, placedMany(50))
    assert.deepEqual(await readNs(broker, jobs), numbers(50), 'it keeps what nobody has done')
    const calls = new Calls()
    await broker.start(consumer(world.name('workers'), jobs).on(Placed, calls.handler))
    await calls.reach(world, 50)
    await world.eventually(async () => assert.deepEqual(await readNs(broker, jobs), []))
  },

  'fifty-publishers-to-fifty-subscribers': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    for (let at = 0; at < 50; at++)
      await broker.start(consumer(world.name('group'), orders, { concurrency: 2 }).on(Placed, calls.handler))
    const publisher = async (at: number): Promise<void> => {
      for (const each of placedMany(100, 1, at * 100)) await broker.publish(orders, each)
    }
    await Promise.all(numbers(50).map(publisher))
    await calls.reach(world, 5000)
    await idle(world, broker, world.name('group'))
    assert.deepEqual(calls.sorted, numbers(5000))
  },

  'twenty-channels-at-once-do-not-mix': async (world) => {
    const broker = await world.connect()
    const channels = numbers(20).map((at) => orderStream(world.name(`orders-${at}`)))
    const seen = channels.map(() => new Calls())
    for (const [at, channel] of channels.entries())
      await broker.start(consumer(world.name(`reader-${at}`), channel).on(Placed, (seen[at] as Calls).handler))
    await Promise.all(
      channels.flatMap((channel, at) => numbers(100).map((n) => broker.publish(channel, placed(`channel-${at}`, n)))),
    )
    for (const [at, calls] of seen.entries()) {
      await calls.reach(world, 100)
      assert.deepEqual(calls.of(`channel-${at}`), numbers(100))
      assert.equal(calls.length, 100, `channel ${at} was given another's events`)
    }
  },

  'late-consumers-see-old-events': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    for (const round of [0, 1, 2]) {
      await broker.publish(orders, placedMany(50, 5, round * 50))
      const calls = new Calls()
      await broker.start(consumer(world.name(`late-${round}`), orders).on(Placed, calls.handler))
      await calls.reach(world, (round + 1) * 50)
      assert.deepEqual(calls.sorted, numbers((round + 1) * 50))
    }
  },

  'instances-are-counted': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('workers')
    const running = [
      await broker.start(consumer(name, orders).on(Placed, () => undefined)),
      await broker.start(consumer(name, orders).on(Placed, () => undefined)),
    ]
    assert.equal((await describeConsumer(broker, name)).instances, 2)
    await running[0]?.stop()
    assert.equal((await describeConsumer(broker, name)).instances, 1)
  },
})

/**
 * Clause 4, order by key, for keys whose events are dead letters, wait behind one, or had no instance when they
 * arrived.
 */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  describeConsumer,
  idle,
  numbers,
  orderQueue,
  orderStream,
  Paid,
  Placed,
  placedMany,
} from '../fixtures.ts'
import { KeyWatch } from '../key-watch.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep } from '../world.ts'

export const orderBehindLetters: readonly Scenario[] = clause(4, {
  'what-a-batch-calls-done-behind-a-letter-waits-behind-it': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    await broker.publish(orders, placedMany(4))
    const given: number[] = []
    let failed = false
    await broker.start(
      consumer(name, orders, { retry: { attempts: 1 } }).onBatch(Placed, { size: 4 }, (events) => {
        given.push(...events.map((each) => each.data.n))
        const first = !failed
        failed = true
        return events.map(({ data: { n } }) => (n === 1 && first ? new Error('the second of four') : 'done'))
      }),
    )
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).parked, 2))
    await broker.publish(orders, placedMany(4, 1, 4))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).parked, 6))
    const before = given.length
    await broker.deadLetters(name).redrive()
    await world.eventually(() => assert.equal(given.length, before + 7))
    assert.deepEqual(given.slice(before), numbers(8, 1))
  },

  'letters-of-a-key-that-were-skipped-come-back-one-at-a-time': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const watch = new KeyWatch()
    let broken = true
    await broker.start(
      consumer(name, orders, { onDead: 'skip', concurrency: 8 }).on(Placed, (each, ctx) => {
        if (broken) ctx.reject('not now')
        return watch.handle(each, ctx, () => sleep(each.data.n % 3))
      }),
    )
    await broker.publish(orders, placedMany(16, 2))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 16))
    broken = false
    await broker.deadLetters(name).redrive()
    await broker.publish(orders, placedMany(8, 2, 16))
    await watch.done.reach(world, 24)
    await idle(world, broker, name)
    assert.deepEqual(
      watch.wrong.filter((each) => each.includes('began while')),
      [],
    )
    for (const key of [0, 1])
      assert.deepEqual(
        watch.done.of(`k${key}`).filter((n) => n < 16),
        numbers(16).filter((n) => n % 2 === key),
      )
  },

  'block-holds-back-what-was-taken-up-behind-the-letter': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    let broken = true
    await broker.start(
      consumer(name, orders, { onDead: 'block', concurrency: 4 }).on(Placed, async (each, ctx) => {
        await sleep(1)
        if (each.data.n === 0 && broken) ctx.reject('not now')
        calls.add(each, ctx)
      }),
    )
    await broker.publish(orders, placedMany(10))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 1))
    await world.quiet()
    assert.deepEqual(calls.ns, [])
    broken = false
    await broker.deadLetters(name).redrive()
    await calls.reach(world, 10)
    assert.deepEqual(calls.ns, numbers(10))
  },

  'what-nobody-wanted-at-first-keeps-its-order': async (world) => {
    const broker = await world.connect()
    const jobs = orderQueue(world.name('jobs'))
    const others = new Calls()
    const watch = new KeyWatch()
    await broker.start(consumer(world.name('payments'), jobs).on(Paid, others.handler))
    await broker.publish(jobs, [...placedMany(30, 3), Paid({ order: 'other', n: 0 })])
    await others.reach(world, 1)
    await world.quiet()
    await broker.start(
      consumer(world.name('orders'), jobs, { concurrency: 8 }).on(Placed, (each, ctx) =>
        watch.handle(each, ctx, () => sleep(each.data.n % 3)),
      ),
    )
    await watch.done.reach(world, 30)
    watch.check(30, 3)
  },
})

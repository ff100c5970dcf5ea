/** Clause 14, lifecycle: consumers and channels come and go while everything else runs. */
import assert from 'node:assert/strict'
import { engineOf } from '../../../broker/engine-of.ts'
import { stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  describeConsumer,
  Gauge,
  gate,
  HASTY,
  hang,
  holds,
  idle,
  numbers,
  orderQueue,
  orderStream,
  Placed,
  placed,
  placedMany,
  QUICK,
  readAll,
  readNs,
  refused,
  unkeyedStream,
} from '../fixtures.ts'
import { nothing, Port } from '../port.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep } from '../world.ts'

export const lifecycle: readonly Scenario[] = clause(14, {
  'nothing-is-delivered-before-the-subscription-is-there': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, stream(world.name('orders')))
      await port.publish(10, 5)
      const first = await port.subscribe({ renews: true, completes: nothing })
      await world.eventually(() => assert.equal(first.given.length, 10))
      const [second] = await Promise.all([port.subscribe({ renews: true, completes: nothing }), port.publish(10, 5)])
      await world.eventually(() => assert.equal(first.given.length + second.given.length, 20))
      assert.deepEqual([first.early, second.early], [[], []], 'a subscriber needs no buffer')
      await Promise.all([first.subscription.close(), second.subscription.close()])
    },
  ],

  'stop-waits-for-handlers-that-run': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const wait = gate()
    const calls = new Calls()
    const running = await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 5 }).on(Placed, async (each, ctx) => {
        await wait.opened
        assert.equal(ctx.signal.aborted, false)
        calls.add(each, ctx)
      }),
    )
    await broker.publish(orders, placedMany(20))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, world.name('worker'))).inFlight, 5))
    let stopped = false
    const stopping = running.stop().then((summary) => {
      stopped = true
      return summary
    })
    await world.quiet()
    assert.equal(stopped, false, 'it waits')
    wait.open()
    assert.deepEqual(await stopping, { completed: 5, retried: 0, deadLettered: 0, released: 0 })
    assert.deepEqual(await running.done, await stopping)
    assert.equal(calls.length, 5, 'it took nothing more')
  },

  'stop-hands-back-what-does-not-finish': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const signals: AbortSignal[] = []
    const running = await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 3, drain: 50 }).on(Placed, async (_, ctx) => {
        signals.push(ctx.signal)
        await new Promise(() => undefined)
      }),
    )
    await broker.publish(orders, placedMany(3))
    await world.eventually(() => signals.length === 3)
    const summary = await running.stop()
    assert.deepEqual([summary.completed, summary.released], [0, 3])
    holds(
      signals.every((signal) => signal.aborted),
      'their contexts end',
    )
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
    await calls.reach(world, 3)
  },

  'stopping-twice-is-stopping-once': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const running = await broker.start(consumer(world.name('worker'), orders).on(Placed, () => undefined))
    await broker.publish(orders, placedMany(3))
    await idle(world, broker, world.name('worker'))
    const [first, second] = await Promise.all([running.stop(), running.stop()])
    assert.deepEqual(first, second)
    assert.deepEqual(await running.stop(), first)
    assert.equal(first.completed, 3)
  },

  'a-summary-counts-what-was-done': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const running = await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, (each, ctx) => {
        if (each.data.n < 2) ctx.reject('bad')
        if (each.data.n < 5 && ctx.attempt === 1) throw new Error('once')
      }),
    )
    await broker.publish(orders, placedMany(10))
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(await running.stop(), { completed: 8, retried: 3, deadLettered: 2, released: 0 })
  },

  'it-goes-on-after-consumers-stop': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    for (let batch = 0; batch < 5; batch++) await broker.publish(orders, placedMany(1000, 1, batch * 1000))
    for (let batch = 1; batch <= 10; batch++) {
      const running = await broker.start(
        consumer(world.name('worker'), orders, { concurrency: 50 }).on(Placed, calls.handler),
      )
      await calls.reach(world, batch * 500)
      await running.stop()
    }
    assert.deepEqual(calls.sorted, numbers(5000), 'ten consumers one after the other did each once')
  },

  'ten-consumers-opened-and-closed-at-once': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(100, 10))
    const calls = new Calls()
    const running = await Promise.all(
      numbers(10).map(() => broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))),
    )
    await broker.publish(orders, placedMany(100, 10, 100))
    await Promise.all(running.map((each) => each.stop()))
    await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(calls.sorted, numbers(200))
    assert.equal((await describeConsumer(broker, world.name('worker'))).instances, 1)
  },

  'a-removed-channel-leaves-the-others': async (world) => {
    const broker = await world.connect()
    const [gone, stays] = [orderStream(world.name('gone')), orderStream(world.name('stays'))]
    const name = world.name('worker')
    const calls = new Calls()
    const wait = gate()
    await broker.start(
      consumer(name, [gone, stays], { concurrency: 8, ...HASTY }).on(Placed, async (each, ctx) => {
        calls.add(each, ctx)
        if (ctx.channel === gone.name) await Promise.race([wait.opened, hang(ctx.signal)])
      }),
    )
    await broker.publish(gone, placedMany(10, 5))
    await calls.reach(world, 5)
    await broker.channel(gone).remove()
    await broker.publish(stays, placedMany(20, 5))
    await calls.reach(world, 25)
    await world.quiet()
    assert.equal(
      calls.all.filter((call) => call.channel === gone.name).length,
      5,
      'nothing more of the removed channel',
    )
    const { channels, inFlight } = await describeConsumer(broker, name)
    assert.deepEqual([channels.map((each) => each.channel), inFlight], [[stays.name], 0])
    holds(!(await broker.describe()).channels.some((each) => each.name === gone.name))
    await refused(() => readAll(broker, gone.name), 'UNKNOWN_CHANNEL', gone.name)
  },

  'a-read-that-follows-ends-when-its-channel-is-removed': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0))
    const [read, first] = [[] as unknown[], gate()]
    const reading = (async () => {
      for await (const each of broker.read(orders, { follow: true })) {
        read.push(each)
        first.open()
      }
      return 'ended'
    })()
    await first.opened
    await broker.channel(orders).remove()
    await world.eventually(async () =>
      assert.equal(await Promise.race([reading, sleep(10).then(() => 'reads on')]), 'ended'),
    )
    assert.equal(read.length, 1)
  },

  'a-removed-channel-can-be-made-anew': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0, { id: 'same' }))
    await broker.publish(orders, placed('a', 1), { delay: 50 })
    await broker
      .start(consumer(world.name('worker'), orders).on(Placed, () => undefined))
      .then((running) => running.stop())
    await broker.channel(orders).remove()
    const jobs = orderQueue(orders.name)
    assert.equal((await broker.publish(jobs, placed('a', 2, { id: 'same' }))).duplicate, false)
    await sleep(60)
    await world.quiet()
    assert.deepEqual(await readNs(broker, jobs), [2], 'nothing of the old one is left, what it had scheduled neither')
  },

  'a-removed-consumer-is-forgotten': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    const worker = () =>
      consumer(name, orders, { retry: { attempts: 1 } }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        if (each.data.n === 3) throw new Error('bad')
      })
    const running = await broker.start(worker())
    await broker.publish(orders, placedMany(10))
    await calls.reach(world, 10)
    await running.stop()
    await broker.consumer(name).remove()
    holds(!(await broker.describe()).consumers.some((each) => each.name === name))
    await refused(() => broker.deadLetters(name).list(), 'UNKNOWN_CONSUMER', name)
    await broker.start(worker())
    await calls.reach(world, 20)
    assert.deepEqual(
      calls.sorted,
      numbers(10).flatMap((n) => [n, n]),
      'it begins again',
    )
  },

  'a-running-consumer-is-not-removed': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    await broker.start(consumer(name, orders).on(Placed, calls.handler))
    await refused(() => broker.consumer(name).remove(), 'INVALID_OPTION', name)
    await refused(() => broker.consumer(world.name('nobody')).remove(), 'UNKNOWN_CONSUMER', world.name('nobody'))
    await broker.publish(orders, placed('a', 0))
    await calls.reach(world, 1)
  },

  'close-drains-what-runs': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    const gauge = new Gauge()
    const running = await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 5 }).on(Placed, (each, ctx) =>
        gauge.during(async () => {
          await sleep(50)
          calls.add(each, ctx)
        }),
      ),
    )
    await broker.publish(orders, placedMany(5))
    await world.eventually(() => gauge.now === 5)
    await broker.close()
    assert.equal(calls.length, 5)
    assert.equal((await running.done).completed, 5)
  },

  'calls-after-close-are-refused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0))
    await broker.close()
    await broker.close()
    await refused(() => broker.publish(orders, placed('a', 1)), 'CLOSED')
    await refused(() => broker.publish(orders, [placed('a', 1)]), 'CLOSED')
    await refused(() => broker.publish(orders, placed('a', 1), { delay: 10 }), 'CLOSED')
    await refused(() => broker.declare(orders), 'CLOSED')
    await refused(() => broker.start(consumer(world.name('worker'), orders).on(Placed, () => undefined)), 'CLOSED')
    await refused(() => readAll(broker, orders), 'CLOSED')
    await refused(() => broker.describe(), 'CLOSED')
    await refused(() => broker.consumer(world.name('worker')).rewind('beginning'), 'CLOSED')
    await refused(async () => broker.deadLetters(world.name('worker')).list(), 'CLOSED')
  },

  'handlers-of-one-consumer-may-publish-and-start-others': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
    const calls = new Calls()
    await broker.start(
      consumer(world.name('first'), orders).on(Placed, async (each) => {
        await broker.publish(out, placed('out', each.data.n))
        if (each.data.n === 0) await broker.start(consumer(world.name('second'), out).on(Placed, calls.handler))
      }),
    )
    await broker.publish(orders, placedMany(10))
    await calls.reach(world, 10)
    assert.deepEqual(calls.ns, numbers(10))
  },

  'publishers-go-on-through-a-restart': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = unkeyedStream(world.name('orders'))
      const handled = new Set<number>()
      const start = () =>
        broker.start(
          consumer(world.name('worker'), orders, { concurrency: 32 }).on(
            Placed,
            (each) => void handled.add(each.data.n),
          ),
        )
      await start()
      let published = 0
      let reopening: Promise<unknown> = Promise.resolve()
      const reopen = async (): Promise<void> => {
        broker = await world.reopen(broker)
        await start()
      }
      const publisher = async (at: number): Promise<void> => {
        for (const each of placedMany(30, 1, at * 30)) {
          for (;;) {
            const done = await broker.publish(orders, each).then(
              () => true,
              () => false,
            )
            if (done) break
            await reopening
          }
          if (++published === 1000 || published === 1500) reopening = reopen()
        }
      }
      await Promise.all(numbers(100).map(publisher))
      await reopening
      await world.eventually(() => assert.equal(handled.size, 3000))
      assert.deepEqual(
        (await readNs(broker, orders)).sort((a, b) => a - b),
        numbers(3000),
        'each was stored once',
      )
    },
  ],

  'a-channel-that-was-removed-meanwhile-is-declared-again': async (world) => {
    const broker = await world.connect()
    // The removal is done at the engine, as by another process: the broker does not know of it.
    const engine = engineOf(broker)
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
    const calls = new Calls()
    const worker = consumer(world.name('worker'), orders, { retry: { ...QUICK, attempts: 20 } }).on(
      Placed,
      async (each, ctx) => {
        await ctx.emit(out, placed('out', each.data.n))
        calls.add(each, ctx)
      },
    )
    const running = await broker.start(worker)
    await broker.publish(orders, placed('a', 0, { id: 'same' }))
    await world.eventually(async () => assert.deepEqual(await readNs(broker, out), [0]))

    await engine.removeChannel(orders.name)
    const again = await broker.publish(orders, placed('a', 1, { id: 'same' }))
    assert.equal(again.duplicate, false, 'the new channel knows no ids of the old one')
    assert.deepEqual(await readNs(broker, orders), [1], 'publishing declares it')
    await world.eventually(async () => assert.deepEqual(await readNs(broker, out), [0, 1], 'its consumer continues'))

    await engine.removeChannel(out.name)
    await broker.publish(orders, placed('a', 2))
    await world.eventually(async () => assert.deepEqual(await readNs(broker, out), [2], 'emitting declares it'))

    await running.stop()
    await engine.removeChannel(orders.name)
    assert.deepEqual(await readNs(broker, orders), [], 'reading declares it')
    await engine.removeChannel(orders.name)
    await broker.start(worker)
    await broker.publish(orders.name, placed('a', 3))
    await world.eventually(() => assert.equal(calls.ns.includes(3), true, 'starting a consumer declares it'))
    await engine.removeChannel(orders.name)
    await broker.declare(orders)
    await broker.publish(orders.name, placed('a', 4))
    assert.deepEqual(await readNs(broker, orders), [4], 'so does declare()')
    await engine.removeChannel(orders.name)
    await refused(() => broker.publish(orders.name, placed('a', 5)), 'UNKNOWN_CHANNEL')
  },

  'a-channel-nobody-consumes-just-keeps': async (world) => {
    const broker = await world.connect()
    const plain = stream(world.name('plain'))
    await broker.declare(plain, plain)
    await broker.publish(plain, { type: 'anything', data: 1 })
    await broker.publish(plain.name, { type: 'anything.else', data: 2 })
    assert.deepEqual(
      (await readAll(broker, plain)).map((each) => each.data),
      [1, 2],
    )
  },
})

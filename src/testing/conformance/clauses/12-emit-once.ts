/** Clause 12, emit once: what a handler emits takes effect with the event's completion, or not at all. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import type { HandlerContext } from '../../../consumer/consumer-types.ts'
import {
  arrived,
  Calls,
  describeConsumer,
  gate,
  holds,
  idle,
  Note,
  numbers,
  type Order,
  orderStream,
  Paid,
  Placed,
  placed,
  placedMany,
  QUICK,
  readAll,
  readNs,
  refused,
  unkeyedQueue,
  unkeyedStream,
} from '../fixtures.ts'
import { randomFrom } from '../random.ts'
import { RandomHistory } from '../random-history.ts'
import { clause, type Scenario } from '../scenario.ts'

export const emitOnce: readonly Scenario[] = clause(12, {
  'an-emission-appears-with-the-completion': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
    const wait = gate()
    const calls = new Calls()
    await broker.declare(out)
    await broker.start(
      consumer(world.name('worker'), orders).on(Placed, async (each, ctx) => {
        await ctx.emit(out, placed('out', each.data.n))
        calls.add(each, ctx)
        await wait.opened
      }),
    )
    await broker.publish(orders, placedMany(5, 5))
    await calls.reach(world, 5)
    await world.quiet()
    assert.deepEqual(await readNs(broker, out), [], 'nothing before the handler has finished')
    wait.open()
    await world.eventually(async () => assert.deepEqual((await readNs(broker, out)).sort(), numbers(5)))
  },

  'emissions-are-deduplicated-like-any-publish': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
    await broker.publish(out, placed('out', 0, { id: 'known' }))
    await broker.publish(out, placed('out', 1, { id: 'waits' }), { delay: 400 })
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 4 }).on(Placed, async (each, ctx) => {
        calls.add(each, ctx)
        for (const id of ['known', 'waits', 'new']) await ctx.emit(out, placed('out', 10, { id }))
        for (const id of ['known', 'waits', 'new', 'later', 'later'])
          await ctx.emit(out, placed('out', 20, { id }), { delay: 100 })
        await ctx.emit(out, placed('out', 30, { id: 'later' }))
      }),
    )
    await broker.publish(orders, placedMany(4, 4))
    await calls.reach(world, 4)
    await world.eventually(async () => assert.equal((await readAll(broker, out)).length, 4))
    await world.quiet(2)
    const stored = await readAll(broker, out)
    assert.deepEqual(
      stored.map(({ id, data }) => `${id} ${(data as Order).n}`).sort(),
      ['known 0', 'later 20', 'new 10', 'waits 1'],
      'the first of each id, once',
    )
  },

  'an-emission-after-the-window-is-stored-again': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'), { dedupe: { age: 100 } })]
    await broker.start(
      consumer(world.name('worker'), orders).on(Placed, (each, ctx) =>
        ctx.emit(out, placed('out', each.data.n, { id: 'same' })),
      ),
    )
    await world.eventually(async () => {
      await broker.publish(orders, placed('a', 0))
      return (await readAll(broker, out)).length > 1
    })
  },

  'repeated-attempts-emit-once': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [unkeyedStream(world.name('orders')), unkeyedStream(world.name('out'))]
    await broker.start(
      consumer(world.name('worker'), orders, { retry: { attempts: 10, ...QUICK } }).on(Placed, async (each, ctx) => {
        await ctx.emit(out, placed(`attempt-${ctx.attempt}`, each.data.n))
        if (ctx.attempt < 4) throw new Error('after emitting')
      }),
    )
    await broker.publish(orders, placedMany(20))
    await idle(world, broker, world.name('worker'))
    await arrived(world, broker, out, 20)
    const events = await readAll(broker, out)
    assert.deepEqual(
      events.map((each) => (each.data as Order).n).sort((a, b) => a - b),
      numbers(20),
    )
    assert.deepEqual(
      new Set(events.map((each) => (each.data as Order).order)),
      new Set(['attempt-4']),
      'what failed attempts emitted never existed',
    )
  },

  'a-rejected-event-emits-nothing': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [unkeyedStream(world.name('orders')), unkeyedStream(world.name('out'))]
    const name = world.name('worker')
    let rejects = true
    await broker.declare(out)
    await broker.start(
      consumer(name, orders).on(Placed, async (each, ctx) => {
        await ctx.emit(out, placed('out', each.data.n))
        if (rejects) ctx.reject('no')
      }),
    )
    await broker.publish(orders, placedMany(5))
    await world.eventually(async () => assert.equal((await broker.deadLetters(name).list()).length, 5))
    assert.deepEqual(await readNs(broker, out), [])
    rejects = false
    await broker.deadLetters(name).redrive()
    await world.eventually(async () => assert.deepEqual((await readNs(broker, out)).sort(), numbers(5)))
  },

  'one-completion-emits-to-several-channels': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const [one, two, three] = [
      unkeyedStream(world.name('one')),
      unkeyedQueue(world.name('two')),
      orderStream(world.name('three')),
    ]
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, async (each, ctx) => {
        const { n } = each.data
        await ctx.emit(one, placed('out', n))
        await ctx.emit(two, [placed('out', n * 10), Paid({ order: 'out', n: n * 10 + 1 })])
        await ctx.emit(three, placed('out', n))
        if (ctx.attempt === 1) throw new Error('once')
      }),
    )
    await broker.publish(orders, placedMany(10))
    await idle(world, broker, world.name('worker'))
    await arrived(world, broker, one, 10)
    await arrived(world, broker, two, 20)
    await arrived(world, broker, three, 10)
    assert.deepEqual(await readNs(broker, one), numbers(10))
    assert.deepEqual(
      await readNs(broker, two),
      numbers(10).flatMap((n) => [n * 10, n * 10 + 1]),
    )
    assert.deepEqual(await readNs(broker, three), numbers(10))
  },

  'an-emission-can-be-delayed': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), unkeyedStream(world.name('out'))]
    const calls = new Calls()
    await broker.start(consumer(world.name('sink'), out).on(Placed, calls.handler))
    let doneMs = 0
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, async (each, ctx) => {
        await ctx.emit(out, placed('out', each.data.n), { delay: 150 })
        if (ctx.attempt < 3) throw new Error('twice')
        doneMs = Date.now()
      }),
    )
    await broker.publish(orders, placedMany(5))
    await idle(world, broker, world.name('worker'))
    await calls.reach(world, 5)
    await world.quiet(2)
    assert.deepEqual(calls.sorted, numbers(5), 'the delayed emissions of failed attempts do not come')
    holds((calls.all.at(-1)?.atMs ?? 0) >= doneMs + 140)
  },

  'an-unawaited-emission-counts-too': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), unkeyedStream(world.name('out'))]
    await broker.start(
      consumer(world.name('worker'), orders).on(Placed, (each, ctx) => void ctx.emit(out, placed('out', each.data.n))),
    )
    await broker.publish(orders, placedMany(20))
    await world.eventually(async () => assert.deepEqual(await readNs(broker, out), numbers(20)))
  },

  'an-unawaited-emission-that-is-refused-fails-the-attempt': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, (_, ctx) => {
        void ctx.emit(out, placed('good', 1))
        void ctx.emit(out, Placed({ order: 'a', n: -1 }))
      }),
    )
    await broker.publish(orders, placed('a', 0))
    await world.eventually(async () =>
      assert.equal((await describeConsumer(broker, world.name('worker'))).deadLetters, 1),
    )
    const [dead] = await broker.deadLetters(world.name('worker')).list()
    assert.equal(dead?.failure.code, 'SCHEMA_MISMATCH')
    assert.deepEqual(await readNs(broker, out), [], 'nor does what was valid take effect')
  },

  'a-handler-that-has-finished-cannot-emit': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), unkeyedStream(world.name('out'))]
    const contexts: HandlerContext[] = []
    await broker.declare(out)
    await broker.start(consumer(world.name('worker'), orders).on(Placed, (_, ctx) => void contexts.push(ctx)))
    await broker.publish(orders, placed('a', 0))
    await world.eventually(() => contexts.length === 1)
    await idle(world, broker, world.name('worker'))
    await refused(() => contexts[0]?.emit(out, placed('late', 0)), 'CLOSED')
    assert.deepEqual(await readNs(broker, out), [])
  },

  'an-invalid-emission-is-refused-to-the-handler': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
    const errors: unknown[] = []
    await broker.start(
      consumer(world.name('worker'), orders).on(Placed, async (_, ctx) => {
        errors.push(await refused(() => ctx.emit(out, Placed({ order: 'a', n: -1 })), 'SCHEMA_MISMATCH'))
        errors.push(await refused(() => ctx.emit(out, Note('x') as never), 'TYPE_NOT_CARRIED', 'note'))
        errors.push(
          await refused(() => ctx.emit(world.name('nowhere'), Note('x')), 'UNKNOWN_CHANNEL', world.name('nowhere')),
        )
        await ctx.emit(out, placed('good', 1))
      }),
    )
    await broker.publish(orders, placed('a', 0))
    await idle(world, broker, world.name('worker'))
    assert.equal(errors.length, 3)
    await world.eventually(async () =>
      assert.deepEqual(await readNs(broker, out), [1], 'the handler continued, with what was valid'),
    )
  },

  'a-chain-of-consumers-loses-and-doubles-nothing': async (world) => {
    const broker = await world.connect()
    const stages = numbers(4).map((at) => orderStream(world.name(`stage-${at}`)))
    const random = randomFrom(12)
    for (const at of [0, 1, 2]) {
      await broker.start(
        consumer(world.name(`step-${at}`), stages[at] as (typeof stages)[0], {
          retry: { attempts: 1000, min: 1, max: 4 },
        }).on(Placed, async (each, ctx) => {
          if (random.chance(0.2)) throw new Error('before emitting')
          await ctx.emit(stages[at + 1] as (typeof stages)[0], placed(each.data.order, each.data.n))
          if (random.chance(0.2)) throw new Error('after emitting')
        }),
      )
    }
    for (let batch = 0; batch < 5; batch++)
      await broker.publish(stages[0] as (typeof stages)[0], placedMany(100, 10, batch * 100))
    await world.eventually(async () => holds((await readNs(broker, stages[3] as (typeof stages)[0])).length >= 500))
    await world.quiet()
    const events = await readAll(broker, stages[3] as (typeof stages)[0])
    const ns = (key?: number): number[] =>
      events
        .map((each) => each.data as Order)
        .filter((data) => key === undefined || data.order === `k${key}`)
        .map((data) => data.n)
    assert.deepEqual(
      ns().sort((a, b) => a - b),
      numbers(500),
    )
    for (const key of numbers(10))
      assert.deepEqual(
        ns(key),
        numbers(500).filter((n) => n % 10 === key),
        'the order of a key is kept through the chain',
      )
  },

  'a-random-history-of-emissions-has-no-anomaly': async (world) => {
    await new RandomHistory(world, await world.connect(), {
      seed: 12,
      producers: 2,
      eventsEach: 100,
      keys: 20,
      failing: 0.35,
      changes: 4,
      reopenings: 0,
    }).check()
  },

  'emitting-to-ones-own-channel-works': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).on(Placed, async (each, ctx) => {
        if (each.data.n < 30) await ctx.emit(orders, placed('a', each.data.n + 1))
        if (ctx.attempt === 1 && each.data.n % 5 === 0) throw new Error('once')
        calls.add(each, ctx)
      }),
    )
    await broker.publish(orders, placed('a', 0))
    await calls.reach(world, 31)
    await world.quiet()
    assert.deepEqual(calls.ns, numbers(31))
  },
})

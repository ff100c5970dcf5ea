/**
 * Clause 12, emissions of attempts that were interrupted: by a stop, a time limit, a lost lease, or the death of the
 * process.
 */
import assert from 'node:assert/strict'
import { stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import {
  arrived,
  Calls,
  gate,
  HASTY,
  hang,
  holds,
  idle,
  numbers,
  type Order,
  orderStream,
  Placed,
  placed,
  placedMany,
  QUICK,
  readAll,
  readNs,
  unkeyedStream,
} from '../fixtures.ts'
import { encoded, Port } from '../port.ts'
import { randomFrom } from '../random.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep } from '../world.ts'

export const emissionsAndFailures: readonly Scenario[] = clause(12, {
  'what-is-released-at-stop-emits-nothing': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [unkeyedStream(world.name('orders')), unkeyedStream(world.name('out'))]
    const calls = new Calls()
    const late = gate()
    const hung = await broker.start(
      consumer(world.name('worker'), orders, HASTY).on(Placed, async (each, ctx) => {
        await ctx.emit(out, placed('first', each.data.n))
        calls.add(each, ctx)
        await late.opened
      }),
    )
    await broker.publish(orders, placedMany(5))
    await calls.reach(world, 5)
    await hung.stop()
    late.open()
    await broker.start(
      consumer(world.name('worker'), orders).on(Placed, async (each, ctx) =>
        ctx.emit(out, placed('second', each.data.n)),
      ),
    )
    await idle(world, broker, world.name('worker'))
    await arrived(world, broker, out, 5)
    const events = await readAll(broker, out)
    assert.deepEqual(
      events.map((each) => (each.data as Order).order),
      numbers(5).map(() => 'second'),
    )
  },

  'what-timed-out-emits-nothing': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), unkeyedStream(world.name('out'))]
    const errors: unknown[] = []
    await broker.declare(out)
    await broker.start(
      consumer(world.name('worker'), orders, { timeout: 100, retry: QUICK }).on(Placed, async (each, ctx) => {
        await ctx.emit(out, placed(`attempt-${ctx.attempt}`, each.data.n))
        if (ctx.attempt > 1) return
        await hang(ctx.signal).catch(() => undefined)
        await ctx.emit(out, placed('late', each.data.n)).catch((error: unknown) => errors.push(error))
      }),
    )
    await broker.publish(orders, placed('a', 0))
    await idle(world, broker, world.name('worker'))
    await arrived(world, broker, out, 1)
    assert.deepEqual(
      (await readAll(broker, out)).map((each) => (each.data as Order).order),
      ['attempt-2'],
    )
    assert.equal(errors.length, 1, 'emitting after the time limit is refused')
  },

  'a-handler-batch-emits-for-what-is-done': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [unkeyedStream(world.name('orders')), unkeyedStream(world.name('out'))]
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).onBatch(
        Placed,
        { size: 10 },
        async (events, contexts) => {
          await Promise.all(
            contexts.map((ctx, at) => ctx.emit(out, placed(`attempt-${ctx.attempt}`, events[at]?.data.n ?? -1))),
          )
          return contexts.map((ctx, at) =>
            ctx.attempt === 1 && (events[at]?.data.n ?? 0) % 2 === 0 ? new Error('even ones twice') : 'done',
          )
        },
      ),
    )
    await broker.publish(orders, placedMany(40))
    await idle(world, broker, world.name('worker'))
    await arrived(world, broker, out, 40)
    const emitted = (await readAll(broker, out)).map((each) => each.data as Order)
    assert.deepEqual(
      emitted.map((data) => data.n).sort((a, b) => a - b),
      numbers(40),
    )
    for (const { n, order } of emitted) assert.equal(order, n % 2 === 0 ? 'attempt-2' : 'attempt-1')
  },

  'an-emitted-id-that-is-known-is-stored-once': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), unkeyedStream(world.name('out'))]
    await broker.start(
      consumer(world.name('worker'), orders).on(Placed, async (each, ctx) =>
        ctx.emit(out, placed('out', each.data.n, { id: 'same' })),
      ),
    )
    await broker.publish(orders, placedMany(5))
    await idle(world, broker, world.name('worker'))
    await arrived(world, broker, out, 1)
    assert.deepEqual(await readNs(broker, out), [0])
  },

  'a-late-completion-emits-nothing': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, stream(world.name('orders')))
      const out = stream(world.name('out'))
      await port.engine.declare(out.spec)
      const hung = await port.subscribe({ leaseMs: 150, credit: 5, renews: true })
      const offsets = await port.publish(5)
      await world.eventually(() => assert.equal(hung.given.length, 5))
      hung.hang()
      await world.eventually(() => assert.equal(hung.held.length, 0))
      const emission = (n: number, dueAtMs: number | null = null) => [
        { channel: out.name, event: encoded('out', null, n), dueAtMs },
      ]
      for (const delivery of hung.given) assert.equal(hung.subscription.complete(delivery, emission(1000)), false)
      for (const delivery of hung.given)
        assert.equal(hung.subscription.complete(delivery, emission(2000, port.engine.clock.now() + 10)), false)
      const live = await port.subscribe({
        leaseMs: 150,
        credit: 5,
        renews: true,
        completes: ({ offset }) => emission(offset),
      })
      await world.eventually(() => assert.equal(live.given.length, 5))
      await live.subscription.flushed()
      await world.quiet()
      assert.deepEqual(
        (await port.read(out.name)).map((each) => each.data.n).sort((x, y) => x - y),
        offsets,
      )
    },
  ],

  'emissions-and-completions-survive-reopen-together': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const [orders, out] = [unkeyedStream(world.name('orders')), unkeyedStream(world.name('out'))]
      await broker.publish(orders, placedMany(200))
      for (let round = 0; round < 4; round++) {
        let left = 50
        const enough = gate()
        await broker.start(
          consumer(world.name('worker'), orders, { ...HASTY, concurrency: 8 }).on(Placed, async (each, ctx) => {
            await ctx.emit(out, placed('out', each.data.n))
            if (left-- > 0) return
            enough.open()
            await hang(ctx.signal)
          }),
        )
        if (round < 3) await enough.opened
        else await idle(world, broker, world.name('worker'))
        broker = await world.reopen(broker)
      }
      assert.deepEqual(
        (await readNs(broker, out)).sort((a, b) => a - b),
        numbers(200),
      )
    },
  ],

  'a-crash-between-leaves-both-or-neither': [
    ['crash'],
    async (world) => {
      let broker = await world.connect()
      const orders = unkeyedStream(world.name('orders'))
      const outs = [
        unkeyedStream(world.name('out-0')),
        unkeyedStream(world.name('out-1')),
        unkeyedStream(world.name('out-2')),
      ] as const
      const random = randomFrom(1212)
      for (let round = 0; round < 5; round++) {
        // Each round has its own events, because the amount of work that an interrupted round finishes depends on the
        // machine.
        await broker.publish(orders, placedMany(60, 1, 60 * round))
        let handled = 0
        await broker.start(
          consumer(world.name('worker'), orders, { concurrency: 8, ...HASTY, retry: { attempts: 1000, ...QUICK } }).on(
            Placed,
            async (each, ctx) => {
              await ctx.emit(outs[0], placed('out', each.data.n))
              await ctx.emit(outs[1], placed('out', each.data.n))
              await ctx.emit(outs[2], placed('out', each.data.n), { delay: 20 })
              await sleep(random.below(4))
              handled++
            },
          ),
        )
        await world.eventually(() => handled >= 30)
        broker = await world.crash()
      }
      await broker.start(
        consumer(world.name('worker'), orders, { concurrency: 8, retry: { attempts: 1000, ...QUICK } }).on(
          Placed,
          async (each, ctx) => {
            await ctx.emit(outs[0], placed('out', each.data.n))
            await ctx.emit(outs[1], placed('out', each.data.n))
            await ctx.emit(outs[2], placed('out', each.data.n), { delay: 20 })
          },
        ),
      )
      await idle(world, broker, world.name('worker'))
      for (const out of outs) {
        await world.eventually(async () => holds((await readNs(broker, out)).length >= 300))
        assert.deepEqual(
          (await readNs(broker, out)).sort((a, b) => a - b),
          numbers(300),
          `each event emitted once to ${out.name}`,
        )
      }
    },
  ],
})

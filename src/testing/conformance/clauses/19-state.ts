/**
 * Clause 19, state: a consumer keeps state for each key. It is given to the handler, and stored in the same commit as
 * the completion and its emissions.
 */
import assert from 'node:assert/strict'
import type { Channel } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import type { StateContext } from '../../../consumer/consumer-types.ts'
import {
  Calls,
  gate,
  HASTY,
  hang,
  holds,
  idle,
  numbers,
  orderQueue,
  orderStream,
  type Paid,
  Placed,
  placed,
  placedMany,
  QUICK,
  readNs,
} from '../fixtures.ts'
import { randomFrom } from '../random.ts'
import { clause, type Scenario } from '../scenario.ts'
import {
  byKey,
  kept,
  type Recording,
  recording,
  type Seen,
  seen,
  seenSchema,
  settledTable,
  table,
} from '../state-fixtures.ts'

export const state: readonly Scenario[] = clause(19, {
  'each-event-gets-the-state-that-the-one-before-left': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const given: (readonly number[])[] = []
    const of = recording(world.name('worker'), orders, (n, ctx) => {
      if (ctx.key === 'k1') given.push(ctx.state.ns.slice(0, -1))
      return n % 2 === 0 ? Promise.resolve() : undefined
    })
    await broker.start(of)
    await broker.publish(orders, placedMany(60, 3))
    await settledTable(world, broker, of, 60, 3)
    assert.deepEqual(
      given,
      numbers(20).map((at) => numbers(at).map((n) => 3 * n + 1)),
    )
  },

  'a-key-without-state-gets-the-initial-one': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const got: unknown[] = []
    const by = { schema: seenSchema, initial: (key: string) => ({ ns: [key.length] }) }
    const counting = consumer(world.name('counting'), orders, { state: by }).on(Placed, (_, ctx) => {
      got.push(ctx.state)
      ctx.state.ns.concat([1])
    })
    const without = consumer(world.name('without'), orders, { state: { schema: seenSchema } }).on(Placed, (_, ctx) => {
      got.push(ctx.state)
    })
    await broker.start(counting)
    await broker.publish(orders, placed('abc', 0))
    await idle(world, broker, counting.name)
    await broker.start(without)
    await idle(world, broker, without.name)
    assert.deepEqual(got, [{ ns: [3] }, undefined])
    assert.equal(await broker.table(counting).get('abc'), undefined, 'nothing was set')
  },

  'a-failed-attempt-changes-nothing': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const given: unknown[] = []
    const of = recording(
      world.name('worker'),
      orders,
      (n, ctx) => {
        given.push([n, ctx.attempt, ctx.state.ns])
        ;(ctx.state.ns as number[]).push(99)
        if (n === 1 && ctx.attempt < 3) throw new Error('not yet')
        ctx.setState({ ns: ctx.state.ns.filter((each) => each !== 99) })
      },
      { retry: QUICK },
    )
    await broker.start(of)
    await broker.publish(orders, placedMany(3))
    await settledTable(world, broker, of, 3, 1)
    assert.deepEqual(given, [
      [0, 1, [0, 99]],
      [1, 1, [0, 1, 99]],
      [1, 2, [0, 1, 99]],
      [1, 3, [0, 1, 99]],
      [2, 1, [0, 1, 2, 99]],
    ])
  },

  'state-and-emissions-are-stored-with-the-completion': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
    await broker.declare(out)
    const wait = gate()
    const calls = new Calls()
    const of = recording(world.name('worker'), orders, async (n, ctx) => {
      await ctx.emit(out, placed('out', n))
      calls.add({ type: 'order.placed', data: { order: 'k0', n } } as never, ctx)
      await wait.opened
    })
    await broker.start(of)
    await broker.publish(orders, placed('k0', 7))
    await calls.reach(world, 1)
    await world.quiet()
    assert.deepEqual([await kept(broker, of, 'k0'), await readNs(broker, out)], [undefined, []])
    wait.open()
    await world.eventually(async () =>
      assert.deepEqual([await kept(broker, of, 'k0'), await readNs(broker, out)], [[7], [7]]),
    )
  },

  'state-outlives-its-broker': [
    ['reopen'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const of = (): Recording => recording(world.name('worker'), orders)
      await broker.start(of())
      await broker.publish(orders, placedMany(20, 4))
      await idle(world, broker, of().name)
      const again = await world.reopen(broker)
      assert.deepEqual(await table(again, of()), byKey(20, 4))
      await again.start(of())
      await again.publish(orders, placedMany(20, 4, 20))
      await settledTable(world, again, of(), 40, 4)
    },
  ],

  'after-a-crash-each-completion-and-its-state-are-there-or-neither': [
    ['crash'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const out = orderStream(world.name('out'))
      const random = randomFrom(19)
      const of = (): Recording =>
        recording(
          world.name('worker'),
          orders,
          async (n, ctx) => {
            await ctx.emit(out, placed(ctx.key ?? '', n))
            if (random.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, 2))
          },
          { lease: 300, retry: QUICK, concurrency: 8 },
        )
      await broker.declare(out)
      await broker.publish(orders, placedMany(200, 5))
      for (const crashAt of [20, 60, 120]) {
        await broker.start(of())
        await world.eventually(async () => holds((await readNs(broker, out)).length >= crashAt))
        broker = await world.crash()
        // An emission, the state and the completion are one commit: the state has what was emitted, each once.
        const emitted = await readNs(broker, out)
        const states = Object.values(await table(broker, of())).flat()
        assert.deepEqual(
          [...new Set(emitted)].sort((a, b) => a - b),
          [...new Set(states)].sort((a, b) => a - b),
        )
      }
      await broker.start(of())
      await settledTable(world, broker, of(), 200, 5)
    },
  ],

  'a-late-completion-is-refused-with-its-state': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const release = gate()
    const entered = gate()
    let late = 0
    const of = recording(
      world.name('worker'),
      orders,
      async (n, ctx) => {
        if (n !== 0 || ctx.attempt > 1) return
        entered.open()
        // It is rewound while it runs: its result must not count.
        await release.opened
        late++
      },
      { ...HASTY, retry: QUICK },
    )
    await broker.start(of)
    await broker.publish(orders, placedMany(2))
    await entered.opened
    await broker.consumer(of).rewind('end', { state: 'reset' })
    release.open()
    await world.eventually(() => assert.equal(late, 1))
    await broker.publish(orders, placed('k0', 5))
    await world.eventually(async () => assert.deepEqual(await kept(broker, of, 'k0'), [5]))
  },

  'instances-of-one-consumer-see-one-state': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const of = (): Recording =>
      recording(world.name('worker'), orders, () => new Promise((resolve) => setTimeout(resolve, 1)), {
        concurrency: 3,
      })
    const [first] = await Promise.all([broker.start(of()), broker.start(of())])
    await broker.publish(orders, placedMany(90, 6))
    await world.eventually(async () => holds(Object.values(await table(broker, of())).flat().length > 20))
    await first.stop()
    await settledTable(world, broker, of(), 90, 6)
  },

  'a-consumer-of-several-channels-has-one-state-for-a-key': async (world) => {
    const broker = await world.connect()
    const channels = [orderStream(world.name('a')), orderStream(world.name('b'))] as const
    const of = consumer(world.name('worker'), channels, { state: seen }).on(Placed, ({ data: { n } }, ctx) => {
      ctx.setState({ ns: [...ctx.state.ns, n] })
    }) as unknown as Recording
    await broker.start(of)
    for (const n of numbers(40))
      await broker.publish(channels[n % 2] as Channel<'stream', Placed | Paid>, placed('k', n))
    await idle(world, broker, of.name)
    await world.eventually(async () =>
      assert.deepEqual(
        [...((await kept(broker, of, 'k')) ?? [])].sort((a, b) => a - b),
        numbers(40),
      ),
    )
  },

  'a-queue-worker-keeps-state': async (world) => {
    const broker = await world.connect()
    const orders = orderQueue(world.name('orders'))
    const of = recording(world.name('worker'), orders)
    await broker.start(of)
    await broker.publish(orders, placedMany(30, 3))
    await settledTable(world, broker, of, 30, 3)
  },

  'a-batch-sees-and-sets-state-in-order': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    let failing = true
    const of = consumer(world.name('worker'), orders, { state: seen, retry: QUICK }).onBatch(
      Placed,
      { size: 10, wait: 20 },
      (events, contexts) =>
        events.map(({ data: { n } }, at) => {
          const ctx = contexts[at] as StateContext<Seen>
          ctx.setState({ ns: [...ctx.state.ns, n] })
          if (n === 5 && failing) {
            failing = false
            return new Error('not yet')
          }
          return undefined
        }),
    ) as unknown as Recording
    await broker.start(of)
    await broker.publish(orders, placedMany(40, 2))
    await settledTable(world, broker, of, 40, 2)
  },

  'a-handler-that-is-stopped-keeps-the-state-before-it': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = gate()
    const hanging = recording(
      name,
      orders,
      (n, ctx) => {
        if (n !== 1) return undefined
        calls.open()
        return hang(ctx.signal)
      },
      HASTY,
    )
    const running = await broker.start(hanging)
    await broker.publish(orders, placedMany(3))
    await calls.opened
    await running.stop()
    assert.deepEqual(await kept(broker, hanging, 'k0'), [0])
    await broker.start(recording(name, orders))
    await settledTable(world, broker, hanging, 3, 1)
  },
})

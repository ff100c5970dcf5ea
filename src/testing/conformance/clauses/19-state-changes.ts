/** Clause 19, what people do to a consumer with state: redrive, rewind, remove, a new version of the state. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import { holds, idle, orderStream, Placed, placed, placedMany, refused, unkeyedStream } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { byKey, kept, type Recording, recording, seen, seenSchema, settledTable, table } from '../state-fixtures.ts'

export const stateChanges: readonly Scenario[] = clause(19, {
  'a-redriven-letter-is-handled-with-the-present-state': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    let rejecting = true
    const of = recording(
      world.name('worker'),
      orders,
      (n, ctx) => {
        if (n === 1 && rejecting) ctx.reject('later')
      },
      { onDead: 'skip' },
    )
    await broker.start(of)
    await broker.publish(orders, placedMany(4))
    await idle(world, broker, of.name)
    await world.eventually(async () => assert.deepEqual(await kept(broker, of, 'k0'), [0, 2, 3]))
    rejecting = false
    await broker.deadLetters(of).redrive()
    await world.eventually(async () => assert.deepEqual(await kept(broker, of, 'k0'), [0, 2, 3, 1]))
  },

  'events-behind-a-letter-see-its-state-after-the-redrive': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    let rejecting = true
    const of = recording(world.name('worker'), orders, (n, ctx) => {
      if (n === 1 && rejecting) ctx.reject('later')
    })
    await broker.start(of)
    await broker.publish(orders, placedMany(4))
    await world.eventually(async () => assert.equal((await broker.deadLetters(of).list()).length, 1))
    assert.deepEqual(await kept(broker, of, 'k0'), [0])
    rejecting = false
    await broker.deadLetters(of).redrive()
    await settledTable(world, broker, of, 4, 1)
  },

  'state-can-be-deleted': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const of = recording(world.name('worker'), orders, (n, ctx) => {
      if (n === 2) ctx.deleteState()
    })
    await broker.start(of)
    await broker.publish(orders, placedMany(3))
    await idle(world, broker, of.name)
    await world.eventually(async () => assert.equal(await kept(broker, of, 'k0'), undefined))
    assert.deepEqual(await table(broker, of), {})
    await broker.publish(orders, placed('k0', 3))
    await world.eventually(async () => assert.deepEqual(await kept(broker, of, 'k0'), [3]))
  },

  'a-rewind-says-what-happens-with-the-state': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const of = recording(world.name('worker'), orders)
    await broker.start(of)
    await broker.publish(orders, placedMany(6, 2))
    await settledTable(world, broker, of, 6, 2)
    await refused(() => broker.consumer(of).rewind('beginning'), 'INVALID_OPTION', 'keeps state')
    await broker.consumer(of).rewind('beginning', { state: 'reset' })
    await world.eventually(async () => assert.deepEqual(await table(broker, of), byKey(6, 2)))
    await broker.consumer(of).rewind('beginning', { state: 'keep' })
    await world.eventually(async () =>
      assert.deepEqual(await table(broker, of), { k0: [0, 2, 4, 0, 2, 4], k1: [1, 3, 5, 1, 3, 5] }),
    )
  },

  'a-removed-consumer-leaves-no-state': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const of = (): Recording => recording(world.name('worker'), orders)
    const running = await broker.start(of())
    await broker.publish(orders, placedMany(6, 2))
    await settledTable(world, broker, of(), 6, 2)
    await running.stop()
    await broker.consumer(of()).remove()
    assert.deepEqual(await table(broker, of()), {})
    await broker.start(of())
    await settledTable(world, broker, of(), 6, 2)
  },

  'state-of-an-earlier-version-is-migrated': [
    ['reopen'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const first = consumer(world.name('worker'), orders, { state: { schema: seenSchema } }).on(Placed, (each, ctx) =>
        ctx.setState({ ns: [each.data.n] }),
      )
      await broker.start(first)
      await broker.publish(orders, placedMany(2, 2))
      await idle(world, broker, first.name)
      const again = await world.reopen(broker)
      const third = consumer(world.name('worker'), orders, {
        state: {
          schema: seenSchema,
          initial: { ns: [] },
          version: 3,
          migrate: {
            1: ({ ns }) => ({ list: ns }),
            2: ({ list }) => ({ ns: [...(list as number[]), 100] }),
          },
        },
      }).on(Placed, ({ data: { n } }, ctx) => ctx.setState({ ns: [...ctx.state.ns, n] })) as unknown as Recording
      assert.deepEqual(await kept(again, third, 'k1'), [1, 100], 'a table migrates too')
      await again.start(third)
      await again.publish(orders, placed('k0', 2))
      await idle(world, again, third.name)
      await world.eventually(async () => assert.deepEqual(await table(again, third), { k0: [0, 100, 2], k1: [1, 100] }))
    },
  ],

  'an-event-waits-while-the-state-is-in-an-unknown-version': [
    ['reopen'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const at = (version: number): Recording =>
        consumer(world.name('worker'), orders, {
          state: { ...seen, version, ...(version === 2 && { migrate: { 1: (each) => each } }) },
        }).on(Placed, ({ data: { n } }, ctx) => ctx.setState({ ns: [...ctx.state.ns, n] })) as unknown as Recording
      await broker.start(at(2))
      await broker.publish(orders, placed('new', 0))
      await idle(world, broker, at(2).name)
      const again = await world.reopen(broker)
      const old = await again.start(at(1))
      await again.publish(orders, [placed('new', 1), placed('other', 2)])
      await world.eventually(async () => assert.deepEqual(await kept(again, at(2), 'other'), [2]))
      await world.eventually(async () => holds((await again.alarms()).some(({ code }) => code === 'UNKNOWN_VERSION')))
      assert.deepEqual([await kept(again, at(2), 'new'), await again.deadLetters(at(1)).list()], [[0], []])
      await again.start(at(2))
      await old.stop()
      await world.eventually(async () => assert.deepEqual(await kept(again, at(2), 'new'), [0, 1]))
    },
  ],

  'a-state-that-its-schema-refuses-fails-the-attempt': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const small = consumer(world.name('small'), orders, {
      state: { ...seen, maxBytes: 1024 },
      retry: { attempts: 1 },
    }).on(Placed, (each, ctx) => {
      if (each.data.n === 1) ctx.setState({ ns: 'wrong' as never })
      if (each.data.n === 2) ctx.setState({ ns: ['x'.repeat(3000) as never] })
      if (each.data.n === 3) ctx.setState(undefined as never)
      ctx.setState({ ns: [...ctx.state.ns, each.data.n] })
    }) as unknown as Recording
    await broker.start(small)
    await broker.publish(orders, placedMany(5, 5))
    await idle(world, broker, small.name)
    await world.eventually(async () => {
      const letters = await broker.deadLetters(small).list()
      assert.deepEqual(letters.map(({ failure }) => failure.code).sort(), [
        'EVENT_TOO_LARGE',
        'INVALID_OPTION',
        'SCHEMA_MISMATCH',
      ])
    })
    assert.deepEqual(await table(broker, small), { k0: [0], k4: [4] })
  },

  'an-event-without-a-key-is-a-dead-letter': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const of = recording(world.name('worker'), orders)
    await broker.start(of)
    await broker.publish(orders, placed('k0', 0))
    await world.eventually(async () => {
      const [letter] = await broker.deadLetters(of).list()
      holds(letter?.failure.message.includes('has no key') === true, `it is not reported: ${letter?.failure.message}`)
    })
  },
})

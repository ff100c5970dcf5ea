/**
 * Clause 8, deduplication: an id published twice within the channel's window is stored once, and the receipt says so.
 */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  gate,
  numbers,
  offsetOf,
  orderStream,
  Placed,
  placed,
  placedMany,
  readAll,
  readNs,
  refused,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const deduplication: readonly Scenario[] = clause(8, {
  'an-id-published-twice-is-stored-once-and-says-so': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const first = await broker.publish(orders, placed('a', 0, { id: 'same' }))
    const second = await broker.publish(orders, placed('a', 1, { id: 'same' }))
    assert.equal(first.duplicate, false)
    assert.deepEqual(second, { ...first, duplicate: true }, 'the receipt names where the first one is')
    assert.deepEqual(await readNs(broker, orders), [0], 'the first stays')
  },

  'duplicates-within-a-batch': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0, { id: 'id-0' }))
    const receipts = await broker.publish(
      orders,
      [0, 1, 1, 2, 2, 2].map((id, at) => placed('a', 10 + at, { id: `id-${id}` })),
    )
    assert.deepEqual(
      receipts.map((receipt) => receipt.duplicate),
      [true, false, true, false, true, true],
    )
    assert.deepEqual(
      receipts.map((receipt) => offsetOf(receipt) - (receipts[0]?.offset ?? 0)),
      [0, 1, 1, 2, 2, 2],
    )
    assert.deepEqual(await readNs(broker, orders), [0, 11, 13])
  },

  'duplicates-in-flight-at-once': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const receipts = await Promise.all(
      numbers(200).map((at) => broker.publish(orders, placed('a', at, { id: `id-${at % 10}` }))),
    )
    assert.equal(receipts.filter((receipt) => !receipt.duplicate).length, 10)
    assert.deepEqual(await readNs(broker, orders), numbers(10))
    for (const [at, receipt] of receipts.entries()) assert.equal(receipt.offset, receipts[at % 10]?.offset)
  },

  'batches-in-flight-at-once': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const batch = () => numbers(20).map((at) => placed('a', at, { id: `id-${at}` }))
    const receipts = await Promise.all(numbers(5).map(() => broker.publish(orders, batch())))
    assert.equal(receipts.flat().filter((receipt) => !receipt.duplicate).length, 20)
    assert.deepEqual(await readNs(broker, orders), numbers(20))
  },

  'a-batch-and-a-single-publish-in-flight-at-once': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(
      orders,
      numbers(20).map((n) => placed('a', n, { id: `known-${n}` })),
    )
    for (const n of numbers(20)) {
      const fresh = placed('a', 100 + n, { id: `new-${n}` })
      const known = placed('a', n, { id: `known-${n}` })
      const [batch, single] = await Promise.all([
        broker.publish(orders, n % 2 === 0 ? [fresh, known] : [known, fresh]),
        broker.publish(orders, fresh),
      ])
      const both = [single, ...batch.filter(({ id }) => id === fresh.id)]
      assert.equal(both.filter(({ duplicate }) => !duplicate).length, 1, `id new-${n} is stored by one of the two`)
      assert.equal(both[0]?.offset, both[1]?.offset, 'both name the event that is stored')
    }
    assert.deepEqual(await readNs(broker, orders), [...numbers(20), ...numbers(120, 100)])
  },

  'delayed-and-undelayed-in-flight-at-once': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.declare(orders)
    const receipts = await Promise.all(
      numbers(20).flatMap((n) => {
        const now = broker.publish(orders, placed('a', n, { id: `id-${n}` }))
        return [now, broker.publish(orders, placed('a', n, { id: `id-${n}` }), { delay: 30 })]
      }),
    )
    const later = await Promise.all(
      numbers(40, 20).flatMap((n) => {
        const waits = broker.publish(orders, placed('a', n, { id: `id-${n}` }), { delay: 30 })
        return [waits, broker.publish(orders, placed('a', n, { id: `id-${n}` }))]
      }),
    )
    assert.equal([...receipts, ...later].filter(({ duplicate }) => !duplicate).length, 40)
    await world.eventually(async () => assert.equal((await readNs(broker, orders)).length, 40))
    await world.quiet()
    assert.deepEqual(
      (await readNs(broker, orders)).sort((a, b) => a - b),
      numbers(40),
    )
  },

  'a-duplicate-is-acknowledged-only-when-the-first-is-durable': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const order: string[] = []
    await Promise.all([
      broker.publish(orders, placed('a', 0, { id: 'same' })).then(() => order.push('first')),
      broker.publish(orders, placed('a', 1, { id: 'same' })).then(() => order.push('duplicate')),
    ])
    assert.deepEqual(order, ['first', 'duplicate'])
  },

  'channels-do-not-share-their-windows': async (world) => {
    const broker = await world.connect()
    const [one, two] = [orderStream(world.name('one')), orderStream(world.name('two'))]
    for (const channel of [one, two])
      assert.equal((await broker.publish(channel, placed('a', 0, { id: 'same' }))).duplicate, false)
  },

  'it-can-be-turned-off': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'), { dedupe: false })
    for (const n of [0, 1])
      assert.equal((await broker.publish(orders, placed('a', n, { id: 'same' }))).duplicate, false)
    assert.deepEqual(await readNs(broker, orders), [0, 1])
  },

  'the-window-holds-as-many-ids-as-it-says': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'), { dedupe: { count: 100 } })
    await broker.publish(
      orders,
      numbers(100).map((n) => placed('a', n, { id: `id-${n}` })),
    )
    for (const n of [0, 50, 99])
      assert.equal(
        (await broker.publish(orders, placed('a', n, { id: `id-${n}` }))).duplicate,
        true,
        `id ${n} is within the window`,
      )
    await broker.publish(
      orders,
      numbers(400, 100).map((n) => placed('a', n, { id: `id-${n}` })),
    )
    assert.equal((await broker.publish(orders, placed('a', 0, { id: 'id-0' }))).duplicate, false, 'the window ends')
  },

  'the-window-ends-with-its-age': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'), { dedupe: { age: 100 } })
    await broker.publish(orders, placed('a', 0, { id: 'same' }))
    await world.eventually(
      async () => (await broker.publish(orders, placed('a', 1, { id: 'same' }))).duplicate === false,
    )
    assert.deepEqual(await readNs(broker, orders), [0, 1])
  },

  'a-refused-event-does-not-use-up-its-id': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await refused(() => broker.publish(orders, Placed({ order: 'a', n: -1 }, { id: 'same' })), 'SCHEMA_MISMATCH')
    assert.equal((await broker.publish(orders, placed('a', 0, { id: 'same' }))).duplicate, false)
  },

  'an-id-waiting-for-its-time-is-known': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0, { id: 'same' }), { delay: 100 })
    assert.equal((await broker.publish(orders, placed('a', 1, { id: 'same' }), { delay: 100 })).duplicate, true)
    assert.equal((await broker.publish(orders, placed('a', 2, { id: 'same' }))).duplicate, true)
    await world.eventually(async () => assert.deepEqual(await readNs(broker, orders), [0]))
    assert.equal((await broker.publish(orders, placed('a', 3, { id: 'same' }))).duplicate, true)
    await world.quiet()
    assert.deepEqual(await readNs(broker, orders), [0])
  },

  'a-published-id-is-known-to-delays': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0, { id: 'same' }))
    assert.equal((await broker.publish(orders, placed('a', 1, { id: 'same' }), { delay: 20 })).duplicate, true)
    await world.quiet()
    assert.deepEqual(await readNs(broker, orders), [0])
  },

  'a-duplicate-of-a-waiting-event-says-when-that-one-is-due': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const first = await broker.publish(orders, placed('a', 0, { id: 'same' }), { delay: '24h' })
    assert.equal(first.offset, null)
    const known = { ...first, duplicate: true }
    assert.deepEqual(await broker.publish(orders, placed('a', 1, { id: 'same' }), { delay: '1h' }), known, 'delayed')
    assert.deepEqual(await broker.publish(orders, placed('a', 2, { id: 'same' })), known, 'not delayed')
    const batch = await broker.publish(orders, [placed('a', 3, { id: 'other' }), placed('a', 4, { id: 'same' })])
    assert.deepEqual(batch[1], known, 'in a batch')
    const delayed = await broker.publish(
      orders,
      [placed('a', 5, { id: 'third' }), placed('a', 6, { id: 'same' }), placed('a', 7, { id: 'third' })],
      {
        delay: '30d',
      },
    )
    assert.deepEqual(delayed[1], known, 'in a delayed batch')
    assert.deepEqual(delayed[2], { ...delayed[0], duplicate: true }, 'twice in a delayed batch')
  },

  'a-delayed-duplicate-of-a-stored-event-says-where-that-one-is': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const first = await broker.publish(orders, placed('a', 0, { id: 'same' }))
    assert.deepEqual(await broker.publish(orders, placed('a', 1, { id: 'same' }), { delay: '1h' }), {
      ...first,
      duplicate: true,
    })
    const batch = await broker.publish(orders, [placed('a', 2, { id: 'other' }), placed('a', 3, { id: 'same' })], {
      delay: '1h',
    })
    assert.deepEqual(batch[1], { ...first, duplicate: true })
    assert.equal(batch[0]?.duplicate, false)
  },

  'a-duplicate-of-a-delayed-event-that-is-stored-says-where-it-is': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0, { id: 'same' }), { delay: 20 })
    await world.eventually(async () => assert.equal((await readAll(broker, orders)).length, 1))
    const [stored] = await readAll(broker, orders)
    const known = { channel: orders.name, id: 'same', offset: stored?.offset, duplicate: true }
    assert.deepEqual(await broker.publish(orders, placed('a', 1, { id: 'same' })), known)
    assert.deepEqual(await broker.publish(orders, placed('a', 2, { id: 'same' }), { delay: '1h' }), known)
  },

  'delayed-duplicates-within-a-batch': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const receipts = await broker.publish(
      orders,
      [0, 1, 0].map((id, at) => placed('a', at, { id: `id-${id}` })),
      { delay: 30 },
    )
    assert.deepEqual(
      receipts.map((receipt) => receipt.duplicate),
      [false, false, true],
    )
    await world.eventually(async () => assert.equal((await readNs(broker, orders)).length, 2))
    await world.quiet()
    assert.deepEqual(await readNs(broker, orders), [0, 1])
  },

  'a-duplicate-reaches-no-handler': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    const wait = gate()
    await broker.start(
      consumer(world.name('worker'), orders).on(Placed, async (each, ctx) => {
        await wait.opened
        calls.add(each, ctx)
      }),
    )
    for (let round = 0; round < 3; round++)
      await Promise.all(numbers(20).map((n) => broker.publish(orders, placed('a', n, { id: `id-${n}` }))))
    wait.open()
    await calls.reach(world, 20)
    await world.quiet()
    assert.deepEqual(calls.sorted, numbers(20))
  },

  'ids-of-every-shape-are-told-apart': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const ids = ['a', 'A', 'a ', 'ä', 'a/b', 'a:b', '1', '01', '1.0', 'x'.repeat(1000), `${'x'.repeat(999)}y`, '🦊']
    for (const [n, id] of ids.entries())
      assert.equal((await broker.publish(orders, placed('a', n, { id }))).duplicate, false, id)
    for (const [n, id] of ids.entries())
      assert.equal((await broker.publish(orders, placed('a', n, { id }))).duplicate, true, id)
    const waiting = ids.map((id) => `waiting-${id}`)
    for (const [n, id] of waiting.entries())
      assert.equal((await broker.publish(orders, placed('a', n, { id }), { delay: '1h' })).duplicate, false, id)
    for (const [n, id] of waiting.entries())
      assert.equal((await broker.publish(orders, placed('a', n, { id }))).duplicate, true, id)
  },

  'it-holds-across-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const first = await broker.publish(
        orders,
        numbers(50).map((n) => placed('a', n, { id: `id-${n}` })),
      )
      const later = await broker.publish(orders, placed('a', 50, { id: 'later' }), { delay: '1h' })
      broker = await world.reopen(broker)
      const again = await broker.publish(
        orders,
        numbers(50).map((n) => placed('a', n, { id: `id-${n}` })),
      )
      assert.deepEqual(
        again,
        first.map((receipt) => ({ ...receipt, duplicate: true })),
      )
      assert.deepEqual(await broker.publish(orders, placed('a', 51, { id: 'later' })), { ...later, duplicate: true })
      await broker.publish(orders, placedMany(1, 1, 60))
      assert.deepEqual(await readNs(broker, orders), [...numbers(50), 60])
    },
  ],
})

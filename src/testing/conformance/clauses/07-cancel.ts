/**
 * Clause 7, cancelling: until an event is due, it can be listed and cancelled by its id. It is either stored or
 * cancelled, never both.
 */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  holds,
  numbers,
  orderQueue,
  orderStream,
  Placed,
  placed,
  placedMany,
  readNs,
  refused,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const cancel: readonly Scenario[] = clause(7, {
  'delayed-events-are-listed-the-soonest-first': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const others = orderStream(world.name('others'))
    const at = Date.now() + 3_600_000
    await Promise.all(
      [3, 0, 4, 1, 2].map((n) =>
        broker.publish(orders, placed(`k${n % 2}`, n, { id: `e${n}` }), { at: new Date(at + n) }),
      ),
    )
    await broker.publish(others, placed('k0', 0), { at: new Date(at) })
    await broker.publish(orders, placed('k0', 9, { id: 'now' }))
    const delayed = broker.channel(orders).delayed
    const all = await delayed.list()
    assert.deepEqual(
      all.map(({ channel, id, type, key, dueAtMs }) => [channel, id, type, key, dueAtMs - at]),
      numbers(5).map((n) => [orders.name, `e${n}`, 'order.placed', `k${n % 2}`, n]),
    )
    assert.deepEqual(
      (await delayed.list({ key: 'k1' })).map(({ id }) => id),
      ['e1', 'e3'],
    )
    assert.deepEqual(
      (await delayed.list({ id: 'e4' })).map(({ id }) => id),
      ['e4'],
    )
    const page = await delayed.list({ limit: 2 })
    assert.deepEqual(
      page.map(({ id }) => id),
      ['e0', 'e1'],
    )
    assert.deepEqual(
      (await delayed.list({ limit: 2, after: page[1] as (typeof page)[1] })).map(({ id }) => id),
      ['e2', 'e3'],
    )
    assert.deepEqual(await delayed.list({ after: all[4] as (typeof all)[4] }), [])
    await refused(() => delayed.list({ limit: 0 }), 'INVALID_OPTION', 'limit')
    await refused(() => broker.channel(world.name('none')).delayed.list(), 'UNKNOWN_CHANNEL')
  },

  'a-cancelled-event-is-never-stored': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const at = Date.now() + 2000
    await Promise.all(
      numbers(6).map((n) => broker.publish(orders, placed('a', n, { id: `e${n}` }), { at: new Date(at) })),
    )
    const delayed = broker.channel(orders).delayed
    assert.equal(await delayed.cancel('e1'), true)
    assert.equal(await delayed.cancel('e4'), true)
    assert.equal(await delayed.cancel('e1'), false, 'it was cancelled before')
    assert.equal(await delayed.cancel('unknown'), false)
    await world.eventually(async () => assert.equal((await readNs(broker, orders)).length, 4))
    await world.quiet()
    assert.deepEqual(await readNs(broker, orders), [0, 2, 3, 5])
    assert.equal(await delayed.cancel('e0'), false, 'it is stored')
    assert.deepEqual(await delayed.list(), [])
    assert.equal((await broker.describe()).channels.find(({ name }) => name === orders.name)?.scheduled, 0)
  },

  'the-delayed-events-of-a-key-are-cancelled-together': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const at = new Date(Date.now() + 3_600_000)
    await broker.publish(orders, placedMany(30, 3), { at })
    const { delayed } = broker.channel(orders)
    assert.equal(await delayed.cancelKey('k1'), 10)
    assert.equal(await delayed.cancelKey('k1'), 0)
    assert.deepEqual(
      (await delayed.list()).map(({ key }) => key).sort(),
      numbers(20).map((n) => (n < 10 ? 'k0' : 'k2')),
    )
    await refused(() => delayed.cancelKey(7 as never), 'INVALID_OPTION', 'key')
  },

  'an-event-is-stored-or-cancelled-and-never-both': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const count = 60
    const from = Date.now() + 300
    await Promise.all(
      numbers(count).map((n) =>
        broker.publish(orders, placed('a', n, { id: `e${n}` }), { at: new Date(from + n * 5) }),
      ),
    )
    const delayed = broker.channel(orders).delayed
    // Two callers cancel each event at about the time when it is due.
    const answers = await Promise.all(
      numbers(count).map(async (n) => {
        await new Promise((resolve) => setTimeout(resolve, from + n * 5 - Date.now() + ((n % 5) - 2) * 2))
        return Promise.all([delayed.cancel(`e${n}`), delayed.cancel(`e${n}`)])
      }),
    )
    const kept = numbers(count).filter((n) => answers[n]?.every((answer) => !answer))
    for (const [n, both] of answers.entries())
      holds(both.filter((answer) => answer).length < 2, `e${n} was cancelled twice`)
    await world.eventually(async () => assert.deepEqual(new Set(await readNs(broker, orders)), new Set(kept)))
    await world.quiet()
    assert.deepEqual(
      (await readNs(broker, orders)).sort((a, b) => a - b),
      kept,
    )
  },

  'the-id-of-a-cancelled-event-is-new-again': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const delayed = broker.channel(orders).delayed
    const id = 'reminder'
    const at = Date.now() + 3_600_000
    await broker.publish(orders, placed('a', 0, { id }), { at: new Date(at) })
    assert.equal((await broker.publish(orders, placed('a', 1, { id }), { at: new Date(at) })).duplicate, true)
    for (const n of [2, 3]) {
      assert.equal(await delayed.cancel(id), true)
      const again = await broker.publish(orders, placed('a', n, { id }), { at: new Date(at + n) })
      assert.deepEqual([again.duplicate, again.dueAtMs], [false, at + n])
      assert.deepEqual(
        (await delayed.list()).map(({ dueAtMs }) => dueAtMs),
        [at + n],
      )
      const known = await broker.publish(orders, placed('a', 9, { id }))
      assert.deepEqual([known.duplicate, known.dueAtMs], [true, at + n], 'while it waits it is known')
    }
    assert.equal(await delayed.cancel(id), true)
    const now = await broker.publish(orders, placed('a', 4, { id }))
    assert.equal(now.duplicate, false)
    assert.equal(
      (await broker.publish(orders, placed('a', 5, { id }), { at: new Date(at) })).duplicate,
      true,
      'it is stored now',
    )
    assert.equal(await delayed.cancel(id), false)
    assert.deepEqual(await readNs(broker, orders), [4])
  },

  'without-deduplication-all-events-of-the-id-are-cancelled': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'), { dedupe: false })
    const at = Date.now() + 2000
    for (const n of numbers(3)) await broker.publish(orders, placed('a', n, { id: 'same' }), { at: new Date(at + n) })
    await broker.publish(orders, placed('a', 3, { id: 'other' }), { at: new Date(at + 10) })
    assert.equal((await broker.channel(orders).delayed.list({ id: 'same' })).length, 3)
    assert.equal(await broker.channel(orders).delayed.cancel('same'), true)
    await world.eventually(async () => assert.equal((await readNs(broker, orders)).length > 0, true))
    await world.quiet()
    assert.deepEqual(await readNs(broker, orders), [3])
  },

  'a-delayed-emission-can-be-cancelled': async (world) => {
    const broker = await world.connect()
    const jobs = orderQueue(world.name('jobs'))
    const orders = unkeyedStream(world.name('orders'))
    await broker.declare(orders)
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), jobs).on(Placed, (each, ctx) => {
        void ctx.emit(orders, placed('a', each.data.n, { id: `emitted${each.data.n}` }), { delay: '1h' })
        calls.add(each, ctx)
      }),
    )
    await broker.publish(jobs, [placed('a', 0), placed('a', 1)])
    const delayed = broker.channel(orders).delayed
    await world.eventually(async () => assert.equal((await delayed.list()).length, 2))
    assert.equal(await delayed.cancel('emitted0'), true)
    assert.deepEqual(
      (await delayed.list()).map(({ id }) => id),
      ['emitted1'],
    )
  },

  'cancelling-needs-an-id': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0), { delay: '1h' })
    const delayed = broker.channel(orders).delayed
    await refused(() => delayed.cancel(undefined as never), 'INVALID_OPTION')
    await refused(() => delayed.cancel(''), 'INVALID_OPTION')
    await refused(() => delayed.list({ id: undefined } as never), 'INVALID_OPTION')
    await refused(() => delayed.list({ ids: 'a' } as never), 'INVALID_OPTION')
    await refused(() => broker.channel(world.name('none')).delayed.cancel('a'), 'UNKNOWN_CHANNEL')
    assert.equal((await delayed.list()).length, 1)
  },

  'a-cancellation-survives-a-crash': [
    ['crash'],
    async (world) => {
      let broker = await world.connect()
      const orders = unkeyedStream(world.name('orders'))
      const at = Date.now() + 2000
      await Promise.all(
        numbers(20).map((n) => broker.publish(orders, placed('a', n, { id: `e${n}` }), { at: new Date(at) })),
      )
      const delayed = broker.channel(orders).delayed
      const odd = numbers(20).filter((n) => n % 2 === 1)
      assert.deepEqual(
        await Promise.all(odd.map((n) => delayed.cancel(`e${n}`))),
        odd.map(() => true),
      )
      broker = await world.crash()
      await world.eventually(async () => assert.equal((await readNs(broker, orders)).length, 10))
      await world.quiet()
      assert.deepEqual(
        await readNs(broker, orders),
        numbers(20).filter((n) => n % 2 === 0),
      )
      assert.equal((await broker.publish(orders, placed('a', 1, { id: 'e1' }))).duplicate, false, 'its id is new')
    },
  ],
})

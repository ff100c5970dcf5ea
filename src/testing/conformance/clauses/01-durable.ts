/**
 * Clause 1, durable: what `publish` acknowledged is stored, whatever happens to the process; what it refused is not.
 */
import assert from 'node:assert/strict'
import { stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import { attribute, type CloudEvent, type StoredEvent } from '../../../event/cloud-event.ts'
import {
  Note,
  numbers,
  offsetOf,
  orderStream,
  Placed,
  placed,
  placedMany,
  readAll,
  readNs,
  refused,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const durable: readonly Scenario[] = clause(1, {
  'payload-and-attributes-come-back-equal': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    const data = { text: 'żółć 🦊 "quoted" \\ \n', nested: [{ a: null }, [], {}], big: 1e21, negative: -0.5, yes: true }
    const note = Note(data, {
      id: 'first',
      source: 'urn:test:%C3%BC',
      subject: 'a subject: ü',
      time: '2026-01-31T12:00:00.123Z',
      partitionkey: 'pk',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      correlationid: 'c-1',
      extensions: { region: 'eu', hops: 3, trial: true },
    })
    await broker.publish(notes, note)
    const [read] = await readAll(broker, notes)
    const { offset, ...attributes } = read as CloudEvent & { offset: number }
    assert.equal(offset, (await broker.describe()).channels.find((each) => each.name === notes.name)?.first)
    assert.deepEqual(attributes, {
      specversion: '1.0',
      id: 'first',
      source: 'urn:test:%C3%BC',
      type: 'note',
      subject: 'a subject: ü',
      time: '2026-01-31T12:00:00.123Z',
      partitionkey: 'pk',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      correlationid: 'c-1',
      region: 'eu',
      hops: 3,
      trial: true,
      data,
    })
  },

  'attributes-named-like-members-of-an-event-come-back': async (world) => {
    const broker = await world.connect()
    const [notes, copies] = [stream(world.name('notes')), stream(world.name('copies'))]
    const extensions = { offset: 'page 7', extensions: 'jpg', constructor: 'me', hops: 3 }
    await broker.publish(notes, [Note('first'), Note('second', { extensions })])
    const handled: StoredEvent[] = []
    await broker.start(consumer(world.name('worker'), notes).onAny((given) => void handled.push(given)))
    await world.eventually(() => assert.equal(handled.length, 2))
    const read = (await readAll(broker, notes))[1] as StoredEvent
    // When an event that was read is published unchanged, it stays the same event.
    await broker.publish(copies, { ...read })
    const [copied] = await readAll(broker, copies)
    for (const event of [read, handled.find(({ data }) => data === 'second'), copied]) {
      for (const [name, value] of Object.entries(extensions)) assert.equal(attribute(event as StoredEvent, name), value)
      assert.equal(typeof event?.offset, 'number')
    }
    assert.equal(attribute(handled.find(({ data }) => data === 'first') as StoredEvent, 'offset'), undefined)
  },

  'data-of-every-kind-comes-back-equal': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    const kinds = [
      null,
      '',
      'text',
      0,
      false,
      [],
      {},
      [1, [2, [3]]],
      'x'.repeat(300_000),
      { deep: { deeper: { deepest: '\u2028' } } },
    ]
    for (const data of kinds) await broker.publish(notes, Note(data))
    await broker.publish(notes, Note(new Uint8Array([0, 255, 1, 254])))
    await broker.publish(notes, { type: 'note', source: 'urn:test' })
    const read = await readAll(broker, notes)
    assert.deepEqual(
      read.slice(0, kinds.length).map((each) => each.data),
      kinds,
    )
    assert.deepEqual([...((read[kinds.length]?.data ?? []) as Uint8Array)], [0, 255, 1, 254])
    assert.equal(Object.hasOwn(read.at(-1) as object, 'data'), false, 'an event without data has none when it is read')
  },

  'a-batch-is-stored-whole-and-in-order': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const receipts = await broker.publish(orders, placedMany(500, 7))
    const first = receipts[0]?.offset ?? -1
    assert.deepEqual(
      receipts.map((receipt) => receipt.offset),
      numbers(first + 500, first),
    )
    assert.deepEqual(await readNs(broker, orders), numbers(500))
  },

  'a-batch-with-one-bad-event-stores-none': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0))
    await refused(
      () => broker.publish(orders, [placed('a', 1), Placed({ order: 'a', n: -1 }), placed('a', 2)]),
      'SCHEMA_MISMATCH',
    )
    assert.deepEqual(await readNs(broker, orders), [0])
  },

  'an-acknowledged-event-is-readable-at-once': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    for (let n = 0; n < 50; n++) {
      const offset = offsetOf(await broker.publish(orders, placed('a', n)))
      assert.deepEqual(await readNs(broker, orders, { from: { offset } }), [n])
    }
  },

  'published-events-survive-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      await Promise.all(placedMany(100).map((each) => broker.publish(orders, each)))
      const before = await readAll(broker, orders)
      for (let round = 0; round < 3; round++) {
        broker = await world.reopen(broker)
        assert.deepEqual(await readAll(broker, orders), before)
      }
      const { offset } = await broker.publish(orders, placed('a', 100))
      assert.equal(offset, (before.at(-1)?.offset ?? 0) + 1, 'offsets continue where they were')
    },
  ],

  'it-opens-again-after-each-of-thirty-closings': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const [orders, kept] = [
        orderStream(world.name('orders')),
        orderStream(world.name('kept'), { retain: { count: 50 } }),
      ]
      for (let round = 0; round < 30; round++) {
        const running = await broker.start(
          consumer(world.name('worker'), orders, { retry: { attempts: 1 } }).on(Placed, (each, ctx) =>
            each.data.n % 7 === 0 ? ctx.reject('bad') : undefined,
          ),
        )
        for (const channel of [orders, kept])
          await Promise.all(placedMany(40, 20, round * 40).map((each) => broker.publish(channel, each)))
        await broker.publish(orders, placedMany(20, 3, 10_000), { delay: '1h' })
        await running.stop()
        if (round % 3 === 2) await broker.deadLetters(world.name('worker')).drop()
        broker = await world.reopen(broker)
      }
      assert.deepEqual(await readNs(broker, orders), numbers(1200))
    },
  ],

  'closing-loses-none-of-10000': [
    ['reopen'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const pending = placedMany(10_000, 100).map((each) => broker.publish(orders, each))
      const settled = Promise.allSettled(pending)
      await pending[0]
      const again = await world.reopen(broker)
      const acknowledged = (await settled).flatMap((each, n) => (each.status === 'fulfilled' ? [n] : []))
      assert.deepEqual(
        await readNs(again, orders),
        acknowledged,
        'what was acknowledged is there, what was refused is not',
      )
    },
  ],

  'acknowledged-events-survive-a-crash': [
    ['crash'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const acknowledged = new Set<number>()
      for (let batch = 0; batch < 20; batch++) {
        await Promise.all(
          placedMany(50, 5, batch * 50).map(
            async (each) => void (await broker.publish(orders, each), acknowledged.add(each.data.n)),
          ),
        )
      }
      for (const each of placedMany(50, 5, 1000))
        void broker.publish(orders, each).then(
          () => acknowledged.add(each.data.n),
          () => undefined,
        )
      const known = [...acknowledged]
      const again = await world.crash()
      const read = await readNs(again, orders)
      const there = new Set(read)
      assert.deepEqual(
        known.filter((n) => !there.has(n)),
        [],
        'acknowledged and gone',
      )
      assert.equal(there.size, read.length, 'stored twice')
    },
  ],
})

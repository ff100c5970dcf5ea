/** Clause 9, replay: where a consumer begins, how it is moved, and how events are read without consuming. */
import assert from 'node:assert/strict'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { TimeText } from '../../../base/time-text.ts'
import { stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import { event } from '../../../event/event.ts'
import {
  Calls,
  describeConsumer,
  gate,
  holds,
  idle,
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
import { sleep } from '../world.ts'

export const replay: readonly Scenario[] = clause(9, {
  'a-consumer-starts-at-the-beginning': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(30))
    for (const from of [undefined, 'beginning'] as const) {
      const calls = new Calls()
      await broker.start(
        consumer(world.name(`from-${from}`), orders, from === undefined ? {} : { from }).on(Placed, calls.handler),
      )
      await calls.reach(world, 30)
      assert.deepEqual(calls.ns, numbers(30))
    }
  },

  'a-consumer-starts-at-the-end': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(30))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders, { from: 'end' }).on(Placed, calls.handler))
    await broker.publish(orders, placedMany(10, 1, 30))
    await calls.reach(world, 10)
    await world.quiet()
    assert.deepEqual(calls.ns, numbers(40, 30))
  },

  'a-consumer-starts-at-an-offset': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const receipts = await broker.publish(orders, placedMany(30))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { from: { offset: receipts[17]?.offset ?? -1 } }).on(
        Placed,
        calls.handler,
      ),
    )
    await calls.reach(world, 13)
    assert.deepEqual(calls.ns, numbers(30, 17))
  },

  'a-consumer-starts-at-a-time-or-an-age': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(10))
    await sleep(30)
    const middle = new Date()
    await sleep(5)
    await broker.publish(orders, placedMany(10, 1, 10))
    for (const [at, from, first] of [
      [0, middle, 10],
      [1, '1h', 0],
      [2, new Date(0), 0],
    ] as const) {
      const calls = new Calls()
      await broker.start(consumer(world.name(`worker-${at}`), orders, { from }).on(Placed, calls.handler))
      await calls.reach(world, 20 - first)
      assert.deepEqual(calls.ns, numbers(20, first))
    }
  },

  'where-to-begin-counts-only-once': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    for (let round = 0; round < 3; round++) {
      const running = await broker.start(
        consumer(world.name('worker'), orders, { from: round === 0 ? 'beginning' : 'end' }).on(Placed, calls.handler),
      )
      await calls.reach(world, round * 10)
      await running.stop()
      await broker.publish(orders, placedMany(10, 1, round * 10))
    }
    await world.quiet()
    assert.deepEqual(calls.ns, numbers(20))
  },

  'rewind-to-the-beginning-while-running': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const [calls, other] = [new Calls(), new Calls()]
    await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
    await broker.start(consumer(world.name('other'), orders).on(Placed, other.handler))
    await broker.publish(orders, placedMany(50, 5))
    await calls.reach(world, 50)
    await broker.consumer(world.name('worker')).rewind('beginning')
    await calls.reach(world, 100)
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(
      calls.sorted,
      numbers(50).flatMap((n) => [n, n]),
    )
    for (const key of numbers(5))
      assert.deepEqual(
        calls.of(`k${key}`).slice(10),
        numbers(50).filter((n) => n % 5 === key),
        'in order the second time too',
      )
    assert.equal(other.length, 50, 'another consumer is not moved')
  },

  'rewind-to-an-offset-a-time-and-the-end': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const receipts = await broker.publish(orders, placedMany(20))
    await sleep(20)
    const middle = new Date()
    await sleep(5)
    await broker.publish(orders, placedMany(10, 1, 20))
    const done = await broker.start(consumer(name, orders).on(Placed, () => undefined))
    await idle(world, broker, name)
    await done.stop()
    for (const [to, first] of [
      [{ offset: receipts[15]?.offset ?? -1 }, 15],
      [middle, 20],
      [middle.toISOString() as TimeText, 20],
      ['end', 30],
      ['beginning', 0],
    ] as const) {
      await broker.consumer(name).rewind(to)
      const calls = new Calls()
      const running = await broker.start(consumer(name, orders).on(Placed, calls.handler))
      await calls.reach(world, 30 - first)
      await idle(world, broker, name)
      await running.stop()
      assert.deepEqual(calls.ns, numbers(30, first))
    }
  },

  'rewind-takes-back-what-is-in-hand': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const out = unkeyedStream(world.name('out'))
    const name = world.name('worker')
    const wait = gate()
    const calls = new Calls()
    const signals: AbortSignal[] = []
    await broker.start(
      consumer(name, orders, { concurrency: 1 }).on(Placed, async (each, ctx) => {
        calls.add(each, ctx)
        signals.push(ctx.signal)
        await ctx.emit(out, placed('out', each.data.n)).catch(() => undefined)
        if (calls.length === 4) await wait.opened
      }),
    )
    await broker.publish(orders, placedMany(6))
    await calls.reach(world, 4)
    await broker.consumer(name).rewind('beginning')
    await world.eventually(() => signals[3]?.aborted === true)
    wait.open()
    await calls.reach(world, 10)
    await idle(world, broker, name)
    assert.deepEqual(calls.ns, [0, 1, 2, 3, 0, 1, 2, 3, 4, 5])
    // A completion is committed a moment later, and only then can its emissions be read.
    await world.eventually(async () => assert.equal((await readNs(broker, out)).length, 9))
    assert.deepEqual(
      await readNs(broker, out),
      [0, 1, 2, 0, 1, 2, 3, 4, 5],
      'the completion that came late emits nothing',
    )
  },

  'rewind-of-one-channel-leaves-the-others': async (world) => {
    const broker = await world.connect()
    const [one, two] = [orderStream(world.name('one')), orderStream(world.name('two'))]
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), [one, two]).on(Placed, calls.handler))
    for (const channel of [one, two]) await broker.publish(channel, placedMany(10))
    await calls.reach(world, 20)
    await broker.consumer(world.name('worker')).rewind('beginning', { channel: two.name })
    await calls.reach(world, 30)
    await world.quiet()
    assert.equal(calls.all.filter((call) => call.channel === one.name).length, 10)
    assert.equal(calls.all.filter((call) => call.channel === two.name).length, 20)
  },

  'rewind-of-an-unknown-consumer-is-refused': async (world) => {
    const broker = await world.connect()
    await refused(
      () => broker.consumer(world.name('nobody')).rewind('beginning'),
      'UNKNOWN_CONSUMER',
      world.name('nobody'),
    )
  },

  'reading-does-not-consume': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(20))
    for (let round = 0; round < 3; round++) assert.deepEqual(await readNs(broker, orders), numbers(20))
    const calls = new Calls()
    await broker.start(consumer(world.name('worker'), orders).on(Placed, calls.handler))
    await calls.reach(world, 20)
    assert.deepEqual(await readNs(broker, orders), numbers(20), 'and consuming does not forget')
  },

  'reading-from-and-to': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const receipts = await broker.publish(orders, placedMany(100))
    const offset = (at: number): number => receipts[at]?.offset ?? -1
    await sleep(20)
    const middle = new Date()
    await sleep(5)
    await broker.publish(orders, placedMany(10, 1, 100))
    assert.deepEqual(
      await readNs(broker, orders, { from: { offset: offset(30) }, to: { offset: offset(33) } }),
      [30, 31, 32],
    )
    assert.deepEqual(await readNs(broker, orders, { to: { offset: offset(3) } }), [0, 1, 2])
    assert.deepEqual(await readNs(broker, orders, { from: middle }), numbers(110, 100))
    assert.deepEqual(await readNs(broker, orders, { to: middle }), numbers(100))
    assert.deepEqual(await readNs(broker, orders, { from: '1h' }), numbers(110))
    assert.deepEqual(await readNs(broker, orders, { from: 'end' }), [])
    assert.deepEqual(await readNs(broker, orders, { from: new Date(Date.now() + 60_000) }), [])
    assert.deepEqual(
      (await readAll(broker, orders, { from: { offset: offset(50) } })).map((each) => each.offset),
      numbers(offset(99) + 11, offset(50)),
    )
  },

  'reading-a-large-channel-is-complete-and-in-order': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    for (let batch = 0; batch < 20; batch++) await broker.publish(orders, placedMany(1000, 10, batch * 1000))
    let expected = 0
    let last = -1
    for await (const each of broker.read(orders)) {
      assert.equal(each.data.n, expected++)
      holds(each.offset > last)
      last = each.offset
    }
    assert.equal(expected, 20_000)
  },

  'reading-ends-where-the-channel-ended-when-it-began': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(10))
    const read: number[] = []
    for await (const each of broker.read(orders)) {
      read.push(each.data.n)
      await broker.publish(orders, placed('a', 1000))
    }
    assert.deepEqual(read, numbers(10))
  },

  'reading-follows': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(10))
    const read: number[] = []
    const ended = (async () => {
      for await (const each of broker.read(orders, { follow: true })) {
        read.push(each.data.n)
        if (read.length === 60) break
      }
    })()
    for (let batch = 1; batch < 6; batch++) {
      await world.eventually(() => read.length === batch * 10)
      await broker.publish(orders, placedMany(10, 1, batch * 10))
    }
    await ended
    assert.deepEqual(read, numbers(60))
  },

  'following-ends-by-signal-and-by-close': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(3))
    const abort = new AbortController()
    const [bySignal, byClose] = [{ signal: abort.signal }, {}].map((options) => {
      const read: number[] = []
      const ended = (async () => {
        for await (const each of broker.read(orders, { follow: true, ...options })) read.push(each.data.n)
      })()
      return { read, ended: ended.catch(() => undefined) }
    })
    await world.eventually(() => bySignal?.read.length === 3 && byClose?.read.length === 3)
    abort.abort()
    await bySignal?.ended
    await broker.publish(orders, placed('a', 3))
    await world.eventually(() => byClose?.read.length === 4)
    assert.equal(bySignal?.read.length, 3)
    await broker.close()
    await byClose?.ended
  },

  'following-ends-when-the-reader-leaves-while-it-waits': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placed('a', 0))
    const reader = broker.read(orders, { follow: true })
    assert.equal((await reader.next()).value.data.n, 0)
    const waiting = reader.next()
    await world.quiet()
    await reader.return?.()
    assert.deepEqual(await waiting, { done: true, value: undefined })
    assert.deepEqual(await reader.next(), { done: true, value: undefined })
  },

  'reading-beyond-the-end-is-refused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const offset = offsetOf(await broker.publish(orders, placed('a', 0)))
    assert.deepEqual(
      await readNs(broker, orders, { from: { offset: offset + 1 } }),
      [],
      'the next offset is where new events will be',
    )
    await refused(
      () => readAll(broker, orders, { from: { offset: offset + 1000 } }),
      'OFFSET_OUT_OF_RANGE',
      orders.name,
    )
  },

  'a-position-survives-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      await broker.publish(orders, placedMany(20))
      await broker.start(consumer(name, orders).on(Placed, () => undefined))
      await idle(world, broker, name)
      const floor = (await describeConsumer(broker, name)).channels[0]?.floor
      broker = await world.reopen(broker)
      assert.equal((await describeConsumer(broker, name)).channels[0]?.floor, floor)
      await broker.consumer(name).rewind({ offset: (floor ?? 0) - 5 })
      broker = await world.reopen(broker)
      const calls = new Calls()
      await broker.start(consumer(name, orders).on(Placed, calls.handler))
      await calls.reach(world, 5)
      assert.deepEqual(calls.ns, numbers(20, 15))
    },
  ],

  'reading-decodes-as-a-handler-does': async (world) => {
    const broker = await world.connect()
    const Measured = event('measured', lengthSchema)
    const lengths = stream(world.name('lengths'), { events: [Measured] })
    await broker.publish(lengths, [Measured('a'), Measured('four')])
    const handled: unknown[] = []
    await broker.start(consumer(world.name('worker'), lengths).on(Measured, ({ data }) => void handled.push(data)))
    await world.eventually(() => assert.deepEqual(handled.toSorted(), [1, 4]))
    const read = await readAll(broker, lengths)
    const stored = await readAll(broker, lengths.name)
    assert.deepEqual(
      [read.map(({ data }) => data), stored.map(({ data }) => data)],
      [
        [1, 4],
        ['a', 'four'],
      ],
    )
    // An event that the schema refuses ends the read. A read can continue after it.
    const bad = offsetOf(
      await broker.publish(stream(lengths.name, { events: [event('measured')] }), event('measured')(7)),
    )
    await broker.publish(lengths, Measured('six...'))
    const error = await refused(
      () => readAll(broker, lengths),
      'SCHEMA_MISMATCH',
      lengths.name,
      String(bad),
      'text is wanted',
    )
    assert.deepEqual([error.details['channel'], error.details['offset']], [lengths.name, bad])
    assert.deepEqual(
      (await readAll(broker, lengths, { from: { offset: bad + 1 } })).map(({ data }) => data),
      [6],
    )
    assert.equal((await readAll(broker, lengths.name)).length, 4)
  },

  'each-channel-is-decoded-by-its-own-schema': async (world) => {
    const broker = await world.connect()
    const [Length, Plain] = [event('measured', lengthSchema), event('measured', textSchema)]
    const [lengths, texts] = [
      stream(world.name('lengths'), { events: [Length] }),
      stream(world.name('texts'), { events: [Plain] }),
    ]
    const handled = new Map<string, unknown>()
    const both = consumer(world.name('worker'), [lengths, texts]).on(
      Length,
      ({ data }, ctx) => void handled.set(ctx.channel, data),
    )
    await broker.start(both)
    await broker.publish(lengths, Length('four'))
    await broker.publish(texts, Plain('four'))
    await world.eventually(() => assert.deepEqual([handled.get(lengths.name), handled.get(texts.name)], [4, 'four']))
  },
})

function schemaOf<Output>(decode: (text: string) => Output): StandardSchemaV1<string, Output> {
  const validate = (value: unknown): StandardSchemaV1.Result<Output> =>
    typeof value === 'string' ? { value: decode(value) } : { issues: [{ message: 'text is wanted' }] }
  return { '~standard': { version: 1, vendor: 'millrace-conformance', validate } }
}

const textSchema: StandardSchemaV1<string, string> = schemaOf((text) => text)
const lengthSchema: StandardSchemaV1<string, number> = schemaOf((text) => text.length)

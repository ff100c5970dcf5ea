/**
 * Clause 6, dead letters: what happens to an event that a consumer gives up on, what waits behind it, and how it
 * returns.
 */
import assert from 'node:assert/strict'
import type { Broker } from '../../../broker/broker.ts'
import type { DeadLetter, EventPlace } from '../../../broker/description.ts'
import { engineOf } from '../../../broker/engine-of.ts'
import { stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import type { ConsumerOptions, Running } from '../../../consumer/consumer-types.ts'
import { event } from '../../../event/event.ts'
import {
  Calls,
  describeConsumer,
  holds,
  idle,
  Note,
  numbers,
  orderStream,
  Placed,
  placed,
  placedMany,
  QUICK,
  refused,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep, type World } from '../world.ts'

/** A consumer with a stream of its own; it rejects the events in `bad`. */
class Patient {
  readonly bad: Set<number>
  readonly done = new Calls()
  readonly name: string
  readonly orders: ReturnType<typeof orderStream>
  readonly world: World
  broker: Broker

  constructor(world: World, broker: Broker, bad: readonly number[], keyed = true) {
    this.world = world
    this.broker = broker
    this.bad = new Set(bad)
    this.name = world.name('patient')
    this.orders = (keyed ? orderStream : unkeyedStream)(world.name('orders'))
  }

  start(options: ConsumerOptions = {}): Promise<Running> {
    return this.broker.start(
      consumer(this.name, this.orders, { retry: QUICK, ...options }).on(Placed, (each, ctx) => {
        if (this.bad.has(each.data.n)) ctx.reject(`${each.data.n} is bad`)
        this.done.add(each, ctx)
      }),
    )
  }

  /** Wait for this many dead letters. */
  async dead(count: number): Promise<DeadLetter[]> {
    return this.world.eventually(async () => {
      const letters = await this.broker.deadLetters(this.name).list()
      assert.equal(letters.length, count)
      return letters
    })
  }

  /** The offsets of those events that were given back and are not settled yet. */
  async pending(events: readonly EventPlace[]): Promise<number[]> {
    const pending = await engineOf(this.broker).consumers.pending(this.name, events)
    return pending.map(({ offset }) => offset)
  }

  /** Wait for this many parked events. */
  async parked(count: number): Promise<void> {
    await this.world.eventually(async () =>
      assert.equal((await describeConsumer(this.broker, this.name)).parked, count),
    )
  }
}

const n = (letter: DeadLetter | undefined): number => JSON.parse(letter?.text ?? '{}').data.n

export const deadLetter: readonly Scenario[] = clause(6, {
  'a-rejected-event-goes-at-once-with-its-reason': async (world) => {
    const patient = new Patient(world, await world.connect(), [0])
    await patient.start()
    const before = Date.now()
    const receipt = await patient.broker.publish(patient.orders, placed('a', 0, { id: 'the-id' }))
    const [letter] = await patient.dead(1)
    holds(letter)
    const { consumer: of, channel, offset, key, id, type, attempts, failure, deadAtMs, text } = letter
    assert.deepEqual(
      [of, channel, offset, key, id, type, attempts],
      [patient.name, patient.orders.name, receipt.offset, 'a', 'the-id', 'order.placed', 1],
    )
    assert.deepEqual([failure.kind, failure.message], ['rejected', '0 is bad'])
    holds(deadAtMs >= before - 5 && deadAtMs <= Date.now() + 5)
    assert.deepEqual(JSON.parse(text).data, { order: 'a', n: 0 })
  },

  'the-last-attempts-error-is-kept': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    await broker.start(
      consumer(name, orders, { retry: { attempts: 3, ...QUICK } }).on(Placed, (_, ctx) => {
        throw Object.assign(new TypeError(`failure ${ctx.attempt}`), { code: 'E_TEST' })
      }),
    )
    await broker.publish(orders, placed('a', 0))
    const [letter] = await world.eventually(async () => {
      const letters = await broker.deadLetters(name).list()
      return letters.length > 0 && letters
    })
    assert.deepEqual(
      [letter?.attempts, letter?.failure.name, letter?.failure.message, letter?.failure.code],
      [3, 'TypeError', 'failure 3', 'E_TEST'],
    )
    assert.equal(letter?.failure.kind, 'error')
    holds(letter?.failure.stack?.includes('failure 3'))
  },

  'one-attempt-is-no-retry': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    await broker.start(
      consumer(name, orders, { retry: { attempts: 1 } }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        throw new Error('no')
      }),
    )
    await broker.publish(orders, placedMany(5, 5))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 5))
    assert.equal(calls.length, 5)
  },

  'what-cannot-be-decoded-is-poison-and-not-retried': async (world) => {
    const broker = await world.connect()
    const name = world.name('worker')
    const orders = orderStream(world.name('orders'))
    await broker.declare(orders)
    const unchecked = stream(orders.name, { events: [event('order.placed'), event('order.paid')] })
    await broker.publish(unchecked, event('order.placed')({ order: 'a', n: 'not a number' }, { partitionkey: 'a' }))
    await broker.publish(orders, placed('b', 1))
    const calls = new Calls()
    await broker.start(
      consumer(name, orders, { retry: { attempts: 50, min: '1m', max: '1m' } }).on(Placed, calls.handler),
    )
    await calls.reach(world, 1)
    const [letter] = await world.eventually(async () => {
      const letters = await broker.deadLetters(name).list()
      return letters.length > 0 && letters
    })
    assert.deepEqual([letter?.failure.kind, letter?.failure.code, letter?.attempts], ['poison', 'SCHEMA_MISMATCH', 1])
    assert.deepEqual(calls.ns, [1])
  },

  'redrive-gives-it-to-that-consumer-alone': async (world) => {
    const patient = new Patient(world, await world.connect(), [3, 4])
    const other = new Calls()
    await patient.start()
    await patient.broker.start(consumer(world.name('other'), patient.orders).on(Placed, other.handler))
    await patient.broker.publish(patient.orders, placedMany(10, 10))
    await patient.dead(2)
    await other.reach(world, 10)
    patient.bad.clear()
    assert.equal(await patient.broker.deadLetters(patient.name).redrive(), 2)
    await patient.done.reach(world, 10)
    await world.quiet()
    assert.deepEqual(other.sorted, numbers(10), 'the other consumer is not given it again')
    assert.deepEqual(patient.done.sorted, numbers(10))
    for (const call of patient.done.all) {
      assert.equal(call.redriven, call.n === 3 || call.n === 4)
      assert.equal(call.attempt, 1, 'a redriven event starts its attempts anew')
    }
    await patient.dead(0)
  },

  'park-holds-back-the-later-events-of-its-key': async (world) => {
    const patient = new Patient(world, await world.connect(), [10])
    await patient.start({ onDead: 'park' })
    await patient.broker.publish(patient.orders, placedMany(50, 10))
    await patient.done.reach(world, 46)
    await patient.parked(3)
    await world.quiet()
    assert.deepEqual(patient.done.of('k0'), [0], 'what came before the dead letter was done, nothing after it')
    assert.equal(patient.done.length, 46, 'other keys continue')
    assert.equal((await patient.dead(1))[0]?.waiting, 3)
    patient.bad.clear()
    await patient.broker.deadLetters(patient.name).redrive()
    await patient.done.reach(world, 50)
    assert.deepEqual(patient.done.of('k0'), [0, 10, 20, 30, 40], 'redrive keeps the order')
    await patient.parked(0)
  },

  'events-that-come-during-park-and-redrive-keep-the-order': async (world) => {
    const patient = new Patient(world, await world.connect(), [0])
    await patient.start({ concurrency: 4 })
    await patient.broker.publish(patient.orders, placedMany(30, 3))
    await patient.parked(9)
    patient.bad.clear()
    const publishing = (async () => {
      for (let batch = 1; batch < 10; batch++)
        await patient.broker.publish(patient.orders, placedMany(30, 3, batch * 30))
    })()
    await patient.broker.deadLetters(patient.name).redrive()
    await publishing
    await patient.done.reach(world, 300)
    await idle(world, patient.broker, patient.name)
    for (const key of [0, 1, 2])
      assert.deepEqual(
        patient.done.of(`k${key}`),
        numbers(300).filter((each) => each % 3 === key),
      )
    await patient.parked(0)
  },

  'skip-lets-the-later-events-pass': async (world) => {
    const patient = new Patient(world, await world.connect(), [0])
    await patient.start({ onDead: 'skip' })
    await patient.broker.publish(patient.orders, placedMany(20, 2))
    await patient.done.reach(world, 19)
    assert.deepEqual(
      patient.done.of('k0'),
      numbers(20, 1).filter((each) => each % 2 === 0),
    )
    patient.bad.clear()
    await patient.broker.deadLetters(patient.name).redrive()
    await patient.done.reach(world, 20)
    assert.equal(patient.done.ns.at(-1), 0)
  },

  'block-holds-back-everything': async (world) => {
    const patient = new Patient(world, await world.connect(), [5])
    await patient.start({ onDead: 'block', concurrency: 1 })
    await patient.broker.publish(patient.orders, placedMany(20, 20))
    await patient.dead(1)
    await world.quiet()
    assert.deepEqual(patient.done.ns, numbers(5))
    patient.bad.clear()
    await patient.broker.deadLetters(patient.name).redrive()
    await patient.done.reach(world, 20)
    assert.deepEqual(patient.done.ns, numbers(20))
  },

  'block-ends-when-the-dead-letter-is-dropped': async (world) => {
    const patient = new Patient(world, await world.connect(), [5])
    await patient.start({ onDead: 'block', concurrency: 1 })
    await patient.broker.publish(patient.orders, placedMany(20, 20))
    await patient.dead(1)
    assert.equal(await patient.broker.deadLetters(patient.name).drop(), 1)
    await patient.done.reach(world, 19)
    assert.deepEqual(
      patient.done.ns,
      numbers(20).filter((each) => each !== 5),
    )
  },

  'the-default-is-skip-without-a-key': async (world) => {
    const patient = new Patient(world, await world.connect(), [0, 1], false)
    await patient.start()
    await patient.broker.publish(patient.orders, placedMany(20))
    await patient.done.reach(world, 18)
    await patient.dead(2)
    assert.equal((await describeConsumer(patient.broker, patient.name)).parked, 0)
  },

  'the-default-is-park-with-a-key': async (world) => {
    const patient = new Patient(world, await world.connect(), [0, 1])
    await patient.start()
    await patient.broker.publish(patient.orders, placedMany(20, 5))
    await patient.done.reach(world, 12)
    await patient.parked(6)
    await world.quiet()
    assert.deepEqual([...new Set(patient.done.all.map((call) => call.order))].sort(), ['k2', 'k3', 'k4'])
  },

  'drop-releases-what-waits-behind': async (world) => {
    const patient = new Patient(world, await world.connect(), [0])
    await patient.start()
    await patient.broker.publish(patient.orders, placedMany(10, 1))
    await patient.parked(9)
    assert.equal(await patient.broker.deadLetters(patient.name).drop(), 1)
    await patient.done.reach(world, 9)
    await idle(world, patient.broker, patient.name)
    assert.deepEqual(patient.done.ns, numbers(10, 1))
    await patient.dead(0)
  },

  'a-second-failure-behind-the-first-parks-again': async (world) => {
    const patient = new Patient(world, await world.connect(), [0, 2])
    await patient.start()
    await patient.broker.publish(patient.orders, placedMany(6, 1))
    await patient.parked(5)
    patient.bad.delete(0)
    await patient.broker.deadLetters(patient.name).redrive()
    await patient.parked(3)
    assert.deepEqual(patient.done.ns, [0, 1])
    assert.equal(n((await patient.dead(1))[0]), 2)
    patient.bad.clear()
    await patient.broker.deadLetters(patient.name).redrive()
    await patient.done.reach(world, 6)
    assert.deepEqual(patient.done.ns, numbers(6))
  },

  'a-redriven-event-may-fail-again': async (world) => {
    const patient = new Patient(world, await world.connect(), [0])
    await patient.start()
    await patient.broker.publish(patient.orders, placedMany(3, 1))
    for (let round = 0; round < 3; round++) {
      await patient.parked(2)
      assert.equal(await patient.broker.deadLetters(patient.name).redrive(), 1)
    }
    const letters = await patient.dead(1)
    assert.deepEqual(await patient.pending(letters), [], 'an event that is dead again is settled')
    patient.bad.clear()
    await patient.broker.deadLetters(patient.name).redrive()
    await patient.done.reach(world, 3)
    assert.deepEqual(patient.done.ns, [0, 1, 2])
  },

  'redrive-takes-a-query': async (world) => {
    const patient = new Patient(world, await world.connect(), numbers(6))
    await patient.start({ onDead: 'skip' })
    for (const at of numbers(6))
      await patient.broker.publish(patient.orders, placed(`k${at % 3}`, at, { id: `id-${at}` }))
    const letters = (await patient.dead(6)).sort((a, b) => a.offset - b.offset)
    const box = patient.broker.deadLetters(patient.name)
    patient.bad.clear()
    assert.deepEqual((await box.list({ key: 'k1' })).map(n), [1, 4])
    assert.deepEqual((await box.list({ limit: 2 })).length, 2)
    assert.equal(await box.redrive({ id: 'id-3' }), 1)
    await patient.done.reach(world, 1)
    assert.equal(await box.redrive({ channel: patient.orders.name, offset: letters[5]?.offset ?? -1 }), 1)
    await patient.done.reach(world, 2)
    assert.equal(await box.drop({ key: 'k1' }), 2)
    assert.equal(await box.redrive({ limit: 1 }), 1)
    await patient.done.reach(world, 3)
    assert.deepEqual(patient.done.ns, [3, 5, 0])
    assert.deepEqual((await patient.dead(1)).map(n), [2])
  },

  'letters-are-listed-oldest-first': async (world) => {
    const patient = new Patient(world, await world.connect(), numbers(30))
    await patient.start({ onDead: 'skip', concurrency: 1 })
    await patient.broker.publish(patient.orders, placedMany(30, 30))
    assert.deepEqual((await patient.dead(30)).map(n), numbers(30))
    assert.deepEqual((await patient.broker.deadLetters(patient.name).list({ limit: 5 })).map(n), numbers(5))
  },

  'letters-of-several-channels-are-listed-and-redriven-oldest-first': async (world) => {
    const broker = await world.connect()
    const [orders, payments] = [orderStream(world.name('orders')), orderStream(world.name('payments'))]
    const name = world.name('worker')
    const again: number[] = []
    let broken = true
    await broker.start(
      consumer(name, [orders, payments]).on(Placed, ({ data }, ctx) => {
        if (broken) ctx.reject('not now')
        again.push(data.n)
      }),
    )
    for (const [at, channel] of [payments, orders, orders, payments].entries()) {
      await broker.publish(channel, placed('one', at))
      await world.eventually(async () =>
        assert.equal((await describeConsumer(broker, name)).deadLetters, at < 2 ? at + 1 : 2),
      )
      await sleep(5)
    }
    const box = broker.deadLetters(name)
    assert.deepEqual((await box.list()).map(n), [0, 1])
    broken = false
    assert.equal(await box.redrive({ limit: 1 }), 1)
    await world.eventually(() => assert.deepEqual(again, [0, 3]))
    assert.deepEqual((await box.list()).map(n), [1])
  },

  'redriving-twice-delivers-once': async (world) => {
    const patient = new Patient(world, await world.connect(), [0])
    await patient.start()
    await patient.broker.publish(patient.orders, placed('a', 0))
    await patient.dead(1)
    patient.bad.clear()
    const box = patient.broker.deadLetters(patient.name)
    const counts = await Promise.all([box.redrive(), box.redrive(), box.redrive()])
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      1,
    )
    await patient.done.reach(world, 1)
    await world.quiet()
    assert.deepEqual(patient.done.ns, [0])
  },

  'redrive-of-a-stopped-consumer-waits-for-it': async (world) => {
    const patient = new Patient(world, await world.connect(), [0])
    const running = await patient.start()
    await patient.broker.publish(patient.orders, placedMany(4, 1))
    await patient.parked(3)
    await running.stop()
    patient.bad.clear()
    const letters = await patient.dead(1)
    assert.equal(await patient.broker.deadLetters(patient.name).redrive(), 1)
    assert.deepEqual(
      await patient.pending(letters),
      letters.map(({ offset }) => offset),
    )
    await patient.start()
    await patient.done.reach(world, 4)
    assert.deepEqual(patient.done.ns, numbers(4))
    await world.eventually(async () => assert.deepEqual(await patient.pending(letters), []))
  },

  'an-unknown-letter-or-consumer-is-refused': async (world) => {
    const patient = new Patient(world, await world.connect(), [0])
    await patient.start()
    await patient.broker.publish(patient.orders, placed('a', 0))
    await patient.dead(1)
    await refused(
      () => patient.broker.deadLetters(patient.name).redrive({ id: 'no such id' }),
      'UNKNOWN_DEAD_LETTER',
      patient.name,
    )
    await refused(
      () => patient.broker.deadLetters(world.name('nobody')).list(),
      'UNKNOWN_CONSUMER',
      world.name('nobody'),
    )
  },

  'dead-letters-and-what-waits-survive-reopen': [
    ['reopen'],
    async (world) => {
      const patient = new Patient(world, await world.connect(), [1])
      await patient.start()
      await patient.broker.publish(patient.orders, placedMany(12, 3))
      await patient.parked(3)
      const before = await patient.dead(1)
      for (let round = 0; round < 2; round++) {
        patient.broker = await world.reopen(patient.broker)
        assert.deepEqual(
          await patient.dead(1),
          before.map((letter) => ({ ...letter, waiting: 3 + round })),
        )
        await patient.start()
        await patient.broker.publish(patient.orders, placedMany(3, 3, 12 + round * 3))
        await patient.parked(4 + round)
      }
      patient.bad.clear()
      await patient.broker.deadLetters(patient.name).redrive()
      await patient.done.reach(world, 18)
      await idle(world, patient.broker, patient.name)
      for (const key of [0, 1, 2])
        assert.deepEqual(
          patient.done.of(`k${key}`),
          numbers(18).filter((each) => each % 3 === key),
        )
    },
  ],

  'a-redrive-survives-reopen': [
    ['reopen'],
    async (world) => {
      const patient = new Patient(world, await world.connect(), [0])
      const running = await patient.start()
      await patient.broker.publish(patient.orders, placedMany(5, 1))
      await patient.parked(4)
      await running.stop()
      patient.bad.clear()
      await patient.broker.deadLetters(patient.name).redrive()
      patient.broker = await world.reopen(patient.broker)
      assert.deepEqual(await patient.broker.deadLetters(patient.name).list(), [])
      await patient.start()
      await patient.done.reach(world, 5)
      assert.deepEqual(patient.done.ns, numbers(5))
    },
  ],

  'an-event-without-data-can-be-dead-lettered': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    const name = world.name('worker')
    await broker.start(consumer(name, notes).on(Note, (_, ctx) => ctx.reject(new RangeError('no use'))))
    await broker.publish(notes, { type: 'note' })
    const [letter] = await world.eventually(async () => {
      const letters = await broker.deadLetters(name).list()
      return letters.length > 0 && letters
    })
    assert.deepEqual([letter?.failure.name, letter?.failure.message], ['RangeError', 'no use'])
  },
})

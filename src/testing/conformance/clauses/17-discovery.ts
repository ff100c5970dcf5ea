/** Clause 17, discovery: channels and consumers, lag, dead letters, and which consumer makes no progress and why. */
import assert from 'node:assert/strict'
import { CLAUSES } from '../../../broker/capabilities.ts'
import { stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import {
  describeConsumer,
  gate,
  holds,
  idle,
  Note,
  numbers,
  orderQueue,
  orderStream,
  Paid,
  Placed,
  placed,
  placedMany,
  unkeyedQueue,
  unkeyedStream,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep } from '../world.ts'

export const discovery: readonly Scenario[] = clause(17, {
  'channels-are-listed-with-what-they-hold': async (world) => {
    const broker = await world.connect()
    const [orders, jobs, plain] = [
      orderStream(world.name('orders')),
      orderQueue(world.name('jobs')),
      stream(world.name('plain')),
    ]
    await broker.declare(orders, jobs, plain)
    await broker.publish(orders, placedMany(10))
    const found = new Map((await broker.describe()).channels.map((each) => [each.name, each]))
    assert.deepEqual([found.get(orders.name)?.kind, found.get(jobs.name)?.kind], ['stream', 'queue'])
    assert.deepEqual(
      [found.get(orders.name)?.types, found.get(plain.name)?.types],
      [['order.paid', 'order.placed'], null],
    )
    const { first = -1, next = -1, bytes = null } = found.get(orders.name) ?? {}
    assert.equal(next - first, 10)
    holds((bytes ?? 0) > 500, `ten events are ${bytes} bytes`)
    const empty = found.get(jobs.name)
    assert.deepEqual([(empty?.next ?? -1) - (empty?.first ?? 0), empty?.scheduled], [0, 0])
  },

  'channels-and-consumers-created-later-are-listed': async (world) => {
    const broker = await world.connect()
    const name = world.name('worker')
    await broker.declare(orderStream(world.name('orders.first')))
    await broker.start(consumer(name, world.name('orders.*')).on(Placed, () => undefined))
    for (const at of numbers(5)) {
      const channel = orderStream(world.name(`orders.c${at}`))
      await broker.publish(channel, placed('a', 0))
      holds((await broker.describe()).channels.some((each) => each.name === channel.name))
      await world.eventually(async () => {
        const position = (await describeConsumer(broker, name)).channels.find((each) => each.channel === channel.name)
        assert.deepEqual([position?.channel, position?.lag], [channel.name, 0])
      })
    }
  },

  'lag-is-told-in-events-and-in-time': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const name = world.name('worker')
    const wait = gate()
    await broker.start(consumer(name, orders, { concurrency: 3 }).on(Placed, () => wait.opened))
    await broker.publish(orders, placedMany(20))
    await sleep(60)
    const [before] = (await describeConsumer(broker, name)).channels
    assert.equal(before?.lag, 20)
    holds((before?.lagMs ?? 0) >= 50 && (before?.lagMs ?? 0) < 10_000, `the oldest waits for ${before?.lagMs} ms`)
    wait.open()
    await idle(world, broker, name)
    const [after] = (await describeConsumer(broker, name)).channels
    assert.deepEqual([after?.lag, after?.lagMs], [0, 0])
    assert.equal(after?.floor, (await broker.describe()).channels.find((each) => each.name === orders.name)?.next)
  },

  'a-stopped-consumer-is-listed-with-its-lag': async (world) => {
    const broker = await world.connect()
    const [orders, jobs] = [orderStream(world.name('orders')), unkeyedQueue(world.name('jobs'))]
    const name = world.name('worker')
    const running = await broker.start(consumer(name, [orders, jobs]).on(Placed, () => undefined))
    await broker.publish(orders, placedMany(5))
    await idle(world, broker, name)
    await running.stop()
    for (const channel of [orders, jobs]) await broker.publish(channel, placedMany(7, 1, 5))
    const found = await describeConsumer(broker, name)
    assert.equal(found.instances, 0)
    assert.deepEqual(
      new Map(found.channels.map((each) => [each.channel, each.lag])),
      new Map([
        [orders.name, 7],
        [jobs.name, 7],
      ]),
    )
  },

  'the-lag-of-a-stopped-consumer-leaves-out-what-was-done-out-of-order': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      const lag = async (): Promise<number> =>
        (await describeConsumer(broker, name)).channels.reduce((sum, each) => sum + each.lag, 0)
      const running = await broker.start(
        consumer(name, orders, { retry: { attempts: 5, backoff: 'fixed', min: '1h' } }).on(Placed, ({ data }) => {
          if (data.n === 1) throw new Error('later')
        }),
      )
      await broker.publish(orders, placedMany(40, 20))
      await world.eventually(async () => assert.equal(await lag(), 2))
      await running.stop()
      await world.eventually(async () => assert.equal(await lag(), 2))
      broker = await world.reopen(broker)
      assert.equal(await lag(), 2)
    },
  ],

  'in-flight-retrying-dead-and-parked-are-counted': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const wait = gate()
    await broker.start(
      consumer(name, orders, { retry: { attempts: 5, backoff: 'fixed', min: '1h' } }).on(Placed, async (each, ctx) => {
        if (each.data.order === 'k0') ctx.reject('bad')
        if (each.data.order === 'k1') throw new Error('later')
        await wait.opened
      }),
    )
    await broker.publish(orders, placedMany(12, 4))
    await world.eventually(async () => {
      const { inFlight, retrying, deadLetters, parked } = await describeConsumer(broker, name)
      assert.deepEqual(
        { inFlight, retrying, deadLetters, parked },
        { inFlight: 2, retrying: 1, deadLetters: 1, parked: 2 },
      )
    })
    assert.equal((await describeConsumer(broker, name)).stalled, null)
    wait.open()
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).inFlight, 0))
  },

  'dead-letters-of-a-queue-are-listed-by-consumer': async (world) => {
    const broker = await world.connect()
    const jobs = unkeyedQueue(world.name('jobs'))
    const name = world.name('worker')
    await broker.start(consumer(name, jobs).on(Placed, (_, ctx) => ctx.reject('bad')))
    await broker.publish(jobs, placedMany(4))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 4))
    assert.equal((await broker.deadLetters(name).list()).length, 4)
  },

  'a-worker-that-joins-a-queue-later-is-a-consumer-of-it': async (world) => {
    const broker = await world.connect()
    const jobs = orderQueue(world.name('jobs'))
    const [first, second] = [world.name('first'), world.name('second')]
    await broker.start(consumer(first, jobs).on(Placed, (_, ctx) => ctx.reject('bad')))
    await broker.publish(jobs, placedMany(4, 2))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, first)).parked, 2))
    const running = await broker.start(consumer(second, jobs).on(Paid, () => undefined))
    const { channels, deadLetters, parked } = await describeConsumer(broker, second)
    assert.deepEqual(
      { channels: channels.map(({ channel }) => channel), deadLetters, parked },
      { channels: [jobs.name], deadLetters: 0, parked: 0 },
    )
    await broker.consumer(second).pause()
    await running.stop()
    assert.equal((await describeConsumer(broker, second)).pause?.reason, null)
    await broker.consumer(second).remove()
    assert.equal((await describeConsumer(broker, first)).deadLetters, 2)
  },

  'rates-rise-with-traffic': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const name = world.name('worker')
    await broker.start(consumer(name, orders).on(Placed, () => undefined))
    for (let batch = 0; batch < 12; batch++) {
      await broker.publish(orders, placedMany(100, 1, batch * 100))
      await sleep(10)
    }
    await idle(world, broker, name)
    await world.eventually(async () => {
      const { channels } = await broker.describe()
      holds((channels.find((each) => each.name === orders.name)?.rate ?? 0) > 0, 'events stored a second')
      holds((await describeConsumer(broker, name)).rate > 0, 'events completed a second')
    })
  },

  'a-consumer-whose-handlers-hang-is-stalled-and-says-why': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const wait = gate()
    await broker.start(consumer(name, orders, { stall: 60 }).on(Placed, () => wait.opened))
    assert.equal((await describeConsumer(broker, name)).stalled, null)
    await broker.publish(orders, placedMany(3, 3))
    const stalled = await world.eventually(async () => (await describeConsumer(broker, name)).stalled ?? false)
    holds(stalled && /handler/.test(stalled.reason), stalled ? stalled.reason : '')
    wait.open()
    await idle(world, broker, name)
    assert.equal((await describeConsumer(broker, name)).stalled, null, 'it continues, and is no longer stalled')
  },

  'a-blocked-consumer-is-stalled-and-says-why': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    await broker.start(
      consumer(name, orders, { stall: 60, onDead: 'block', concurrency: 1 }).on(Placed, (each, ctx) =>
        each.data.n === 0 ? ctx.reject('bad') : undefined,
      ),
    )
    await broker.publish(orders, placedMany(10, 10))
    const stalled = await world.eventually(async () => (await describeConsumer(broker, name)).stalled ?? false)
    holds(stalled && /dead letter/.test(stalled.reason), stalled ? stalled.reason : '')
    await broker.deadLetters(name).drop()
    await idle(world, broker, name)
    assert.equal((await describeConsumer(broker, name)).stalled, null)
  },

  'a-consumer-that-only-retries-is-stalled-and-says-why': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    await broker.start(
      consumer(name, orders, { stall: 60, retry: { attempts: 5, backoff: 'fixed', min: '1h' } }).on(Placed, () => {
        throw new Error('the warehouse is down')
      }),
    )
    await broker.publish(orders, placedMany(3, 1))
    const stalled = await world.eventually(async () => (await describeConsumer(broker, name)).stalled ?? false)
    holds(stalled && /the warehouse is down/.test(stalled.reason), stalled ? stalled.reason : '')
  },

  'a-queue-nobody-works-on-is-stalled-and-says-why': async (world) => {
    const broker = await world.connect()
    const jobs = unkeyedQueue(world.name('jobs'))
    const name = world.name('worker')
    await broker.start(consumer(name, jobs, { stall: 60 }).on(Paid, () => undefined))
    await broker.publish(jobs, placedMany(3))
    const stalled = await world.eventually(async () => (await describeConsumer(broker, name)).stalled ?? false)
    holds(stalled ? stalled.reason.includes(jobs.name) : false, stalled ? stalled.reason : '')
  },

  'who-is-paused-or-has-nothing-to-do-is-not-stalled': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.declare(orders)
    const paused = await broker.start(consumer(world.name('paused'), orders, { stall: 50 }).on(Placed, () => undefined))
    paused.pause()
    await broker.start(consumer(world.name('idle'), orders, { stall: 50 }).on(Placed, () => undefined))
    await broker.publish(orders, placedMany(3))
    await sleep(150)
    for (const name of ['paused', 'idle'])
      assert.equal((await describeConsumer(broker, world.name(name))).stalled, null)
  },

  'instances-of-one-consumer-that-differ-raise-an-alarm': async (world) => {
    const broker = await world.connect()
    const [orders, others] = [orderStream(world.name('orders')), orderStream(world.name('others'))]
    await broker.declare(orders, others)
    const name = world.name('worker')
    const told = async (): Promise<string> => {
      const { alarms } = await broker.describe()
      return (
        alarms.find(({ code, message }) => code === 'CONSUMER_DIFFERS' && message.includes(`"${name}"`))?.message ?? ''
      )
    }
    await broker.start(consumer(name, orders).on(Placed, () => undefined))
    const alike = await broker.start(consumer(name, orders, { concurrency: 2 }).on(Placed, () => undefined))
    await sleep(2 * world.patience.quietMs)
    assert.equal(await told(), '', 'concurrency is each instance its own')
    await alike.stop()
    for (const [part, differing] of [
      ['channels', consumer(name, [orders, others]).on(Placed, () => undefined)],
      ['handle', consumer(name, orders).on(Paid, () => undefined)],
      ['onDead', consumer(name, orders, { onDead: 'skip' }).on(Placed, () => undefined)],
      ['retry.attempts', consumer(name, orders, { retry: { attempts: 3 } }).on(Placed, () => undefined)],
    ] as const) {
      const running = await broker.start(differing)
      await world.eventually(async () => holds((await told()).includes(part), `an alarm that names ${part}`))
      await running.stop()
      await world.eventually(async () => assert.equal(await told(), ''))
    }
  },

  'the-engine-says-what-it-can-do': async (world) => {
    const broker = await world.connect()
    const { engine, capabilities, alarms } = await broker.describe()
    holds(engine.length > 0)
    assert.deepEqual(Object.keys(capabilities), Object.keys(CLAUSES))
    for (const [number, { support, reason }] of Object.entries(capabilities)) {
      holds(['native', 'emulated', 'refused'].includes(support), `clause ${number}`)
      holds(reason.length > 10, `clause ${number} says how`)
    }
    assert.deepEqual(alarms, [])
  },

  'a-channel-is-described-alone': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const others = unkeyedQueue(world.name('others'))
    await broker.declare(orders, others)
    await broker.publish(orders, placedMany(10))
    const channel = broker.channel(orders)
    const all = (await broker.describe()).channels.find(({ name }) => name === orders.name)
    holds(all, `describe() lists ${orders.name}`)
    const { scheduled: _, ...expected } = all
    assert.deepEqual({ ...(await channel.describe()), rate: 0, bytes: 0 }, { ...expected, rate: 0, bytes: 0 })
    assert.deepEqual(await channel.bounds(), { first: all.first, next: all.next })
    const read: number[] = []
    for await (const { data } of channel.read()) read.push((data as { n: number }).n)
    assert.deepEqual(read, numbers(10))
    await broker.channel(others.name).remove()
    await assert.rejects(broker.channel(others).describe(), { code: 'UNKNOWN_CHANNEL' })
    await assert.rejects(broker.channel(others).bounds(), { code: 'UNKNOWN_CHANNEL' })
  },

  'a-consumer-is-described-alone': async (world) => {
    const broker = await world.connect()
    const [orders, jobs] = [orderStream(world.name('orders')), orderQueue(world.name('jobs'))]
    const name = world.name('worker')
    const worker = broker.consumer(name)
    await assert.rejects(worker.describe(), { code: 'UNKNOWN_CONSUMER' })
    const running = await broker.start(
      consumer(name, [orders, jobs]).on(Placed, (each, ctx) => (each.data.n === 0 ? ctx.reject('bad') : undefined)),
    )
    for (const channel of [orders, jobs]) await broker.publish(channel, placedMany(4, 2))
    await world.eventually(async () => {
      const { channels, deadLetters, parked } = await worker.describe()
      assert.deepEqual([deadLetters, parked, ...channels.map(({ lag }) => lag)], [2, 2, 0, 0])
    })
    await running.stop()
    await worker.pause({ reason: 'the bank is down' })
    const described = await worker.describe()
    assert.equal(described.pause?.reason, 'the bank is down')
    assert.deepEqual({ ...described, rate: 0 }, { ...(await describeConsumer(broker, name)), rate: 0 })
    assert.equal((await worker.deadLetters.list()).length, 2)
    await worker.resume()
    assert.equal((await worker.describe()).pause, null)
    await worker.remove()
    await assert.rejects(worker.describe(), { code: 'UNKNOWN_CONSUMER' })
  },

  'alarms-are-listed-alone': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const about = async (): Promise<readonly string[]> =>
      (await broker.alarms()).flatMap(({ code, message }) => (message.includes(`"${name}"`) ? [code] : []))
    await broker.start(consumer(name, orders).on(Placed, () => undefined))
    assert.deepEqual(await about(), [])
    const differing = await broker.start(consumer(name, orders, { onDead: 'skip' }).on(Placed, () => undefined))
    await world.eventually(async () => assert.deepEqual(await about(), ['CONSUMER_DIFFERS']))
    await differing.stop()
    await world.eventually(async () => assert.deepEqual(await about(), []))
  },

  'describe-is-plain-data': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    await broker.start(consumer(world.name('worker'), notes).on(Note, (_, ctx) => ctx.reject('bad')))
    await broker.publish(notes, Note(1))
    await world.eventually(async () =>
      assert.equal((await describeConsumer(broker, world.name('worker'))).deadLetters, 1),
    )
    const described = await broker.describe()
    assert.deepEqual(JSON.parse(JSON.stringify(described)), described)
    const letters = await broker.deadLetters(world.name('worker')).list()
    assert.deepEqual(JSON.parse(JSON.stringify(letters)), letters)
  },

  'what-is-described-survives-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      await broker.start(
        consumer(name, orders).on(Placed, (each, ctx) => (each.data.n === 1 ? ctx.reject('bad') : undefined)),
      )
      await broker.publish(orders, placedMany(12, 3))
      const before = await world.eventually(async () => {
        const now = await describeConsumer(broker, name)
        assert.deepEqual([now.parked, ...now.channels.map(({ lag }) => lag)], [3, 0])
        return now
      })
      const channel = (await broker.describe()).channels.find((each) => each.name === orders.name)
      broker = await world.reopen(broker)
      const after = await describeConsumer(broker, name)
      assert.deepEqual([after.instances, after.deadLetters, after.parked], [0, 1, 3])
      assert.deepEqual(
        after.channels.map((each) => [each.channel, each.lag]),
        before.channels.map((each) => [each.channel, each.lag]),
      )
      const again = (await broker.describe()).channels.find((each) => each.name === orders.name)
      holds(again && channel)
      assert.deepEqual({ ...again, rate: 0, bytes: 0 }, { ...channel, rate: 0, bytes: 0 })
      const [was, is] = [channel.bytes ?? 0, again.bytes ?? 0]
      holds(is > was / 2 && is < was * 2, `${was} bytes became ${is}`)
    },
  ],
})

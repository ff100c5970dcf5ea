/**
 * Clause 4, order by key: within a consumer, events of one key are handled one at a time in publish order, whatever
 * fails and whichever instances come and go. Different keys run in parallel, up to `concurrency`, across all instances.
 */
import assert from 'node:assert/strict'
import { ConnectedBroker } from '../../../broker/connected-broker.ts'
import { engineOf } from '../../../broker/engine-of.ts'
import { queue, stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import { event } from '../../../event/event.ts'
import {
  Calls,
  Gauge,
  gate,
  HASTY,
  hang,
  idle,
  Note,
  numbers,
  offsetOf,
  orderQueue,
  orderStream,
  Placed,
  placed,
  placedMany,
  QUICK,
  unkeyedStream,
} from '../fixtures.ts'
import { KeyWatch } from '../key-watch.ts'
import { randomFrom } from '../random.ts'
import { RandomHistory } from '../random-history.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep } from '../world.ts'

export const orderByKey: readonly Scenario[] = clause(4, {
  'one-key-is-handled-in-publish-order': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const watch = new KeyWatch()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 50 }).on(Placed, (each, ctx) =>
        watch.handle(each, ctx, () => Promise.resolve()),
      ),
    )
    for (const each of placedMany(300)) void broker.publish(orders, each)
    await watch.done.reach(world, 300)
    watch.check(300, 1)
  },

  'publishes-of-one-producer-keep-their-order': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const receipts = await Promise.all(placedMany(2000, 10).map((each) => broker.publish(orders, each)))
    const offsets = receipts.map(offsetOf)
    assert.deepEqual(
      offsets,
      [...offsets].sort((a, b) => a - b),
      'unawaited publishes are stored in the order of the calls',
    )
  },

  'keys-run-in-parallel-up-to-concurrency': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const gauge = new Gauge()
    const wait = gate()
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 8 }).on(Placed, (each, ctx) =>
        gauge.during(async () => {
          calls.add(each, ctx)
          await wait.opened
        }),
      ),
    )
    await broker.publish(orders, placedMany(60, 20))
    await world.eventually(() => assert.equal(gauge.now, 8))
    await world.quiet()
    assert.equal(gauge.max, 8)
    assert.equal(new Set(calls.all.map((call) => call.order)).size, 8, 'eight at once are of eight keys')
    wait.open()
    await calls.reach(world, 60)
    assert.equal(gauge.max, 8)
  },

  'keys-run-in-parallel-across-instances': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const watch = new KeyWatch()
    const all = new Gauge()
    const each = [new Gauge(), new Gauge(), new Gauge()]
    const wait = gate()
    for (const gauge of each) {
      await broker.start(
        consumer(world.name('worker'), orders, { concurrency: 4 }).on(Placed, (given, ctx) =>
          watch.handle(given, ctx, () => all.during(() => gauge.during(() => wait.opened))),
        ),
      )
    }
    await broker.publish(orders, placedMany(120, 40))
    await world.eventually(() =>
      assert.deepEqual(
        each.map((gauge) => gauge.now),
        [4, 4, 4],
      ),
    )
    await world.quiet()
    wait.open()
    await watch.done.reach(world, 120)
    await idle(world, broker, world.name('worker'))
    assert.equal(all.max, 12)
    assert.deepEqual(
      each.map((gauge) => gauge.max),
      [4, 4, 4],
    )
    watch.check(120, 40)
  },

  'one-key-never-runs-twice-at-once-in-any-instance': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const watch = new KeyWatch()
    for (let at = 0; at < 4; at++) {
      await broker.start(
        consumer(world.name('worker'), orders, { concurrency: 8 }).on(Placed, (each, ctx) =>
          watch.handle(each, ctx, () => sleep(each.data.n % 3)),
        ),
      )
    }
    for (let batch = 0; batch < 10; batch++) await broker.publish(orders, placedMany(30, 3, batch * 30))
    await watch.done.reach(world, 300)
    watch.check(300, 3)
  },

  'events-without-a-key-run-in-parallel': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const gauge = new Gauge()
    const wait = gate()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 6 }).on(Placed, () => gauge.during(() => wait.opened)),
    )
    await broker.publish(orders, placedMany(12))
    await world.eventually(() => assert.equal(gauge.now, 6))
    wait.open()
    await idle(world, broker, world.name('worker'))
    assert.equal(gauge.max, 6)
  },

  'failing-event-holds-back-its-own-key-only': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    let broken = true
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 4, retry: { attempts: 1000, ...QUICK } }).on(
        Placed,
        (each, ctx) => {
          if (each.data.n === 0 && broken) throw new Error('broken for now')
          calls.add(each, ctx)
        },
      ),
    )
    await broker.publish(orders, placedMany(100, 10))
    await calls.reach(world, 90)
    await world.quiet()
    assert.deepEqual(calls.of('k0'), [], 'nothing of the failing key passes')
    assert.equal(calls.length, 90, 'everything else does')
    broken = false
    await calls.reach(world, 100)
    assert.deepEqual(
      calls.of('k0'),
      numbers(10).map((n) => n * 10),
    )
  },

  'a-slow-key-does-not-hold-back-others': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    const wait = gate()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 2 }).on(Placed, async (each, ctx) => {
        if (each.data.order === 'slow') await wait.opened
        calls.add(each, ctx)
      }),
    )
    await broker.publish(
      orders,
      numbers(500).map((n) => placed('slow', n)),
    )
    await broker.publish(orders, placedMany(500, 20))
    await calls.reach(world, 500)
    assert.deepEqual(calls.of('slow'), [])
    wait.open()
    await calls.reach(world, 1000)
    assert.deepEqual(calls.of('slow'), numbers(500))
  },

  'the-next-attempt-waits-until-a-timed-out-handler-has-ended': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    const [aborted, ended] = [gate(), gate()]
    const watch = new KeyWatch()
    await broker.start(
      consumer(name, orders, { timeout: 100, retry: { attempts: 5, ...QUICK } }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        return watch.handle(each, ctx, async () => {
          if (each.data.n > 0 || ctx.attempt > 1) return
          await hang(ctx.signal).catch(() => aborted.open())
          await ended.opened
          throw new Error('it ends late')
        })
      }),
    )
    // Three events of one key, and then others. When the others are handled, a wrong fourth call would have had time to
    // happen.
    await broker.publish(orders, placedMany(3, 1))
    await aborted.opened
    await broker.publish(orders, [placed('other', 3), placed('other', 4)])
    await calls.reach(world, 3)
    await sleep(world.patience.quietMs)
    assert.deepEqual(
      calls.all.map((call) => call.n),
      [0, 3, 4],
    )
    ended.open()
    await idle(world, broker, name)
    assert.deepEqual(watch.wrong, [])
    assert.deepEqual(
      calls.all.filter((call) => call.key !== 'other').map((call) => [call.n, call.attempt]),
      [
        [0, 1],
        [0, 2],
        [1, 1],
        [2, 1],
      ],
    )
  },

  'order-is-kept-under-random-failures': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const watch = new KeyWatch()
    const random = randomFrom(4)
    for (let at = 0; at < 3; at++) {
      await broker.start(
        consumer(world.name('worker'), orders, { concurrency: 8, retry: { attempts: 1000, min: 1, max: 5 } }).on(
          Placed,
          (each, ctx) =>
            watch.handle(each, ctx, async () => {
              if (random.chance(0.3)) await sleep(random.below(3))
              if (random.chance(0.3)) throw new Error('by chance')
            }),
        ),
      )
    }
    for (let batch = 0; batch < 10; batch++)
      await Promise.all(placedMany(50, 20, batch * 50).map((each) => broker.publish(orders, each)))
    await watch.done.reach(world, 500)
    await idle(world, broker, world.name('worker'))
    watch.check(500, 20)
  },

  'order-is-kept-on-a-queue': async (world) => {
    const broker = await world.connect()
    const jobs = orderQueue(world.name('jobs'))
    const watch = new KeyWatch()
    const random = randomFrom(44)
    for (let at = 0; at < 3; at++) {
      await broker.start(
        consumer(world.name('worker'), jobs, { concurrency: 4, retry: { attempts: 1000, min: 1, max: 5 } }).on(
          Placed,
          (each, ctx) =>
            watch.handle(each, ctx, async () => {
              if (random.chance(0.2)) throw new Error('by chance')
            }),
        ),
      )
    }
    await broker.publish(jobs, placedMany(300, 12))
    await watch.done.reach(world, 300)
    await idle(world, broker, world.name('worker'))
    watch.check(300, 12)
  },

  'order-is-kept-in-handler-batches': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const done = new Map<string, number[]>()
    const random = randomFrom(444)
    const wrong: string[] = []
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 4, retry: { attempts: 1000, min: 1, max: 5 } }).onBatch(
        Placed,
        { size: 8 },
        async (events) => {
          const failed = new Set<string>()
          await sleep(random.below(3))
          return events.map(({ data: { order, n } }) => {
            const sofar = done.get(order) ?? []
            if (failed.has(order) || random.chance(0.15)) {
              failed.add(order)
              return new Error('by chance')
            }
            if ((sofar.at(-1) ?? -1) >= n) wrong.push(`${order}: ${n} after ${sofar.at(-1)}`)
            done.set(order, [...sofar, n])
            return 'done'
          })
        },
      ),
    )
    for (let batch = 0; batch < 10; batch++) await broker.publish(orders, placedMany(60, 6, batch * 60))
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(wrong, [])
    for (let key = 0; key < 6; key++)
      assert.deepEqual(
        done.get(`k${key}`),
        numbers(600).filter((n) => n % 6 === key),
      )
  },

  'what-a-batch-calls-done-behind-a-failure-comes-again': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.publish(orders, placedMany(5))
    const given: number[] = []
    let failed = false
    await broker.start(
      consumer(world.name('worker'), orders, { retry: QUICK }).onBatch(Placed, { size: 5 }, (events) => {
        given.push(...events.map((each) => each.data.n))
        return events.map(({ data: { n } }) => {
          if (n !== 2 || failed) return 'done'
          failed = true
          return new Error('the third of five')
        })
      }),
    )
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(
      given.filter((n) => n < 2),
      [0, 1],
      'what came before the failure is done',
    )
    const from = given.lastIndexOf(2)
    assert.deepEqual(given.slice(from), [2, 3, 4], 'what came after it in the batch is handled after it again')
  },

  'order-is-kept-while-instances-come-and-go': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const watch = new KeyWatch()
    const start = () =>
      broker.start(
        consumer(world.name('worker'), orders, { concurrency: 4, retry: { attempts: 1000, min: 1, max: 5 } }).on(
          Placed,
          (each, ctx) => watch.handle(each, ctx, () => sleep(each.data.n % 4)),
        ),
      )
    let published = 0
    const stay = await start()
    for (let round = 0; round < 8; round++) {
      const guest = await start()
      await broker.publish(orders, placedMany(50, 10, published))
      published += 50
      await watch.done.reach(world, published - 25)
      await guest.stop()
    }
    await watch.done.reach(world, published)
    await stay.stop()
    watch.check(published, 10)
  },

  'a-random-history-with-failures-has-no-anomaly': async (world) => {
    await new RandomHistory(world, await world.connect(), {
      seed: 4,
      producers: 4,
      eventsEach: 60,
      keys: 5,
      failing: 0.2,
      changes: 6,
      reopenings: 0,
    }).check()
  },

  'order-is-kept-across-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const watch = new KeyWatch()
      for (let round = 0; round < 4; round++) {
        await broker.publish(orders, placedMany(50, 5, round * 50))
        await broker.start(
          consumer(world.name('worker'), orders, { concurrency: 4, ...HASTY, retry: QUICK }).on(Placed, (each, ctx) =>
            watch.handle(each, ctx, () =>
              each.data.n >= round * 50 + 30 && round < 3 ? hang(ctx.signal) : Promise.resolve(),
            ),
          ),
        )
        await watch.done.reach(world, round < 3 ? round * 50 + 26 : 200)
        if (round < 3) broker = await world.reopen(broker)
      }
      watch.check(200, 5)
    },
  ],

  'order-per-type-among-sixteen': async (world) => {
    const broker = await world.connect()
    const kinds = numbers(16).map((at) => event(`kind.k${at}`))
    const mixed = stream(world.name('mixed'), { key: (each) => each.type })
    const seen = new Map<string, number[]>()
    let worker = consumer(world.name('worker'), mixed, { concurrency: 16 })
    for (const kind of kinds)
      worker = worker.on(kind, ({ type, data }) => void seen.set(type, [...(seen.get(type) ?? []), data as number]))
    await broker.start(worker)
    const published = numbers(960).map((n) => broker.publish(mixed, (kinds[n % 16] as (typeof kinds)[0])(n)))
    await Promise.all(published)
    await idle(world, broker, world.name('worker'))
    for (const [at, kind] of kinds.entries())
      assert.deepEqual(
        seen.get(kind.type),
        numbers(960).filter((n) => n % 16 === at),
      )
  },

  'partitionkey-is-the-key-where-the-channel-has-none': async (world) => {
    const broker = await world.connect()
    const seen: (readonly [channel: string, key: string | null])[] = []
    const [notes, jobs] = [stream(world.name('notes')), queue(world.name('jobs'))]
    for (const channel of [notes, jobs])
      await broker.start(
        consumer(world.name(`on-${channel.kind}`), channel).on(
          Note,
          (_, ctx) => void seen.push([channel.kind, ctx.key]),
        ),
      )
    for (const channel of [notes, jobs]) {
      await broker.publish(channel, Note('with', { partitionkey: 'p-1' }))
      await broker.publish(channel, Note('without'))
    }
    await world.eventually(() => assert.equal(seen.length, 4))
    for (const kind of ['stream', 'queue']) {
      assert.deepEqual(new Set(seen.filter(([of]) => of === kind).map(([, key]) => key)), new Set(['p-1', null]))
    }
    const none = stream(world.name('none'), { key: false })
    const keys: (string | null)[] = []
    await broker.start(consumer(world.name('on-none'), none).on(Note, (_, ctx) => void keys.push(ctx.key)))
    await broker.publish(none, Note('here', { partitionkey: 'p-1' }))
    // A second broker on the same engine knows the channel by its stored declaration only.
    const other = new ConnectedBroker(engineOf(broker), { source: '/other', random: Math.random })
    await other.publish(none.name, Note('by name', { partitionkey: 'p-1' }))
    await world.eventually(() => assert.deepEqual(keys, [null, null], 'with `key: false` no event has a key'))
  },
})

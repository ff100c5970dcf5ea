/** Clause 5, retry: how often and when an event is tried again, and what counts as an attempt. */
import assert from 'node:assert/strict'
import { engineOf } from '../../../broker/engine-of.ts'
import type { RetryingEvent } from '../../../broker/inspection.ts'
import { consumer } from '../../../consumer/consumer.ts'
import type { ConsumerHooks } from '../../../consumer/consumer-types.ts'
import {
  Calls,
  describeConsumer,
  gate,
  HASTY,
  hang,
  holds,
  idle,
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

export const retry: readonly Scenario[] = clause(5, {
  'events-that-wait-for-an-attempt-are-listed-and-where-the-consumer-began-is-known': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    await broker.start(
      consumer(name, orders, { retry: { attempts: 5, backoff: 'fixed', min: '1h' } }).on(Placed, () => {
        throw new Error('the bank is down')
      }),
    )
    const receipts = await broker.publish(orders, placedMany(6, 3))
    const retries = (limit: number): Promise<RetryingEvent[]> => engineOf(broker).consumers.retries(name, limit)
    await world.eventually(async () => assert.equal((await retries(10)).length, 3))
    const [first, second] = await retries(10)
    assert.ok(first !== undefined && second !== undefined)
    assert.deepEqual([first.channel, first.attempts, first.failure.message], [orders.name, 1, 'the bank is down'])
    holds(first.dueAtMs <= second.dueAtMs && first.dueAtMs > Date.now(), 'the soonest first')
    assert.deepEqual(await retries(1), [first])
    const { channels } = await describeConsumer(broker, name)
    const began = channels[0]?.began ?? Number.NaN
    holds(began >= 0, 'it is known where the consumer began')
    holds(began <= Math.min(...receipts.map(({ offset }) => offset ?? Number.NaN)), 'it began before the first event')
    await refused(() => engineOf(broker).consumers.retries(world.name('nobody'), 1), 'UNKNOWN_CONSUMER')
  },

  'while-a-circuit-breaker-is-open-no-event-uses-an-attempt': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    let down = true
    await broker.start(
      consumer(name, orders, {
        concurrency: 1,
        retry: { attempts: 1000, ...QUICK },
        breaker: { failures: 3, wait: '150ms', max: '150ms' },
      }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        if (down) throw new Error('down')
      }),
    )
    await broker.publish(orders, placedMany(20, 20))
    await world.eventually(() => holds(calls.length >= 5, 'two probes after the three attempts that opened it'))
    const alarms = (await broker.describe()).alarms.map(({ code }) => code)
    assert.deepEqual(alarms, ['CIRCUIT_OPEN'])
    const spans = calls.all.slice(3).map(({ atMs }, index) => atMs - (calls.all[index + 2]?.atMs ?? 0))
    holds(
      spans.every((span) => span > 100),
      `a probe came without a wait: ${spans.join(', ')}`,
    )
    down = false
    await calls.reach(world, 20 + calls.length)
    await idle(world, broker, name)
    assert.deepEqual((await broker.describe()).alarms, [])
    assert.equal((await describeConsumer(broker, name)).deadLetters, 0)
  },

  'attempts-are-counted-and-limited': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    await broker.start(
      consumer(name, orders, { retry: { attempts: 4, ...QUICK } }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        throw new Error('always')
      }),
    )
    await broker.publish(orders, placed('a', 0))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 1))
    await world.quiet()
    assert.deepEqual(
      calls.all.map((call) => call.attempt),
      [1, 2, 3, 4],
    )
  },

  'attempts-are-counted-for-each-event': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { retry: { attempts: 20, ...QUICK } }).on(Placed, (each, ctx) => {
        calls.add(each, ctx)
        if (ctx.attempt <= each.data.n) throw new Error('not yet')
      }),
    )
    await broker.publish(orders, placedMany(8))
    await idle(world, broker, world.name('worker'))
    for (const n of numbers(8))
      assert.deepEqual(
        calls.all.filter((call) => call.n === n).map((call) => call.attempt),
        numbers(n + 2, 1),
      )
  },

  'only-the-failed-consumer-retries': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const [good, bad] = [new Calls(), new Calls()]
    await broker.start(consumer(world.name('good'), orders).on(Placed, good.handler))
    await broker.start(
      consumer(world.name('bad'), orders, { retry: QUICK }).on(Placed, (each, ctx) => {
        bad.add(each, ctx)
        if (ctx.attempt < 3) throw new Error('twice')
      }),
    )
    await broker.publish(orders, placedMany(10, 10))
    await bad.reach(world, 30)
    await idle(world, broker, world.name('bad'))
    assert.deepEqual([good.length, bad.length], [10, 30])
  },

  'a-fixed-backoff-waits-as-long-each-time': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { retry: { attempts: 4, backoff: 'fixed', min: 60 } }).on(
        Placed,
        (each, ctx) => {
          calls.add(each, ctx)
          if (ctx.attempt < 4) throw new Error('again')
        },
      ),
    )
    await broker.publish(orders, placed('a', 0))
    await calls.reach(world, 4)
    const gaps = calls.all.slice(1).map((call, at) => call.atMs - (calls.all[at]?.atMs ?? 0))
    for (const gap of gaps) holds(gap >= 55, `waited ${gap} ms instead of 60`)
  },

  'an-exponential-backoff-spreads-the-attempts': async (world) => {
    const broker = await world.connect()
    const orders = unkeyedStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { concurrency: 50, retry: { attempts: 4, min: 20, max: 40 } }).on(
        Placed,
        (each, ctx) => {
          calls.add(each, ctx)
          if (ctx.attempt < 4) throw new Error('again')
        },
      ),
    )
    await broker.publish(orders, placedMany(30))
    await calls.reach(world, 120)
    const waits = numbers(30)
      .map((n) => calls.all.filter((call) => call.n === n))
      .map((each) => (each[3]?.atMs ?? 0) - (each[0]?.atMs ?? 0))
    holds(new Set(waits).size > 3, `full jitter spreads the attempts; all waited ${[...new Set(waits)].join(', ')} ms`)
  },

  'a-backoff-function-is-given-attempt-and-error': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const asked: (readonly [attempt: number, message: string])[] = []
    const backoff = (attempt: number, error: unknown): number => {
      asked.push([attempt, (error as Error).message])
      return 1
    }
    await broker.start(
      consumer(world.name('worker'), orders, { retry: { attempts: 3, backoff } }).on(Placed, (_, ctx) => {
        throw new Error(`failure ${ctx.attempt}`)
      }),
    )
    await broker.publish(orders, placed('a', 0))
    await world.eventually(async () =>
      assert.equal((await describeConsumer(broker, world.name('worker'))).deadLetters, 1),
    )
    assert.deepEqual(asked, [
      [1, 'failure 1'],
      [2, 'failure 2'],
    ])
  },

  'a-backoff-function-that-fails-does-not-lose-the-event': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const backoff = (attempt: number): number => {
      if (attempt === 1) throw new Error('no table for it')
      return 1
    }
    await broker.start(
      consumer(world.name('worker'), orders, { retry: { attempts: 3, min: 1, max: 2, backoff } }).on(
        Placed,
        (_, ctx) => {
          if (ctx.attempt > 1) ctx.reject('enough')
          throw new Error('the handler failed')
        },
      ),
    )
    await broker.publish(orders, placed('a', 0))
    await world.eventually(async () =>
      assert.equal((await describeConsumer(broker, world.name('worker'))).deadLetters, 1),
    )
    const [dead] = await broker.deadLetters(world.name('worker')).list()
    assert.equal(dead?.attempts, 2, 'the event was tried again')
    assert.equal(dead?.failure.message, 'enough')
  },

  'retry-after-uses-the-handlers-own-delay': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    await broker.start(
      consumer(world.name('worker'), orders, { retry: { attempts: 3, min: '1h', max: '2h' } }).on(
        Placed,
        (each, ctx) => {
          calls.add(each, ctx)
          if (ctx.attempt === 1) ctx.retryAfter(70, 'not ready')
        },
      ),
    )
    await broker.publish(orders, placed('a', 0))
    await calls.reach(world, 2)
    const gap = (calls.all[1]?.atMs ?? 0) - (calls.all[0]?.atMs ?? 0)
    holds(gap >= 65, `waited ${gap} ms instead of 70`)
    assert.equal(calls.all[1]?.attempt, 2)
  },

  'attempts-move-between-instances': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const attempts: number[] = []
    for (let at = 0; at < 4; at++) {
      const running = await broker.start(
        consumer(world.name('worker'), orders, { retry: { attempts: 10, min: 30, max: 30, backoff: 'fixed' } }).on(
          Placed,
          (_, ctx) => {
            attempts.push(ctx.attempt)
            throw new Error('again')
          },
        ),
      )
      if (at === 0) await broker.publish(orders, placed('a', 0))
      const before = attempts.length
      await world.eventually(() => holds(attempts.length > before))
      await running.stop()
    }
    assert.deepEqual(attempts, numbers(attempts.length + 1, 1))
  },

  'a-release-at-stop-does-not-count': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const attempts: number[] = []
    for (let at = 0; at < 3; at++) {
      const running = await broker.start(
        consumer(world.name('worker'), orders, HASTY).on(Placed, async (_, ctx) => {
          attempts.push(ctx.attempt)
          await hang(ctx.signal)
        }),
      )
      if (at === 0) await broker.publish(orders, placed('a', 0))
      await world.eventually(() => assert.equal(attempts.length, at + 1))
      assert.equal((await running.stop()).released, 1)
    }
    assert.deepEqual(attempts, [1, 1, 1])
  },

  'attempts-survive-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      const attempts: number[] = []
      await broker.publish(orders, placed('a', 0))
      for (let round = 0; round < 3; round++) {
        const before = attempts.length
        await broker.start(
          consumer(name, orders, { ...HASTY, retry: { attempts: 100, backoff: 'fixed', min: 25 } }).on(
            Placed,
            (_, ctx) => {
              attempts.push(ctx.attempt)
              throw new Error('again')
            },
          ),
        )
        await world.eventually(() => holds(attempts.length >= before + 2))
        broker = await world.reopen(broker)
      }
      assert.deepEqual(attempts, numbers(attempts.length + 1, 1))
    },
  ],

  'a-backoff-survives-reopen': [
    ['reopen'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const calls = new Calls()
      const start = () =>
        broker.start(
          consumer(world.name('worker'), orders, { retry: { attempts: 5, backoff: 'fixed', min: 400 } }).on(
            Placed,
            (each, ctx) => {
              calls.add(each, ctx)
              if (ctx.attempt === 1) throw new Error('again')
            },
          ),
        )
      await start()
      await broker.publish(orders, placed('a', 0))
      await calls.reach(world, 1)
      broker = await world.reopen(broker)
      await start()
      await calls.reach(world, 2)
      const gap = (calls.all[1]?.atMs ?? 0) - (calls.all[0]?.atMs ?? 0)
      holds(gap >= 390, `reopening cut the backoff of 400 ms to ${gap} ms`)
    },
  ],

  'an-event-that-kills-its-worker-is-dead-lettered-in-the-end': [
    ['crash'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('worker')
      const innocent = new Set<number>()
      let killers = 0
      const told: string[] = []
      const on: ConsumerHooks = { dead: ({ id, attempt, failure }) => told.push(`${id} ${attempt} ${failure.kind}`) }
      await broker.publish(orders, placedMany(10, 10))
      for (let crashes = 0; crashes < 12; crashes++) {
        const began = gate()
        await broker.start(
          consumer(name, orders, { ...HASTY, retry: { attempts: 3, ...QUICK }, on }).on(Placed, async (each) => {
            if (each.data.n !== 5) return void innocent.add(each.data.n)
            killers++
            began.open()
            await new Promise(() => undefined)
          }),
        )
        const dead = (async () => {
          await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 1))
          return 'dead'
        })().catch(() => 'alive')
        if ((await Promise.race([began.opened, dead])) === 'dead') break
        await world.quiet()
        broker = await world.crash()
      }
      const [letter, ...others] = await broker.deadLetters(name).list()
      assert.equal(
        letter === undefined ? undefined : JSON.parse(letter.text).data.n,
        5,
        'the event that kills its worker ends among the dead letters',
      )
      assert.equal(letter?.failure.kind, 'crash')
      assert.deepEqual(others, [], 'no innocent event is blamed')
      await world.eventually(() =>
        assert.deepEqual(told, [`${letter?.id} 3 crash`], 'the hook of dead letters is told, once'),
      )
      holds(killers >= 2 && killers <= 6, `it ran ${killers} times, with 3 attempts`)
      await world.eventually(() =>
        assert.deepEqual(
          [...innocent].sort(),
          numbers(10).filter((n) => n !== 5),
        ),
      )
    },
  ],

  'a-stopped-consumers-backoff-goes-on': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    const start = () =>
      broker.start(
        consumer(world.name('worker'), orders, { retry: { attempts: 5, ...QUICK } }).on(Placed, (each, ctx) => {
          calls.add(each, ctx)
          if (ctx.attempt === 1) throw new Error('once')
        }),
      )
    const running = await start()
    await broker.publish(orders, placedMany(3, 1))
    await calls.reach(world, 1)
    await running.stop()
    await world.quiet()
    await start()
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(
      calls.all.filter((call) => call.attempt === 2).map((call) => call.n),
      [0, 1, 2],
    )
  },
})

/**
 * Clause 11, leases: a handler may run for hours while its process lives. The events of a dead or hung process go to
 * another, and its late results are refused.
 *
 * A hung process is simulated by two subscriptions at the port, of which one is not renewed.
 */
import assert from 'node:assert/strict'
import { isMillraceError } from '../../../base/errors.ts'
import { queue, stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import {
  Calls,
  describeConsumer,
  gate,
  hang,
  holds,
  idle,
  numbers,
  orderStream,
  Placed,
  placed,
  placedMany,
  QUICK,
} from '../fixtures.ts'
import { encoded, failure, nothing, Port } from '../port.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep } from '../world.ts'

/** Short enough to wait for, and long enough for a busy machine. */
const LEASE_MS = 300

export const leases: readonly Scenario[] = clause(11, {
  'a-handler-may-run-longer-than-its-lease': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const calls = new Calls()
    for (let at = 0; at < 2; at++) {
      await broker.start(
        consumer(world.name('worker'), orders, { lease: LEASE_MS }).on(Placed, async (each, ctx) => {
          calls.add(each, ctx)
          await sleep(LEASE_MS * 4)
          assert.equal(ctx.signal.aborted, false)
        }),
      )
    }
    await broker.publish(orders, placedMany(4, 4))
    await idle(world, broker, world.name('worker'))
    assert.deepEqual(calls.sorted, numbers(4), 'each was handled once')
  },

  'a-hung-instances-events-go-to-another': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, stream(world.name('orders')))
      const hung = await port.subscribe({ leaseMs: LEASE_MS, credit: 10, renews: true })
      await port.publish(5)
      await world.eventually(() => assert.equal(hung.held.length, 5))
      hung.hang()
      const live = await port.subscribe({ leaseMs: LEASE_MS, credit: 10, renews: true, completes: nothing })
      await world.eventually(() => assert.equal(live.given.length, 5))
      assert.deepEqual(
        live.given.map((delivery) => delivery.offset).sort((a, b) => a - b),
        hung.given.map((delivery) => delivery.offset).sort((a, b) => a - b),
      )
      assert.deepEqual(
        live.given.map((delivery) => delivery.attempt),
        [2, 2, 2, 2, 2],
        'an attempt has been used',
      )
      assert.equal(hung.revoked.length, 5, 'it is told')
      await world.quiet()
      assert.equal(live.given.length, 5, 'each is done once')
    },
  ],

  'what-a-lost-lease-settles-late-is-refused': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, stream(world.name('orders')))
      const hung = await port.subscribe({ leaseMs: LEASE_MS, credit: 10, renews: true })
      await port.publish(4)
      await world.eventually(() => assert.equal(hung.given.length, 4))
      hung.hang()
      await world.eventually(() => assert.equal(hung.revoked.length, 4))
      const [a, b, c, d] = hung.given as [never, never, never, never]
      const late = hung.subscription
      assert.deepEqual(
        [
          late.complete(a, null),
          late.retry(b, 0, failure('late')),
          late.deadLetter(c, failure('late')),
          late.release(d),
        ],
        [false, false, false, false],
      )
      await late.flushed()
      assert.deepEqual(await port.engine.consumers.deadLetters(port.consumer, {}), [])
      const live = await port.subscribe({ leaseMs: LEASE_MS, credit: 10, renews: true, completes: nothing })
      await world.eventually(() => assert.equal(live.given.length, 4))
      assert.deepEqual(
        live.given.map((delivery) => live.subscription.complete(delivery, null)),
        [false, false, false, false],
        'each is settled once',
      )
    },
  ],

  'a-hung-instance-is-given-nothing-until-it-renews': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, stream(world.name('orders')))
      const hung = await port.subscribe({ leaseMs: LEASE_MS, credit: 10, renews: true })
      await port.publish(3)
      await world.eventually(() => assert.equal(hung.given.length, 3))
      hung.hang()
      await world.eventually(() => assert.equal(hung.revoked.length, 3))
      await sleep(LEASE_MS * 2)
      assert.equal(hung.given.length, 3, 'what was taken from it is not given to it again')
      await port.publish(2)
      await world.quiet()
      assert.equal(hung.given.length, 3, 'nor is anything new')
      hung.subscription.renew()
      await world.eventually(() => holds(hung.given.length > 3, 'it lives'))
    },
  ],

  'an-instance-that-renews-keeps-its-events': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, stream(world.name('orders')))
      const holder = await port.subscribe({ leaseMs: LEASE_MS, credit: 3, renews: true })
      await port.publish(3)
      await world.eventually(() => assert.equal(holder.held.length, 3))
      const other = await port.subscribe({ leaseMs: LEASE_MS, credit: 3, renews: true })
      await sleep(LEASE_MS * 4)
      assert.deepEqual([holder.held.length, other.given.length, holder.revoked.length], [3, 0, 0])
      assert.deepEqual(
        holder.held.map((delivery) => holder.subscription.complete(delivery, null)),
        [true, true, true],
      )
    },
  ],

  'order-is-kept-when-a-key-changes-hands': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, stream(world.name('orders')))
      const hung = await port.subscribe({ leaseMs: LEASE_MS, credit: 10, renews: true })
      await port.publish(6, 2)
      await world.eventually(() => assert.equal(hung.given.length, 2))
      hung.hang()
      const live = await port.subscribe({ leaseMs: LEASE_MS, credit: 10, renews: true, completes: nothing })
      await world.eventually(() => assert.equal(live.given.length, 6))
      for (const key of ['k0', 'k1']) {
        const offsets = live.given.filter((delivery) => delivery.key === key).map((delivery) => delivery.offset)
        assert.deepEqual(
          offsets,
          [...offsets].sort((a, b) => a - b),
        )
        assert.equal(offsets.length, 3)
      }
      assert.equal(hung.given.length, 2, 'the hung one is given nothing more')
    },
  ],

  'an-event-that-hangs-every-worker-is-dead-lettered-in-the-end': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, stream(world.name('orders')))
      const attempts: number[] = []
      await port.publish(1)
      for (let at = 0; at < 3; at++) {
        const hung = await port.subscribe({ leaseMs: LEASE_MS, credit: 1, attemptsMax: 3 })
        await world.eventually(() => assert.equal(hung.given.length, 1))
        attempts.push(hung.given[0]?.attempt ?? 0)
        await world.eventually(() => assert.equal(hung.revoked.length, 1))
        await hung.subscription.close()
      }
      assert.deepEqual(attempts, [1, 2, 3])
      const live = await port.subscribe({ leaseMs: LEASE_MS, credit: 1, renews: true, attemptsMax: 3 })
      const [letter] = await world.eventually(async () => {
        const letters = await port.engine.consumers.deadLetters(port.consumer, {})
        return letters.length === 1 && letters
      })
      assert.deepEqual(
        [letter?.attempts, letter?.failure.kind, live.given.length],
        [3, 'crash', 0],
        'no fourth worker is given it',
      )
      await world.eventually(() =>
        assert.equal(live.buried.length, 1, 'the instance that would have been given it is told'),
      )
      const [buried] = live.buried
      assert.deepEqual(
        [buried?.channel, buried?.offset, buried?.id, buried?.attempt],
        [letter?.channel, letter?.offset, letter?.id, 3],
      )
    },
  ],

  'a-queues-leases-are-the-same': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, queue(world.name('jobs')))
      const hung = await port.subscribe({ leaseMs: LEASE_MS, credit: 5, renews: true })
      await port.publish(5)
      await world.eventually(() => assert.equal(hung.given.length, 5))
      hung.hang()
      const live = await port.subscribe({ leaseMs: LEASE_MS, credit: 5, renews: true, completes: nothing })
      await world.eventually(() => assert.equal(live.given.length, 5))
      assert.deepEqual(
        hung.given.map((delivery) => hung.subscription.complete(delivery, null)),
        numbers(5).map(() => false),
      )
    },
  ],

  'a-closed-subscription-settles-nothing': [
    ['engine'],
    async (world) => {
      const port = await Port.open(world, stream(world.name('orders')))
      const first = await port.subscribe({ credit: 3 })
      await port.publish(3)
      await world.eventually(() => assert.equal(first.given.length, 3))
      await first.subscription.close()
      assert.deepEqual(
        first.given.map((delivery) =>
          first.subscription.complete(delivery, [
            { channel: port.channel.name, event: encoded('x', null, 99), dueAtMs: null },
          ]),
        ),
        [false, false, false],
      )
      const second = await port.subscribe({ credit: 10, renews: true })
      await world.eventually(() => assert.equal(second.given.length, 3))
      assert.deepEqual(
        second.given.map((delivery) => delivery.attempt),
        [1, 1, 1],
        'a release does not count',
      )
    },
  ],

  'a-handler-whose-event-was-taken-away-ends-before-the-next-one-of-its-key-begins': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const [calls, first] = [new Calls(), gate()]
    const name = world.name('worker')
    for (let at = 0; at < 2; at++) {
      await broker.start(
        consumer(name, orders).on(Placed, async (each, ctx) => {
          calls.add(each, ctx)
          // This handler ignores its signal.
          if (each.data.n === 0 && calls.of('a').length === 1) await first.opened
        }),
      )
    }
    await broker.publish(orders, [placed('a', 0), placed('b', 1)])
    await calls.reach(world, 2)
    await broker.consumer(name).rewind('beginning')
    await calls.reach(world, 3)
    await world.quiet()
    assert.deepEqual(calls.of('a'), [0], 'the handler that lost its event still runs')
    assert.deepEqual(calls.of('b'), [1, 1], 'other keys continue')
    first.open()
    await calls.reach(world, 4)
    await idle(world, broker, name)
    assert.deepEqual(calls.of('a'), [0, 0])
  },

  'a-handler-that-takes-too-long-fails-and-is-told': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const reasons: unknown[] = []
    await broker.start(
      consumer(name, orders, { timeout: 60, retry: { attempts: 2, ...QUICK } }).on(Placed, async (_, ctx) => {
        await hang(ctx.signal).catch((error: unknown) => reasons.push(error))
      }),
    )
    await broker.publish(orders, placed('a', 0))
    const [letter] = await world.eventually(async () => {
      const letters = await broker.deadLetters(name).list()
      return letters.length > 0 && letters
    })
    assert.deepEqual([letter?.failure.kind, letter?.failure.code, letter?.attempts], ['timeout', 'HANDLER_TIMEOUT', 2])
    assert.equal(reasons.length, 2)
    for (const reason of reasons) holds(isMillraceError(reason, 'HANDLER_TIMEOUT'))
  },

  'a-completion-after-the-time-limit-is-refused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = new Calls()
    await broker.start(
      consumer(name, orders, { timeout: 50, retry: { attempts: 5, ...QUICK } }).on(Placed, async (each, ctx) => {
        calls.add(each, ctx)
        if (each.data.n === 0 && ctx.attempt === 1) await hang(ctx.signal).catch(() => undefined)
      }),
    )
    await broker.publish(orders, placedMany(2, 1))
    await calls.reach(world, 3)
    await idle(world, broker, name)
    assert.deepEqual(
      calls.all.map((call) => [call.n, call.attempt]),
      [
        [0, 1],
        [0, 2],
        [1, 1],
      ],
    )
    assert.equal((await describeConsumer(broker, name)).deadLetters, 0)
  },
})

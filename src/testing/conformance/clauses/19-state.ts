/**
 * Clause 19, state: a consumer keeps state for each key. It is given to the handler and stored in the same commit as the
 * completion and its emissions.
 */
import assert from 'node:assert/strict'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isMillraceError } from '../../../base/errors.ts'
import type { Broker } from '../../../broker/broker.ts'
import type { Channel } from '../../../channel/channel.ts'
import { type Consumer, consumer } from '../../../consumer/consumer.ts'
import type { ConsumerOptions, StateContext } from '../../../consumer/consumer-types.ts'
import {
  Calls,
  gate,
  hang,
  HASTY,
  holds,
  idle,
  numbers,
  orderQueue,
  orderStream,
  type Paid,
  Placed,
  placed,
  placedMany,
  QUICK,
  readNs,
  refused,
  unkeyedStream,
} from '../fixtures.ts'
import { randomFrom } from '../random.ts'
import { clause, type Scenario } from '../scenario.ts'
import type { World } from '../world.ts'

/** The numbers of the events of a key that were handled. */
interface Seen {
  readonly ns: readonly number[]
}

const seenSchema: StandardSchemaV1<Seen, Seen> = {
  '~standard': {
    version: 1,
    vendor: 'millrace-conformance',
    validate: (value) =>
      Array.isArray((value as Partial<Seen> | null)?.ns)
        ? { value: value as Seen }
        : { issues: [{ message: 'ns must be a list', path: ['ns'] }] },
  },
}

const seen = { schema: seenSchema, initial: { ns: [] } } as const

type Recording = Consumer<Placed | Paid, StateContext<Seen>>
type Step = (n: number, ctx: StateContext<Seen>) => unknown

/** Adds the number of each event to the state of its key, and then does `after`. */
function recording(
  name: string,
  channel: Channel<'stream' | 'queue', Placed | Paid>,
  after: Step = () => undefined,
  options: ConsumerOptions = {},
): Recording {
  return consumer(name, channel, { ...options, state: seen }).on(Placed, ({ data: { n } }, ctx) => {
    ctx.setState({ ns: [...ctx.state.ns, n] })
    return after(n, ctx)
  }) as Recording
}

/** The numbers in the state of a key. */
async function kept(broker: Broker, of: Recording, key: string): Promise<readonly number[] | undefined> {
  return (await broker.table(of).get(key))?.value.ns
}

/** The numbers of all keys. */
async function table(broker: Broker, of: Recording): Promise<Record<string, readonly number[]>> {
  const all: Record<string, readonly number[]> = {}
  for await (const { key, value } of broker.table(of).entries()) all[key] = value.ns
  return all
}

/** Of `count` events over `keys` keys, the numbers of each key. */
function byKey(count: number, keys: number): Record<string, number[]> {
  return Object.fromEntries(
    numbers(keys).map((key) => [`k${key}`, numbers(count).filter((n) => n % keys === key)] as const),
  )
}

async function settledTable(world: World, broker: Broker, of: Recording, count: number, keys: number): Promise<void> {
  await idle(world, broker, of.name)
  await world.eventually(async () => assert.deepEqual(await table(broker, of), byKey(count, keys)))
}

export const state: readonly Scenario[] = clause(19, {
  'each-event-gets-the-state-that-the-one-before-left': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const given: (readonly number[])[] = []
    const of = recording(world.name('worker'), orders, (n, ctx) => {
      if (ctx.key === 'k1') given.push(ctx.state.ns.slice(0, -1))
      return n % 2 === 0 ? Promise.resolve() : undefined
    })
    await broker.start(of)
    await broker.publish(orders, placedMany(60, 3))
    await settledTable(world, broker, of, 60, 3)
    assert.deepEqual(
      given,
      numbers(20).map((at) => numbers(at).map((n) => 3 * n + 1)),
    )
  },

  'a-key-without-state-gets-the-initial-one': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const got: unknown[] = []
    const by = { schema: seenSchema, initial: (key: string) => ({ ns: [key.length] }) }
    const counting = consumer(world.name('counting'), orders, { state: by }).on(Placed, (_, ctx) => {
      got.push(ctx.state)
      ctx.state.ns.concat([1])
    })
    const without = consumer(world.name('without'), orders, { state: { schema: seenSchema } }).on(Placed, (_, ctx) => {
      got.push(ctx.state)
    })
    await broker.start(counting)
    await broker.publish(orders, placed('abc', 0))
    await idle(world, broker, counting.name)
    await broker.start(without)
    await idle(world, broker, without.name)
    assert.deepEqual(got, [{ ns: [3] }, undefined])
    assert.equal(await broker.table(counting).get('abc'), undefined, 'nothing was set')
  },

  'a-failed-attempt-changes-nothing': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const given: unknown[] = []
    const of = recording(
      world.name('worker'),
      orders,
      (n, ctx) => {
        given.push([n, ctx.attempt, ctx.state.ns])
        ;(ctx.state.ns as number[]).push(99)
        if (n === 1 && ctx.attempt < 3) throw new Error('not yet')
        ctx.setState({ ns: ctx.state.ns.filter((each) => each !== 99) })
      },
      { retry: QUICK },
    )
    await broker.start(of)
    await broker.publish(orders, placedMany(3))
    await settledTable(world, broker, of, 3, 1)
    assert.deepEqual(given, [
      [0, 1, [0, 99]],
      [1, 1, [0, 1, 99]],
      [1, 2, [0, 1, 99]],
      [1, 3, [0, 1, 99]],
      [2, 1, [0, 1, 2, 99]],
    ])
  },

  'state-and-emissions-are-stored-with-the-completion': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
    await broker.declare(out)
    const wait = gate()
    const calls = new Calls()
    const of = recording(world.name('worker'), orders, async (n, ctx) => {
      await ctx.emit(out, placed('out', n))
      calls.add({ type: 'order.placed', data: { order: 'k0', n } } as never, ctx)
      await wait.opened
    })
    await broker.start(of)
    await broker.publish(orders, placed('k0', 7))
    await calls.reach(world, 1)
    await world.quiet()
    assert.deepEqual([await kept(broker, of, 'k0'), await readNs(broker, out)], [undefined, []])
    wait.open()
    await world.eventually(async () =>
      assert.deepEqual([await kept(broker, of, 'k0'), await readNs(broker, out)], [[7], [7]]),
    )
  },

  'state-outlives-its-broker': [
    ['reopen'],
    async (world) => {
      const broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const of = (): Recording => recording(world.name('worker'), orders)
      await broker.start(of())
      await broker.publish(orders, placedMany(20, 4))
      await idle(world, broker, of().name)
      const again = await world.reopen(broker)
      assert.deepEqual(await table(again, of()), byKey(20, 4))
      await again.start(of())
      await again.publish(orders, placedMany(20, 4, 20))
      await settledTable(world, again, of(), 40, 4)
    },
  ],

  'after-a-crash-each-completion-and-its-state-are-there-or-neither': [
    ['crash'],
    async (world) => {
      let broker = await world.connect()
      const orders = orderStream(world.name('orders'))
      const out = orderStream(world.name('out'))
      const random = randomFrom(19)
      const of = (): Recording =>
        recording(
          world.name('worker'),
          orders,
          async (n, ctx) => {
            await ctx.emit(out, placed(ctx.key ?? '', n))
            if (random.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, 2))
          },
          { lease: 300, retry: QUICK, concurrency: 8 },
        )
      await broker.declare(out)
      await broker.publish(orders, placedMany(200, 5))
      for (const crashAt of [20, 60, 120]) {
        await broker.start(of())
        await world.eventually(async () => holds((await readNs(broker, out)).length >= crashAt))
        broker = await world.crash()
        // An emission, the state and the completion are one commit: the state has what was emitted, each once.
        const emitted = await readNs(broker, out)
        const states = Object.values(await table(broker, of())).flat()
        assert.deepEqual(
          [...new Set(emitted)].sort((a, b) => a - b),
          [...new Set(states)].sort((a, b) => a - b),
        )
      }
      await broker.start(of())
      await settledTable(world, broker, of(), 200, 5)
    },
  ],

  'a-late-completion-is-refused-with-its-state': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const release = gate()
    const entered = gate()
    let late = 0
    const of = recording(
      world.name('worker'),
      orders,
      async (n, ctx) => {
        if (n !== 0 || ctx.attempt > 1) return
        entered.open()
        // It is rewound while it runs: its result must not count.
        await release.opened
        late++
      },
      { ...HASTY, retry: QUICK },
    )
    await broker.start(of)
    await broker.publish(orders, placedMany(2))
    await entered.opened
    await broker.consumer(of).rewind('end', { state: 'reset' })
    release.open()
    await world.eventually(() => assert.equal(late, 1))
    await broker.publish(orders, placed('k0', 5))
    await world.eventually(async () => assert.deepEqual(await kept(broker, of, 'k0'), [5]))
  },

  'instances-of-one-consumer-see-one-state': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const of = (): Recording =>
      recording(world.name('worker'), orders, () => new Promise((resolve) => setTimeout(resolve, 1)), {
        concurrency: 3,
      })
    const [first] = await Promise.all([broker.start(of()), broker.start(of())])
    await broker.publish(orders, placedMany(90, 6))
    await world.eventually(async () => holds(Object.values(await table(broker, of())).flat().length > 20))
    await first.stop()
    await settledTable(world, broker, of(), 90, 6)
  },

  'a-consumer-of-several-channels-has-one-state-for-a-key': async (world) => {
    const broker = await world.connect()
    const channels = [orderStream(world.name('a')), orderStream(world.name('b'))] as const
    const of = consumer(world.name('worker'), channels, { state: seen }).on(Placed, ({ data: { n } }, ctx) => {
      ctx.setState({ ns: [...ctx.state.ns, n] })
    }) as unknown as Recording
    await broker.start(of)
    for (const n of numbers(40)) await broker.publish(channels[n % 2] as Channel<'stream', Placed | Paid>, placed('k', n))
    await idle(world, broker, of.name)
    await world.eventually(async () =>
      assert.deepEqual([...((await kept(broker, of, 'k')) ?? [])].sort((a, b) => a - b), numbers(40)),
    )
  },

  'a-queue-worker-keeps-state': async (world) => {
    const broker = await world.connect()
    const orders = orderQueue(world.name('orders'))
    const of = recording(world.name('worker'), orders)
    await broker.start(of)
    await broker.publish(orders, placedMany(30, 3))
    await settledTable(world, broker, of, 30, 3)
  },

  'a-batch-sees-and-sets-state-in-order': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    let failing = true
    const of = consumer(world.name('worker'), orders, { state: seen, retry: QUICK }).onBatch(
      Placed,
      { size: 10, wait: 20 },
      (events, contexts) =>
        events.map(({ data: { n } }, at) => {
          const ctx = contexts[at] as StateContext<Seen>
          ctx.setState({ ns: [...ctx.state.ns, n] })
          if (n === 5 && failing) {
            failing = false
            return new Error('not yet')
          }
          return undefined
        }),
    ) as unknown as Recording
    await broker.start(of)
    await broker.publish(orders, placedMany(40, 2))
    await settledTable(world, broker, of, 40, 2)
  },

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
      await world.eventually(async () =>
        assert.deepEqual(await table(again, third), { k0: [0, 100, 2], k1: [1, 100] }),
      )
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
      await world.eventually(async () =>
        holds((await again.alarms()).some(({ code }) => code === 'UNKNOWN_VERSION')),
      )
      assert.deepEqual([await kept(again, at(2), 'new'), await again.deadLetters(at(1)).list()], [[0], []])
      await again.start(at(2))
      await old.stop()
      await world.eventually(async () => assert.deepEqual(await kept(again, at(2), 'new'), [0, 1]))
    },
  ],

  'a-state-that-its-schema-refuses-fails-the-attempt': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const small = consumer(world.name('small'), orders, { state: { ...seen, maxBytes: 1024 }, retry: { attempts: 1 } }).on(
      Placed,
      (each, ctx) => {
        if (each.data.n === 1) ctx.setState({ ns: 'wrong' as never })
        if (each.data.n === 2) ctx.setState({ ns: ['x'.repeat(3000) as never] })
        if (each.data.n === 3) ctx.setState(undefined as never)
        ctx.setState({ ns: [...ctx.state.ns, each.data.n] })
      },
    ) as unknown as Recording
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

  'nobody-else-writes-state': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const of = recording(world.name('worker'), orders, () => undefined, { retry: { attempts: 1 } })
    await broker.start(of)
    await broker.publish(orders, placed('k0', 0))
    await settledTable(world, broker, of, 1, 1)
    const channel = broker.table(of).channel
    await refused(() => broker.publish(channel, { type: channel, data: { ns: [9] } }), 'FORBIDDEN', channel)
    await refused(() => broker.publish(channel, [{ type: 'any' }]), 'FORBIDDEN', channel)
    await refused(() => orderStream(channel), 'INVALID_NAME', channel)
    await refused(() => broker.channel(channel).remove(), 'FORBIDDEN', channel)
    const errors: unknown[] = []
    const other = consumer(world.name('other'), orders).on(Placed, async (_, ctx) => {
      await ctx.emit(channel, { type: channel, data: { ns: [9] } }).catch((error: unknown) => errors.push(error))
    })
    await broker.start(other)
    await world.eventually(() => assert.equal(errors.length, 1))
    holds(isMillraceError(errors[0], 'FORBIDDEN'))
    assert.deepEqual(await table(broker, of), { k0: [0] })
  },

  'a-table-is-read-by-key-by-prefix-and-followed': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const of = recording(world.name('worker'), orders, (n, ctx) => {
      if (n === 9) ctx.deleteState()
    })
    assert.equal(await broker.table(of).get('a-1'), undefined, 'a consumer that was never started has an empty table')
    await refused(() => broker.table(world.name('nothing')).get('a'), 'UNKNOWN_CHANNEL')
    await broker.start(of)
    await broker.publish(orders, ['a-1', 'a-2', 'b-1', 'a-10', 'ä'].map((key, n) => placed(key, n)))
    await idle(world, broker, of.name)
    await world.eventually(async () => assert.equal(Object.keys(await table(broker, of)).length, 5))
    const found: string[] = []
    for await (const { key } of broker.table(of).entries({ prefix: 'a-' })) found.push(key)
    assert.deepEqual(found, ['a-1', 'a-10', 'a-2'])
    const later: string[] = []
    for await (const { key } of broker.table(of).entries({ after: 'a-10' })) later.push(key)
    assert.deepEqual(later, ['a-2', 'b-1', 'ä'])
    const byName = await broker.table(of.name).get('b-1')
    assert.deepEqual([byName?.key, byName?.value], ['b-1', { ns: [2] }], 'a name is enough')
    const changes: unknown[] = []
    for await (const { key, value } of broker.table(of).follow()) {
      changes.push([key, value?.ns])
      if (changes.length === 5) await broker.publish(orders, [placed('b-1', 8), placed('a-1', 9)])
      if (changes.length === 7) break
    }
    assert.deepEqual(
      changes.slice(5).sort((a, b) => String(b).localeCompare(String(a))),
      [
        ['b-1', [2, 8]],
        ['a-1', undefined],
      ],
    )
  },

  'a-stream-that-keeps-the-latest-event-is-a-table': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'), { retain: { latestByKey: true } })
    await broker.publish(orders, placedMany(10, 2))
    const entry = await broker.table(orders).get('k1')
    assert.deepEqual([entry?.value.type, entry?.value.data.n], ['order.placed', 9])
    const all: number[] = []
    for await (const { value } of broker.table(orders).entries()) all.push(value.data.n)
    assert.deepEqual(all, [8, 9])
    await refused(() => broker.table(orderStream(world.name('other'))), 'INVALID_OPTION', 'keeps all events')
  },

  'a-handler-that-is-stopped-keeps-the-state-before-it': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    const calls = gate()
    const hanging = recording(
      name,
      orders,
      (n, ctx) => {
        if (n !== 1) return undefined
        calls.open()
        return hang(ctx.signal)
      },
      HASTY,
    )
    const running = await broker.start(hanging)
    await broker.publish(orders, placedMany(3))
    await calls.opened
    await running.stop()
    assert.deepEqual(await kept(broker, hanging, 'k0'), [0])
    await broker.start(recording(name, orders))
    await settledTable(world, broker, hanging, 3, 1)
  },
})

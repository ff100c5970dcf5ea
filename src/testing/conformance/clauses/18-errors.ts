/** Clause 18, errors: they are typed, name what was wrong with what, say what to do, and leave the broker working. */
import assert from 'node:assert/strict'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isMillraceError } from '../../../base/errors.ts'
import type { Broker } from '../../../broker/broker.ts'
import { queue, stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import { event } from '../../../event/event.ts'
import {
  Calls,
  holds,
  idle,
  Note,
  orderQueue,
  orderStream,
  Paid,
  Placed,
  placed,
  placedMany,
  readAll,
  readNs,
  refused,
} from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import type { World } from '../world.ts'

/** After all refusals, the broker still does its work. */
async function goesOn(world: World, broker: Broker): Promise<void> {
  const orders = orderStream(world.name('after'))
  const calls = new Calls()
  const running = await broker.start(consumer(world.name('after-worker'), orders).on(Placed, calls.handler))
  await broker.publish(orders, placed('a', 1))
  await calls.reach(world, 1)
  await running.stop()
  assert.deepEqual((await broker.describe()).alarms, [])
}

export const errors: readonly Scenario[] = clause(18, {
  'invalid-data-is-refused-with-the-schemas-issues': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const error = await refused(
      () => broker.publish(orders, Placed({ order: 7, n: 'x' } as never, { id: 'bad-one' })),
      'SCHEMA_MISMATCH',
      'order.placed',
      'bad-one',
      'order must be text',
    )
    assert.equal((error.details['issues'] as unknown[]).length, 2)
    assert.equal(error.retryable, false)
    await goesOn(world, broker)
  },

  'an-asynchronous-schema-is-awaited': async (world) => {
    const broker = await world.connect()
    const Slow = event('slow', {
      '~standard': {
        version: 1,
        vendor: 'millrace-conformance',
        validate: async (value: unknown) =>
          typeof value === 'number' ? { value } : { issues: [{ message: 'a number is wanted' }] },
      },
    })
    const slow = stream(world.name('slow'), { events: [Slow] })
    await refused(() => broker.publish(slow, Slow('text' as never)), 'SCHEMA_MISMATCH', 'a number is wanted')
    await broker.publish(slow, [Slow(1 as never), Slow(2 as never)])
    const seen: unknown[] = []
    await broker.start(consumer(world.name('worker'), slow).on(Slow, ({ data }) => void seen.push(data)))
    // Without a key no order is guaranteed.
    await world.eventually(() => assert.deepEqual(seen.toSorted(), [1, 2]))
  },

  'a-type-that-is-not-carried-is-refused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.declare(orders)
    await refused(() => broker.publish(orders, Note('x') as never), 'TYPE_NOT_CARRIED', 'note', orders.name)
    await refused(() => broker.publish(orders.name, { type: 'note' }), 'TYPE_NOT_CARRIED', 'note', orders.name)
    await refused(
      () => consumer(world.name('worker'), orders).on(Note as never, () => undefined),
      'TYPE_NOT_CARRIED',
      'note',
    )
    await goesOn(world, broker)
  },

  'an-event-that-is-too-large-is-refused': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { maxEventBytes: '1KiB' })
    const error = await refused(() => broker.publish(notes, Note('x'.repeat(2000))), 'EVENT_TOO_LARGE', '1024')
    holds(Number(error.details['bytes']) > 2000)
    await refused(
      () => broker.publish(stream(world.name('others')), Note('ü'.repeat(600_000))),
      'EVENT_TOO_LARGE',
      '1048576',
    )
    await broker.publish(notes, Note('x'.repeat(500)))
    assert.equal((await readAll(broker, notes)).length, 1)
    await goesOn(world, broker)
  },

  'an-unknown-channel-is-refused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.declare(orders)
    const wrong = world.name('ordres')
    await refused(() => broker.publish(wrong, { type: 'note' }), 'UNKNOWN_CHANNEL', wrong, orders.name)
    await refused(() => readAll(broker, wrong), 'UNKNOWN_CHANNEL', wrong)
    await refused(() => broker.channel(wrong).remove(), 'UNKNOWN_CHANNEL', wrong)
    await refused(
      () => broker.start(consumer(world.name('worker'), wrong).on(Note, () => undefined)),
      'UNKNOWN_CHANNEL',
      wrong,
    )
    await goesOn(world, broker)
  },

  'a-channel-redeclared-as-another-kind-is-refused': async (world) => {
    const broker = await world.connect()
    const name = world.name('orders')
    await broker.declare(stream(name))
    await refused(() => broker.declare(queue(name)), 'CHANNEL_CONFLICT', name)
    await refused(() => broker.publish(queue(name), Note('x')), 'CHANNEL_CONFLICT', name)
    await broker.publish(stream(name), Note('y'))
    await goesOn(world, broker)
  },

  'a-channel-redeclared-with-more-types-takes-them': async (world) => {
    const broker = await world.connect()
    const name = world.name('orders')
    await broker.publish(stream(name, { events: [Placed] }), placed('a', 0))
    await broker.publish(stream(name, { events: [Placed, Paid] }), Paid({ order: 'a', n: 1 }))
    assert.deepEqual(await readNs(broker, orderStream(name)), [0, 1])
  },

  'an-event-that-is-no-cloud-event-is-refused': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    const wrong: readonly (readonly [object, named: string])[] = [
      [{ time: new Date(8.64e15) }, 'time'],
      [{ time: '2026-02-31T00:00:00Z' }, 'time'],
      [{ source: 'has spaces' }, 'source'],
      [{ dataschema: 'relative' }, 'dataschema'],
      [{ datacontenttype: 'nonsense' }, 'datacontenttype'],
      [{ subject: '\ufffe' }, 'subject'],
      [{ specversion: '2.0' }, 'specversion'],
      [{ extensions: { region: '\uffff' } }, 'region'],
      [{ extensions: 'text' }, 'extensions'],
    ]
    for (const [attributes, named] of wrong)
      await refused(() => broker.publish(notes, { ...Note('x'), ...attributes }), 'INVALID_EVENT', named)
    assert.deepEqual(await readAll(broker, notes), [])
    await goesOn(world, broker)
  },

  'an-event-that-json-cannot-carry-is-refused': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    const cycle: Record<string, unknown> = {}
    cycle['self'] = cycle
    const deep = Array.from({ length: 500 }).reduce((inner) => [inner], 1)
    for (const data of [
      { big: 10n },
      { at: Number.NaN },
      { at: Number.POSITIVE_INFINITY },
      cycle,
      { fn: () => 1 },
      { symbol: Symbol('x') },
      new Map([[1, 2]]),
      deep,
    ]) {
      await refused(() => broker.publish(notes, Note(data)), 'INVALID_EVENT', 'note')
    }
    assert.deepEqual(await readAll(broker, notes), [])
    await goesOn(world, broker)
  },

  'an-invalid-attribute-is-refused': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    const wrong: readonly (readonly [attributes: object, named: string])[] = [
      [{ id: '' }, 'id'],
      [{ source: '' }, 'source'],
      [{ subject: '' }, 'subject'],
      [{ time: 'yesterday' }, 'time'],
      [{ extensions: { Upper: 'x' } }, 'Upper'],
      [{ extensions: { 'with-dash': 'x' } }, 'with-dash'],
      [{ extensions: { data: 'x' } }, 'data'],
      [{ extensions: { number: 1.5 } }, 'number'],
      [{ extensions: { object: {} } }, 'object'],
      [{ id: 'x'.repeat(5000) }, 'id'],
      [{ subject: 'half \ud800' }, 'subject'],
    ]
    for (const [attributes, named] of wrong)
      await refused(() => broker.publish(notes, { ...Note('x'), ...attributes } as never), 'INVALID_EVENT', named)
    await refused(() => broker.publish(notes, null as never), 'INVALID_EVENT')
    await refused(() => broker.publish(notes, 'text' as never), 'INVALID_EVENT')
    assert.deepEqual(await readAll(broker, notes), [])
    await goesOn(world, broker)
  },

  'a-bad-key-is-refused': async (world) => {
    const broker = await world.connect()
    const keys: readonly unknown[] = ['', 7, 'x'.repeat(2000), {}]
    for (const [at, key] of keys.entries()) {
      const notes = stream(world.name(`notes-${at}`), { key: () => key as string })
      await refused(() => broker.publish(notes, Note('x')), 'INVALID_EVENT', 'key')
    }
    const throws = stream(world.name('throws'), {
      key: () => {
        throw new Error('no key here')
      },
    })
    await refused(() => broker.publish(throws, Note('x')), 'INVALID_EVENT', 'no key here')
    await goesOn(world, broker)
  },

  'odd-names-are-refused': async (world) => {
    for (const name of [
      '',
      ' ',
      'a b',
      'a/b',
      '../a',
      'a..b',
      '.a',
      'a.',
      'ü',
      'x'.repeat(300),
      'a\nb',
      'a*',
      '>',
      null,
      7,
    ]) {
      await refused(() => stream(name as string), 'INVALID_NAME')
      await refused(() => queue(name as string), 'INVALID_NAME')
      await refused(() => event(name as string), 'INVALID_NAME')
      await refused(() => consumer(name as string, stream('fine')), 'INVALID_NAME')
    }
    const broker = await world.connect()
    for (const name of ['a', 'A_1', '$x.y-z', 'x'.repeat(150)]) {
      const notes = stream(world.name(name))
      await broker.publish(notes, Note(name))
      assert.deepEqual(
        (await readAll(broker, notes)).map((each) => each.data),
        [name],
      )
    }
  },

  'wrong-options-are-refused': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    await broker.declare(notes)
    const worker = (options: object) => () => consumer(world.name('worker'), notes, options).on(Note, () => undefined)
    const wrong: readonly (readonly [work: () => unknown, named: string])[] = [
      [worker({ concurency: 3 }), 'concurency'],
      [worker({ concurrency: 0 }), 'concurrency'],
      [worker({ concurrency: 1.5 }), 'concurrency'],
      [worker({ retry: { attempts: 0 } }), 'attempts'],
      [worker({ retry: { backoff: 'linear' } }), 'backoff'],
      [worker({ retry: { tries: 3 } }), 'tries'],
      [worker({ retry: { min: -1 } }), 'min'],
      [worker({ onDead: 'explode' }), 'onDead'],
      [worker({ lease: 1 }), 'lease'],
      [worker({ from: 'somewhere' }), 'from'],
      [worker({ timeout: 'soon' }), 'timeout'],
      [() => broker.start(consumer(world.name('worker'), notes)), 'handler'],
      [() => consumer(world.name('worker'), []), 'channel'],
      [() => consumer(world.name('worker'), notes).onBatch(Note, { size: 0 }, () => undefined), 'size'],
      [() => stream('x', { retain: { count: 0 } }), 'count'],
      [() => stream('x', { retain: { days: 3 } } as never), 'days'],
      [() => stream('x', { maxEventBytes: '1GiB' }), 'maxEventBytes'],
      [() => stream('x', { key: 7 } as never), 'key'],
      [() => queue('x', { retain: { count: 1 } } as never), 'retain'],
      [() => event('x', {} as never), 'Standard Schema'],
      [() => broker.publish(notes, Note('x'), { delya: 3 } as never), 'delya'],
      [() => broker.publish(notes, Note('x'), { delay: -3 }), 'delay'],
      [() => readAll(broker, notes, { form: 3 } as never), 'form'],
      [() => readAll(broker, notes, { from: {} as never }), 'channel'],
      [() => broker.deadLetters(world.name('worker')).list({ ofset: 3 } as never), 'ofset'],
    ]
    for (const [work, named] of wrong) await refused(work, 'INVALID_OPTION', named)
    assert.deepEqual(await readAll(broker, notes), [])
    await goesOn(world, broker)
  },

  'a-handlers-odd-behaviour-harms-nobody': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'))
    const name = world.name('worker')
    await broker.start(
      consumer(name, notes, {
        retry: {
          attempts: 2,
          backoff: () => {
            throw new Error('a bad backoff')
          },
        },
      }).on(Note, async ({ data }, ctx) => {
        if (data === 'freeze') throw Object.freeze(new Error('frozen'))
        if (data === 'getter')
          throw Object.defineProperty({}, 'message', {
            get: () => {
              throw new Error('from the getter')
            },
          })
        if (data === 'delay') ctx.retryAfter(-5)
        if (data === 'huge') throw new Error('x'.repeat(5_000_000))
      }),
    )
    for (const data of ['freeze', 'getter', 'delay', 'huge', 'fine']) await broker.publish(notes, Note(data))
    await world.eventually(async () => assert.equal((await broker.deadLetters(name).list()).length, 4))
    await goesOn(world, broker)
  },

  'an-error-serialises-and-is-recognised': async (world) => {
    const broker = await world.connect()
    const error = await refused(() => broker.publish(world.name('nowhere'), { type: 'note' }), 'UNKNOWN_CHANNEL')
    holds(isMillraceError(error) && isMillraceError(error, 'UNKNOWN_CHANNEL') && !isMillraceError(error, 'CLOSED'))
    assert.deepEqual(Object.keys(JSON.parse(JSON.stringify(error))).sort(), ['code', 'details', 'message', 'retryable'])
    holds(error instanceof Error && (error.stack?.length ?? 0) > 0)
  },

  'data-that-its-schema-does-not-take-back-is-refused': async (world) => {
    const broker = await world.connect()
    const Meeting = event('meeting', dateSchema)
    const meetings = stream(world.name('meetings'), { events: [Meeting] })
    await refused(
      () => broker.publish(meetings, Meeting(new Date(0), { id: 'kept-as-text' })),
      'SCHEMA_MISMATCH',
      'kept-as-text',
      'JSON',
      'a Date is wanted',
    )
    assert.deepEqual(await readAll(broker, meetings), [])
    await goesOn(world, broker)
  },

  'a-query-with-an-undefined-member-is-refused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('worker')
    await broker.start(consumer(name, orders).on(Placed, (_, ctx) => ctx.reject('no')))
    await broker.publish(orders, placedMany(3, 3))
    const letters = broker.deadLetters(name)
    await world.eventually(async () => assert.equal((await letters.list()).length, 3))
    for (const query of [
      { id: undefined },
      { key: undefined },
      { offset: undefined },
      { channel: undefined },
      { limit: undefined },
    ] as object[]) {
      const [member = ''] = Object.keys(query)
      await refused(() => letters.drop(query), 'INVALID_OPTION', member, 'undefined')
      await refused(() => letters.redrive(query), 'INVALID_OPTION', member, 'undefined')
    }
    for (const query of [
      { ids: 'x' },
      { id: 7 },
      { key: null },
      { offset: -1 },
      { limit: 0 },
      null,
      'all',
    ] as object[]) {
      await refused(() => letters.drop(query), 'INVALID_OPTION')
      await refused(() => letters.list(query), 'INVALID_OPTION')
    }
    assert.equal((await letters.list()).length, 3)
  },

  'a-rewind-that-can-do-nothing-is-refused': async (world) => {
    const broker = await world.connect()
    const [orders, other] = [orderStream(world.name('orders')), orderStream(world.name('other'))]
    const [jobs, tasks] = [orderQueue(world.name('jobs')), orderQueue(world.name('tasks'))]
    const [reader, worker] = [world.name('reader'), world.name('worker')]
    const calls = new Calls()
    await broker.start(consumer(reader, [orders, jobs]).on(Placed, calls.handler))
    await broker.start(consumer(worker, tasks).on(Placed, calls.handler))
    await broker.publish(orders, placedMany(3))
    await broker.publish(other, placed('a', 0))
    await calls.reach(world, 3)
    for (const channel of [jobs, tasks]) await broker.publish(channel, placed('a', 3))
    await calls.reach(world, 5)
    await idle(world, broker, worker)
    await idle(world, broker, reader)
    await refused(() => broker.consumer(worker).rewind('beginning'), 'INVALID_OPTION', worker, 'queue')
    await refused(
      () => broker.consumer(reader).rewind('beginning', { channel: jobs.name }),
      'INVALID_OPTION',
      reader,
      jobs.name,
      'queue',
    )
    await refused(
      () => broker.consumer(reader).rewind('beginning', { channel: other.name }),
      'INVALID_OPTION',
      reader,
      other.name,
      orders.name,
    )
    await refused(
      () => broker.consumer(reader).rewind('beginning', { channel: world.name('nothing') }),
      'UNKNOWN_CHANNEL',
      world.name('nothing'),
    )
    await refused(
      () => broker.consumer(reader).rewind('beginning', { channel: undefined } as never),
      'INVALID_OPTION',
      'channel',
    )
    await refused(
      () => broker.consumer(reader).rewind('beginning', { chanel: orders.name } as never),
      'INVALID_OPTION',
      'chanel',
      'did you mean "channel"?',
    )
    await refused(() => broker.consumer(reader).rewind(Date.now() as never), 'INVALID_OPTION', 'did you mean new Date(')
    await refused(() => broker.consumer(reader).rewind(5 as never), 'INVALID_OPTION', 'did you mean { offset: 5 }')
    await world.quiet()
    assert.equal(calls.length, 5)
    // Whatever can be rewound is rewound.
    await broker.consumer(reader).rewind('beginning')
    await calls.reach(world, 8)
  },
})

/** Accepts only a Date, not what JSON turns it into. */
const dateSchema: StandardSchemaV1<Date, Date> = {
  '~standard': {
    version: 1,
    vendor: 'millrace-conformance',
    validate: (value) => (value instanceof Date ? { value } : { issues: [{ message: 'a Date is wanted' }] }),
  },
}

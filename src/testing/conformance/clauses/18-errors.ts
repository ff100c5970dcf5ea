/** Clause 18, errors: typed, they name what was wrong with what, say what to do, and the broker goes on. */
import assert from 'node:assert/strict'
import { isMillraceError } from '../../../base/errors.ts'
import type { Broker } from '../../../broker/broker.ts'
import { queue, stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import { event } from '../../../event/event.ts'
import { Calls, holds, Note, orderStream, Paid, Placed, placed, readAll, readNs, refused } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import type { World } from '../world.ts'

/** After all that was refused, the broker does its work. */
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
        validate: async (value: unknown) => (typeof value === 'number' ? { value } : { issues: [{ message: 'a number is wanted' }] }),
      },
    })
    const slow = stream(world.name('slow'), { events: [Slow] })
    await refused(() => broker.publish(slow, Slow('text' as never)), 'SCHEMA_MISMATCH', 'a number is wanted')
    await broker.publish(slow, [Slow(1 as never), Slow(2 as never)])
    const seen: unknown[] = []
    await broker.start(consumer(world.name('worker'), slow).on(Slow, ({ data }) => void seen.push(data)))
    // Without a key no order is promised.
    await world.eventually(() => assert.deepEqual(seen.toSorted(), [1, 2]))
  },

  'a-type-that-is-not-carried-is-refused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.declare(orders)
    await refused(() => broker.publish(orders, Note('x') as never), 'TYPE_NOT_CARRIED', 'note', orders.name)
    await refused(() => broker.publish(orders.name, { type: 'note' }), 'TYPE_NOT_CARRIED', 'note', orders.name)
    await refused(() => consumer(world.name('worker'), orders).on(Note as never, () => undefined), 'TYPE_NOT_CARRIED', 'note')
    await goesOn(world, broker)
  },

  'an-event-that-is-too-large-is-refused': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { maxEventBytes: '1KiB' })
    const error = await refused(() => broker.publish(notes, Note('x'.repeat(2000))), 'EVENT_TOO_LARGE', '1024')
    holds(Number(error.details['bytes']) > 2000)
    await refused(() => broker.publish(stream(world.name('others')), Note('ü'.repeat(600_000))), 'EVENT_TOO_LARGE', '1048576')
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
    await refused(() => broker.removeChannel(wrong), 'UNKNOWN_CHANNEL', wrong)
    await refused(() => broker.start(consumer(world.name('worker'), wrong).on(Note, () => undefined)), 'UNKNOWN_CHANNEL', wrong)
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
    for (const [attributes, named] of wrong) await refused(() => broker.publish(notes, { ...Note('x'), ...attributes } as never), 'INVALID_EVENT', named)
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
    for (const name of ['', ' ', 'a b', 'a/b', '../a', 'a..b', '.a', 'a.', 'ü', 'x'.repeat(300), 'a\nb', 'a*', '>', null, 7]) {
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
      [() => stream('x', { key: 'order' } as never), 'key'],
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
})

/**
 * Clause 18, changes of schemas: a declaration that is proven to break the one before is refused, and old and new code
 * declare a channel in any order.
 */
import assert from 'node:assert/strict'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isMillraceError } from '../../../base/errors.ts'
import { type Channel, type Compatibility, stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import { event } from '../../../event/event.ts'
import { holds, refused } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

/** A schema that accepts all data, with a JSON Schema whose members are these. */
function described(properties: Readonly<Record<string, object>>, required: readonly string[]): StandardSchemaV1 {
  const input = (): object => ({ type: 'object', properties, required })
  const standard = { version: 1, vendor: 'millrace-conformance', validate: (value: unknown) => ({ value }) }
  return { '~standard': { ...standard, jsonSchema: { input } } } as unknown as StandardSchemaV1
}

const number = { type: 'number' }
const FIRST = described({ euros: number }, ['euros'])
const WIDER = described({ euros: number, note: { enum: ['gift', 'returned'] } }, ['euros'])
const OTHER = described({ euros: number, by: { type: 'string' } }, ['euros', 'by'])

function payments(name: string, schema: StandardSchemaV1, compatibility?: Compatibility): Channel {
  return stream(name, {
    events: [event('order.paid', schema)],
    ...(compatibility !== undefined && { compatibility }),
  })
}

export const schemas: readonly Scenario[] = clause(18, {
  'a-schema-that-refuses-the-events-before-is-refused-and-nothing-changes': async (world) => {
    const broker = await world.connect()
    const name = world.name('payments')
    const ledger = consumer(world.name('ledger'), payments(name, FIRST)).onAny(() => undefined)
    await broker.start(ledger)
    const broken = payments(name, OTHER)
    const calls: (() => Promise<unknown>)[] = [
      () => broker.start(consumer(world.name('mails'), broken).onAny(() => undefined)),
      () => broker.declare(broken),
      () => broker.publish(broken, { type: 'order.paid', data: { euros: 1, by: 'card' } }),
      () => broker.read(broken).next(),
    ]
    for (const call of calls) await refused(call, 'INCOMPATIBLE_SCHEMA', 'order.paid', 'data.by', ledger.name)
    const error = await broker.declare(broken).catch((each: unknown) => each)
    assert.ok(isMillraceError(error, 'INCOMPATIBLE_SCHEMA'))
    const { channel, type, version, path, direction, consumers, example } = error.details
    assert.deepEqual(
      { channel, type, version, path, direction, consumers },
      {
        ...{ channel: name, type: 'order.paid', version: 1, path: 'data.by', direction: 'backward' },
        consumers: [ledger.name],
      },
    )
    assert.equal(typeof (example as { readonly euros?: unknown }).euros, 'number')
    await broker.publish(name, { type: 'order.paid', data: { euros: 1 } })
    await broker.declare(payments(name, FIRST), payments(name, WIDER))
  },

  'old-and-new-code-declare-a-channel-in-turn-and-a-rollback-is-accepted': [
    ['reopen'],
    async (world) => {
      const first = await world.connect()
      const name = world.name('payments')
      await first.declare(payments(name, FIRST))
      const strict = described({ euros: number, note: { enum: ['gift'] } }, ['euros'])
      await first.declare(payments(name, WIDER))
      await refused(() => first.declare(payments(name, strict)), 'INCOMPATIBLE_SCHEMA', 'data.note')
      await first.declare(payments(name, OTHER, 'none'))
      const second = await world.reopen(first)
      for (const schema of [FIRST, OTHER, WIDER, FIRST, OTHER, WIDER]) await second.declare(payments(name, schema))
      await refused(() => second.declare(payments(name, strict)), 'INCOMPATIBLE_SCHEMA', 'order.paid')
    },
  ],

  'a-channel-can-ask-that-old-code-reads-new-events': async (world) => {
    const broker = await world.connect()
    const name = world.name('payments')
    const text = described({ euros: { type: ['number', 'string'] } }, ['euros'])
    await broker.declare(payments(name, FIRST))
    for (const mode of ['forward', 'full'] as const)
      await refused(() => broker.declare(payments(name, text, mode)), 'INCOMPATIBLE_SCHEMA', 'data.euros')
    await broker.declare(payments(name, text))
    await refused(() => broker.declare(stream(name, { compatibility: 'any' as 'none' })), 'INVALID_OPTION')
  },

  'a-change-that-cannot-be-judged-is-accepted': async (world) => {
    const broker = await world.connect()
    const name = world.name('payments')
    const named = (pattern: string): StandardSchemaV1 => described({ by: { type: 'string', pattern } }, ['by'])
    await broker.declare(payments(name, named('^(?=[a-z])\\w+$')))
    await broker.declare(payments(name, named('^\\w+$')))
    await broker.declare(stream(name, { events: [event('order.paid')] }))
    await broker.declare(payments(name, OTHER))
    holds((await broker.channel(name).describe()).name === name)
  },
})

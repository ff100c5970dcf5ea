/** AsyncAPI documents, checked by AsyncAPI's own parser. */
import { Parser } from '@asyncapi/parser'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../src/base/json-object.ts'
import type { Application } from '../../src/catalogue/application.ts'
import { ASYNC_API_VERSIONS, asyncApiOf } from '../../src/catalogue/async-api.ts'
import { type CatalogueFacts, catalogueOf } from '../../src/catalogue/catalogue.ts'
import { event, queue, stream } from '../../src/index.ts'
import { factsOf, shop } from './shop-facts.ts'

const parser = new Parser()

interface Message {
  readonly id: string
  readonly payload: unknown
  readonly examples: number
}

/** What AsyncAPI's parser reads; its faults, without the advice to use the latest version. */
async function read(document: object): Promise<{ faults: string[]; messages: Message[]; operations: string[] }> {
  const { document: made, diagnostics } = await parser.parse(JSON.stringify(document))
  const faults = diagnostics
    .filter(({ code }) => code !== 'asyncapi-latest-version')
    .map(({ message, path }) => `${path.join('/')}: ${message}`)
  const messages = made?.allMessages().all() ?? []
  return {
    faults,
    messages: messages.map((each) => ({
      id: each.id() ?? '',
      payload: each.payload()?.json(),
      examples: each.examples().length,
    })),
    operations: (made?.operations().all() ?? []).map((each) => each.id() ?? ''),
  }
}
const documentOf = (facts: CatalogueFacts, version: (typeof ASYNC_API_VERSIONS)[number] = '3.0'): object =>
  asyncApiOf(catalogueOf(facts), { version, url: 'https://events.example/shop' })

describe('an AsyncAPI document', () => {
  test.each(ASYNC_API_VERSIONS)(
    'is valid as %s, and has the messages and operations of the catalogue',
    async (version) => {
      const document = documentOf(shop(), version)
      expect(document).toMatchObject({ asyncapi: `${version}.0` })
      const { faults, messages, operations } = await read(document)
      expect(faults).toEqual([])
      expect([...new Set(messages.map(({ id }) => id))].sort()).toEqual(['order.paid', 'order.placed', 'stock.low'])
      expect(operations.sort()).toEqual([
        'consumer.billing.receive.orders',
        'consumer.billing.send.orders',
        'consumer.restockers.receive.restock',
        'rule.low.receive.orders',
        'rule.low.send.restock',
        'source._shop.send.orders',
      ])
    },
  )

  test('can be of one application: only what it sends and receives', async () => {
    const documentFor = (of: Application): object => asyncApiOf(catalogueOf(shop()), { of })
    const { faults, messages, operations } = await read(documentFor({ kind: 'consumer', name: 'billing' }))
    expect(faults).toEqual([])
    expect(operations).toEqual(['consumer.billing.receive.orders', 'consumer.billing.send.orders'])
    expect([...new Set(messages.map(({ id }) => id))].sort()).toEqual(['order.paid', 'order.placed'])
    // EventCatalog documents a message where it is published.
    expect(documentFor({ kind: 'consumer', name: 'billing' })).toMatchObject({
      components: { messages: { 'order.placed': { 'x-eventcatalog-role': 'client' } } },
    })
    expect(JSON.stringify(documentFor({ kind: 'source', name: '/shop' }))).not.toContain('x-eventcatalog-role')
    const shopOnly = await read(documentFor({ kind: 'source', name: '/shop' }))
    expect([shopOnly.faults, shopOnly.operations]).toEqual([[], ['source._shop.send.orders']])
    expect(await read(documentFor({ kind: 'rule', name: 'low' }))).toMatchObject({
      faults: [],
      operations: ['rule.low.receive.orders', 'rule.low.send.restock'],
    })
    expect(await read(documentFor({ kind: 'consumer', name: 'nobody' }))).toMatchObject({ faults: [], operations: [] })
  })

  test('is the same for the same facts in another order', () => {
    const facts = shop()
    const turned: CatalogueFacts = {
      channels: [...facts.channels].reverse(),
      consumers: [...facts.consumers].reverse(),
      rules: [...facts.rules].reverse(),
      seen: [...facts.seen].reverse(),
      unread: [],
    }
    expect(JSON.stringify(documentOf(turned))).toBe(JSON.stringify(documentOf(facts)))
  })

  test('shows an event without a known schema as a message that takes anything', async () => {
    const { faults, messages } = await read(documentOf(factsOf([stream('raw', { events: [event('a.b')] })])))
    expect(faults).toEqual([])
    expect(messages.find(({ id }) => id === 'a.b')?.payload).toMatchObject({})
  })

  test('has a message for each schema of a type that has several', async () => {
    const facts = factsOf([
      stream('one', { events: [event('a', z.object({ x: z.string() }))] }),
      stream('two', { events: [event('a', z.object({ x: z.number() }))] }),
    ])
    const { faults, messages } = await read(documentOf(facts))
    expect(faults).toEqual([])
    expect(new Set(messages.map(({ id }) => id)).size).toBe(2)
  })

  test('has a message for each version: consumers receive all, producers send the newest', async () => {
    const Paid = event('a', z.object({ x: z.string() })).nextVersion(2, z.object({ y: z.string() }), ({ x }) => ({
      y: x,
    }))
    const facts: CatalogueFacts = {
      ...factsOf([stream('one', { events: [Paid, event('a_v1')] })]),
      consumers: [{ name: 'c', channels: ['one'] }],
      seen: [
        { channel: 'one', type: 'a', example: null, makers: [{ kind: 'source', name: 's', certain: true, lastMs: 0 }] },
      ],
    }
    const document = documentOf(facts)
    expect((await read(document)).faults).toEqual([])
    expect(document).toMatchObject({
      components: { messages: { a: { name: 'a', 'x-eventcatalog-message-version': '2' } } },
      operations: {
        'consumer.c.receive.one': { messages: [{}, {}, {}] },
        'source.s.send.one': { messages: [{ $ref: '#/channels/one/messages/a' }] },
      },
    })
  })

  test('is valid whatever names there are', async () => {
    const names = ['a$b', 'a_b', '__proto__', 'constructor', 'toString', 'CloudEventHeaders', 'A_b']
    const facts = factsOf(
      names.map((name) =>
        queue(name, { events: names.map((type) => event(type, z.object({ name: z.literal(type) }))) }),
      ),
    )
    const { faults, messages } = await read(documentOf(facts))
    expect(faults).toEqual([])
    expect(new Set(messages.map(({ id }) => id)).size).toBe(names.length)
  })
})

/** Schemas that anyone with permission to declare a channel can supply. */
const HOSTILE: readonly JsonObject[] = [
  { type: 7 },
  { type: ['string', 'string'] },
  { type: 'object', required: 'all', properties: [] },
  { properties: { a: { $ref: 'https://elsewhere.example/schema.json' } } },
  { properties: { a: { $ref: '#/nowhere' }, b: { $ref: '#/$defs/none' }, c: { $ref: 7 } } },
  { const: { $ref: '#/nowhere' }, enum: [{ $ref: '#/channels' }], default: { $ref: 'file:///etc/passwd' } },
  { examples: [{ deep: [{ $ref: '#/nowhere' }] }] },
  { pattern: '(', patternProperties: { '[': { type: 'string' } } },
  { minimum: 'one', maxLength: -1, multipleOf: 0, enum: [], allOf: [] },
  { $id: 'https://elsewhere.example/', $anchor: 'x', $schema: 'https://elsewhere.example/meta' },
  { properties: { __proto__: { type: 'string' }, $ref: { type: 'string' } } },
  JSON.parse(`${'{"not":'.repeat(3000)}{}${'}'.repeat(3000)}`) as JsonObject,
]

describe('the schema of a message', () => {
  test.each(HOSTILE.map((schema) => [JSON.stringify(schema).slice(0, 80), schema] as const))(
    'leaves the document valid: %s',
    async (_name, schema) => {
      const [channel] = factsOf([stream('orders', { events: [event('a', z.object({}))] })]).channels
      const { faults } = await read(
        documentOf({
          ...factsOf([]),
          channels: [{ ...(channel as NonNullable<typeof channel>), schemas: { a: schema } }],
        }),
      )
      expect(faults).toEqual([])
    },
  )
})

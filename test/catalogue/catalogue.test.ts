/** The catalogue from facts: what it lists, what it warns of, and what a caller sees. */
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type CatalogueFacts, catalogueOf } from '../../src/catalogue/catalogue.ts'
import type { Looked } from '../../src/catalogue/look.ts'
import { type Viewer, visibleFacts } from '../../src/catalogue/visible.ts'
import { type Channel, event, stream } from '../../src/index.ts'
import { factsOf, rule, shop } from './shop-facts.ts'

const eventIn = (facts: CatalogueFacts, type: string): ReturnType<typeof catalogueOf>['events'][number] =>
  catalogueOf(facts).events.find((each) => each.type === type) ?? expect.fail(`there is no ${type}`)
/** A schema whose library gives no JSON Schema. */
const opaque = { '~standard': { version: 1, vendor: 'own', validate: (value: unknown) => ({ value }) } } as const

describe('the catalogue', () => {
  test('lists an event with its schema, producers, readers and example', () => {
    const placed = eventIn(shop(), 'order.placed')
    expect(placed).toMatchObject({
      channels: ['orders'],
      producers: [{ kind: 'source', name: '/shop', channel: 'orders', certain: true }],
      consumers: [{ name: 'billing', channel: 'orders' }],
      rules: [{ name: 'low', channel: 'orders' }],
      examples: [{ channel: 'orders', offset: 4 }],
    })
    const [schema] = placed.schemas
    expect(schema).toMatchObject({ state: 'known', channels: ['orders'], schema: { type: 'object' } })
    expect(schema?.path).toBe(`/schemas/order.placed/${schema?.fingerprint}`)
  })

  test('lists what a rule would emit, and only the rules that may take a type', () => {
    expect(eventIn(shop(), 'stock.low').producers).toEqual([
      { kind: 'rule', name: 'low', channel: 'restock', certain: true, lastSeen: null },
    ])
    expect(eventIn(shop(), 'order.paid').rules).toEqual([])
  })

  test.each([
    [{ type: [{ prefix: 'order.' }] }, true],
    [{ type: ['stock.low'] }, false],
    [{ data: { x: [1] } }, true],
    [{ $or: [{ type: ['order.paid'] }, { type: ['order.placed'], data: { x: [1] } }] }, true],
    [{ $or: [{ type: ['order.paid'] }, { type: ['stock.low'] }] }, false],
    [{ $or: [{ type: ['order.paid'] }, { subject: ['x'] }] }, true],
    [{ type: ['stock.low'], $or: [{ type: ['order.placed'] }, { subject: ['x'] }] }, true],
    ["type = 'order.placed' AND subject = 'x'", true],
    ["type = 'stock.low'", false],
    ["subject = 'x'", true],
  ])('a rule with the condition %j may take order.placed: %s', (when, takes) => {
    expect(rule({ name: 'r', on: 'orders', when, then: 'drop' }).mayTake('order.placed')).toBe(takes)
  })

  test('warns of an opaque schema, of one that is too large, and of two schemas of one type', () => {
    const large = z.object(Object.fromEntries(Array.from({ length: 4000 }, (_, at) => [`member${at}`, z.string()])))
    const { warnings, events } = catalogueOf(
      factsOf([
        stream('one', { events: [event('a', opaque), event('b', large), event('c', z.string()), event('d')] }),
        stream('two', { events: [event('c', z.number())] }),
      ]),
    )
    expect(warnings.map(({ code, type }) => `${code} ${type}`)).toEqual([
      'opaque-schema a',
      'large-schema b',
      'two-schemas c',
    ])
    expect(events.map(({ type, schemas }) => [type, schemas.map(({ state }) => state)])).toEqual([
      ['a', ['opaque']],
      ['b', ['too large']],
      ['c', ['known', 'known']],
      ['d', ['none']],
    ])
  })

  test('lists every version of an event, the newest first, and warns only of newest schemas that differ', () => {
    const First = event('a', z.object({ euros: z.number(), card: z.string().meta({ 'x-sensitive': true }) }))
    const Second = First.nextVersion(2, z.object({ cents: z.number() }), ({ euros }) => ({ cents: euros * 100 }))
    const facts = factsOf([stream('new', { events: [Second] }), stream('old', { events: [First] })])
    const { schemas } = eventIn(facts, 'a')
    expect(schemas.map(({ version, earlier, channels }) => [version, earlier, channels])).toEqual([
      [2, false, ['new']],
      [1, false, ['old']],
      [1, true, ['new']],
    ])
    expect(schemas[2]?.path).toBe(schemas[1]?.path)
    expect(catalogueOf(facts).warnings.map(({ code }) => code)).toEqual(['two-schemas'])
    expect(catalogueOf(factsOf([stream('new', { events: [Second] })])).warnings).toEqual([])
  })

  test('has one schema for channels that declare the same, whatever the order of its members', () => {
    const [one] = factsOf([stream('one', { events: [event('a', z.object({ x: z.string() }))] })]).channels
    const schemas = { a: { type: 'object', properties: { x: { type: 'string' } }, required: ['x'] } }
    const turned = { a: { required: ['x'], properties: { x: { type: 'string' } }, type: 'object' } }
    const channels = [
      { ...(one as NonNullable<typeof one>), schemas },
      { ...(one as NonNullable<typeof one>), name: 'two', schemas: turned },
    ]
    expect(eventIn({ ...factsOf([]), channels }, 'a').schemas).toMatchObject([{ channels: ['one', 'two'] }])
  })

  test('has no member of every object as the schema of a type', () => {
    const facts = factsOf([
      stream('orders', { events: [event('constructor'), event('__proto__'), event('x', z.string())] }),
    ])
    expect(catalogueOf(facts).events.map(({ type, schemas }) => [type, schemas[0]?.state])).toEqual([
      ['__proto__', 'none'],
      ['constructor', 'none'],
      ['x', 'known'],
    ])
  })
})

describe('what a caller sees', () => {
  const text = JSON.stringify({
    specversion: '1.0',
    id: '1',
    source: '/shop',
    type: 'order.paid',
    data: { order: 'o-1', card: '4111' },
  })
  const lookedOf = (channels: readonly Channel[]): Looked => ({
    ...shop(),
    channels: channels.map(({ spec }) => spec),
    seen: [
      {
        channel: 'orders',
        type: 'order.paid',
        makers: [{ kind: 'consumer', name: 'secret-reader', certain: true, lastMs: 0 }],
        newest: { offset: 3, text },
      },
    ],
    unread: [{ code: 'not-read', message: 'no', channel: 'secrets' }],
  })
  const schema = z.object({ order: z.string(), card: z.string().meta({ 'x-sensitive': true }) })
  const only = (channel: string, reads = true): Viewer => ({ sees: (name) => name === channel, reads: () => reads })
  const orders = stream('orders', { events: [event('order.paid', schema)] })

  test('is its channels, with nothing of others', () => {
    const { channels, consumers, rules, warnings, events } = catalogueOf(
      visibleFacts(lookedOf([orders, stream('secrets', { events: [event('secret')] })]), only('orders')),
    )
    expect(channels.map(({ name }) => name)).toEqual(['orders'])
    expect(consumers.map(({ name }) => name)).toEqual(['billing'])
    expect(rules).toMatchObject([{ name: 'low', on: ['orders'], writes: [] }])
    expect(warnings).toEqual([])
    expect(events.map(({ type, producers }) => [type, producers])).toEqual([['order.paid', []]])
  })

  test('is an example in its own version, with the fields masked that any version marks', () => {
    const Newer = event('order.paid', schema).nextVersion(2, z.object({ order: z.string() }), ({ order }) => ({
      order,
    }))
    const channel = stream('orders', { events: [Newer] })
    const examplesOf = (dataversion: number): unknown => {
      const of = JSON.stringify({ ...(JSON.parse(text) as object), dataversion })
      const looked = lookedOf([channel])
      const [seen] = looked.seen
      const newest = [{ ...(seen as NonNullable<typeof seen>), newest: { offset: 3, text: of } }]
      return eventIn(visibleFacts({ ...looked, seen: newest }, only('orders')), 'order.paid').examples
    }
    expect(examplesOf(1)).toMatchObject([{ version: 1, masked: true, event: { data: { card: '[masked]' } } }])
    expect(examplesOf(2)).toMatchObject([{ version: 2, masked: true, event: { data: { card: '[masked]' } } }])
    // What a version that is not declared marks is not known.
    expect(examplesOf(3)).toEqual([])
  })

  test('is examples with their sensitive fields masked, and only where it may read', () => {
    const examples = (viewer: Viewer, channel: Channel = orders): unknown =>
      eventIn(visibleFacts(lookedOf([channel]), viewer), 'order.paid').examples
    expect(examples(only('orders'))).toMatchObject([
      { offset: 3, masked: true, event: { data: { order: 'o-1', card: '[masked]' } } },
    ])
    expect(JSON.stringify(examples(only('orders')))).not.toContain('4111')
    expect(examples(only('orders', false))).toEqual([])
    expect(examples(only('orders'), stream('orders', { events: [event('order.paid', opaque)] }))).toEqual([])
    expect(examples(only('orders'), stream('orders'))).toMatchObject([{ masked: false }])
  })
})

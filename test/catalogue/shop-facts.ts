/** The facts of a small shop, and schemas as libraries write them, with values. */
import { type } from 'arktype'
import { z } from 'zod'
import type { JsonObject } from '../../src/base/json-object.ts'
import type { CatalogueFacts, SeenType } from '../../src/catalogue/catalogue.ts'
import { ruleFacts } from '../../src/catalogue/rule-facts.ts'
import type { Channel } from '../../src/channel/channel.ts'
import { event, queue, stream } from '../../src/index.ts'
import type { RuleDefinition } from '../../src/rules/rule.ts'

const Placed = event(
  'order.placed',
  z.object({
    order: z.string(),
    total: z.number(),
    lines: z.array(z.object({ sku: z.string(), count: z.int().min(1) })),
  }),
)
const Paid = event('order.paid', z.object({ order: z.string(), card: z.string().meta({ 'x-sensitive': true }) }))
export const LOW: RuleDefinition = {
  name: 'low',
  on: 'orders',
  when: { type: ['order.placed'], data: { total: [{ numeric: ['>', 100] }] } },
  then: { emit: { channel: 'restock', type: 'stock.low', data: {} } },
}

export function factsOf(channels: readonly Channel[]): CatalogueFacts {
  return { channels: channels.map(({ spec }) => spec), consumers: [], rules: [], seen: [], unread: [] }
}

export function shop(): CatalogueFacts {
  return {
    ...factsOf([
      queue('restock', { events: [event('stock.low')] }),
      stream('orders', { events: [Placed, Paid], key: 'data.order' }),
    ]),
    consumers: [
      { name: 'restockers', channels: ['restock'] },
      { name: 'billing', channels: ['orders'] },
      { name: 'rules.orders', channels: ['orders'] },
    ],
    rules: [rule(LOW)],
    seen: [
      seenOf('order.paid', { kind: 'consumer', name: 'billing' }, { order: 'o-1', card: '[masked]' }),
      seenOf('order.placed', { kind: 'source', name: '/shop' }, { order: 'o-1', total: 7, lines: [] }),
    ],
  }
}

export function rule(definition: RuleDefinition): CatalogueFacts['rules'][number] {
  return ruleFacts({
    name: definition.name,
    enabled: true,
    revision: 1,
    definition,
    author: 'me',
    changedAt: '2026-01-01T00:00:00Z',
    file: null,
    problem: null,
  })
}

function seenOf(
  type: string,
  maker: { readonly kind: 'source' | 'consumer'; readonly name: string },
  data: object,
): SeenType {
  const event = { specversion: '1.0', id: '1', source: '/shop', type, data }
  return {
    channel: 'orders',
    type,
    makers: [{ ...maker, certain: true, lastMs: 0 }],
    example: { channel: 'orders', offset: 4, version: 1, event, masked: type === 'order.paid' },
  }
}

type Values = readonly (readonly [value: unknown, valid: boolean])[]

/** JSON Schemas as libraries write them, with values that they accept and refuse. */
export function schemasOf(): readonly (readonly [name: string, schema: JsonObject, values: Values])[] {
  const Tree = z.object({
    name: z.string(),
    get parts() {
      return z.array(Tree)
    },
  })
  return [
    [
      'a tuple with a rest',
      input(z.tuple([z.string(), z.number()], z.boolean())),
      [
        [['a', 1, true], true],
        [['a', 1, 'x'], false],
        [[1, 1], false],
      ],
    ],
    [
      'a tuple without one',
      input(type(['string', 'number'])),
      [
        [['a', 1], true],
        [['a', 'b'], false],
        [['a', 1, 2], false],
      ],
    ],
    [
      'a recursive object',
      input(Tree),
      [
        [{ name: 'a', parts: [{ name: 'b', parts: [] }] }, true],
        [{ name: 'a', parts: [{ name: 1, parts: [] }] }, false],
      ],
    ],
    [
      'a union by a literal',
      input(
        z.discriminatedUnion('kind', [
          z.object({ kind: z.literal('a'), x: z.number().gt(3) }),
          z.object({ kind: z.literal('b') }),
        ]),
      ),
      [
        [{ kind: 'a', x: 4 }, true],
        [{ kind: 'a', x: 3 }, false],
        [{ kind: 'b' }, true],
        [{ kind: 'c' }, false],
      ],
    ],
    [
      'a record',
      input(z.record(z.string().regex(/^[a-z]+$/), z.number())),
      [
        [{ a: 1 }, true],
        [{ a: 'x' }, false],
        [{ A: 1 }, false],
      ],
    ],
    [
      'a reference with its own words beside it',
      { $ref: '#/$defs/Name', description: 'x', minLength: 3, $defs: { Name: { type: 'string', maxLength: 4 } } },
      [
        ['abc', true],
        ['ab', false],
        ['abcde', false],
      ],
    ],
  ]
}

function input(schema: { readonly '~standard': unknown }): JsonObject {
  const standard = schema['~standard'] as { jsonSchema: { input(options: { target: string }): JsonObject } }
  return JSON.parse(JSON.stringify(standard.jsonSchema.input({ target: 'draft-2020-12' }))) as JsonObject
}

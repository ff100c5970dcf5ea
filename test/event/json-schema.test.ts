/**
 * Data checked by stored schemas: with the same results as another validator, with messages that name the member, and
 * in limited time for every schema.
 */
import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../src/base/json-object.ts'
import { schemaOf } from '../../src/event/json-schema.ts'

interface Issue {
  readonly message: string
  readonly path?: readonly unknown[]
}

function faults(schema: JsonObject, data: unknown): readonly Issue[] {
  const result = schemaOf(schema)['~standard'].validate(data) as { readonly issues?: readonly Issue[] }
  return result.issues ?? []
}

const NAMES = ['a', 'b', 'ab', 'toString', '__proto__', ''] as const
const name = fc.constantFrom(...NAMES)
/** Ajv does not report a missing member whose name is empty. */
const needed = fc.uniqueArray(fc.constantFrom(...NAMES.slice(0, -1)), { maxLength: 2 })
const small = fc.integer({ min: 0, max: 3 })

const { data } = fc.letrec<{ data: unknown }>((tie) => ({
  data: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false, 0, 1, 2, 3, -1, 1.5, '', 'a', 'ab', 'b', 'bb1', '😀😀'),
    fc.array(tie('data'), { maxLength: 3 }),
    fc
      .array(fc.tuple(name, tie('data')), { maxLength: 3 })
      .map((members) => JSON.parse(JSON.stringify(Object.fromEntries(members))) as unknown),
  ),
}))

const TYPES = ['null', 'boolean', 'string', 'number', 'integer', 'array', 'object'] as const

/** A schema of a few keywords. */
const { schema } = fc.letrec<{ schema: unknown }>((tie) => {
  const each = tie('schema')
  const several = fc.array(each, { minLength: 1, maxLength: 3 })
  const members = fc.dictionary(fc.constantFrom('a', 'b', 'ab', 'toString'), each, { maxKeys: 3 })
  const keywords: Record<string, fc.Arbitrary<unknown>> = {
    type: fc.oneof(
      fc.constantFrom(...TYPES),
      fc.uniqueArray(fc.constantFrom(...TYPES), { minLength: 1, maxLength: 3 }),
    ),
    enum: fc.uniqueArray(data, { minLength: 1, maxLength: 4, selector: (value) => JSON.stringify(value) }),
    const: data,
    minimum: small,
    maximum: small,
    exclusiveMinimum: small,
    exclusiveMaximum: small,
    multipleOf: fc.integer({ min: 1, max: 3 }),
    minLength: small,
    maxLength: small,
    pattern: fc.constantFrom('^a', 'b$', '^[a-z]*\\d?$', '(a|b)+1', '^(?:a?b?)*$', '\\p{L}', '^.$'),
    minItems: small,
    maxItems: small,
    uniqueItems: fc.boolean(),
    items: each,
    prefixItems: several,
    // With a schema that accepts everything, Ajv finds an item in an empty array.
    contains: each.map((one) => (one === true || JSON.stringify(one) === '{}' ? { type: 'string' } : one)),
    minContains: small,
    maxContains: small,
    required: needed,
    minProperties: small,
    maxProperties: small,
    properties: members,
    patternProperties: fc.dictionary(fc.constantFrom('^a', 'b$', '.'), each, { maxKeys: 2 }),
    additionalProperties: each,
    propertyNames: each,
    dependentRequired: fc.dictionary(fc.constantFrom('a', 'b'), needed, { maxKeys: 2 }),
    allOf: several,
    anyOf: several,
    oneOf: several,
    not: each,
    if: each,
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    then: each,
    else: each,
    $ref: fc.constantFrom('#/$defs/one', '#/$defs/two'),
  }
  const some = fc
    .array(
      fc
        .constantFrom(...Object.keys(keywords))
        .chain((keyword) => (keywords[keyword] as fc.Arbitrary<unknown>).map((value) => [keyword, value] as const)),
      { maxLength: 4 },
    )
    .map((pairs) => judgedAlike(Object.fromEntries(pairs)))
  return { schema: fc.oneof({ depthSize: 'small' }, fc.boolean(), some) }
})

/** Beside `prefixItems`, Ajv finds a match for `contains` in an empty array. */
function judgedAlike({ contains, ...others }: Record<string, unknown>): Record<string, unknown> {
  return contains === undefined || others['prefixItems'] !== undefined ? others : { contains, ...others }
}

/** `MILLRACE_FUZZ=N` checks N times as many, with other seeds. */
const TIMES = Number(process.env['MILLRACE_FUZZ'] ?? 1)

test('as Ajv judges it', () => {
  const root = fc.tuple(schema, schema, schema).filter(([each]) => typeof each === 'object')
  fc.assert(
    fc.property(root, fc.array(data, { minLength: 5, maxLength: 10 }), ([each, one, two], values) => {
      const whole = { ...(each as object), $defs: { one: withoutRef(one), two } } as JsonObject
      const ajv = new Ajv2020({
        strict: false,
        ownProperties: true,
        validateFormats: false,
        validateSchema: false,
        logger: false,
      })
      let judge: (value: unknown) => boolean
      try {
        judge = ajv.compile(whole)
        for (const value of values) judge(value)
      } catch {
        // A schema that refers to itself endlessly.
        return
      }
      for (const value of values) expect([value, faults(whole, value).length === 0]).toEqual([value, judge(value)])
    }),
    { numRuns: 400 * TIMES, ...(TIMES === 1 && { seed: 1 }) },
  )
}, 60_000)

/** Limits references, so that most of them end. */
function withoutRef(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (key, each: unknown) => (key === '$ref' ? '#/$defs/two' : each))
}

test('the schemas of a library take what the library takes, formats and all', () => {
  const made = z.object({
    email: z.email(),
    at: z.iso.datetime(),
    id: z.uuid(),
    url: z.url(),
    kind: z.discriminatedUnion('k', [
      z.object({ k: z.literal('a'), v: z.string() }),
      z.object({ k: z.literal('b'), v: z.int() }),
    ]),
    tags: z.array(z.string().regex(/^[a-z]+(-[a-z]+)*$/)).max(3),
    more: z.record(z.string(), z.number()).optional(),
  })
  const json = z.toJSONSchema(made) as JsonObject
  const good = {
    email: 'ann@example.com',
    at: '2026-01-02T03:04:05Z',
    id: 'b4f0f9e2-6d5c-4f4e-9d2a-3b8f7f6d5c4a',
    url: 'https://example.com',
    kind: { k: 'b', v: 1 },
    tags: ['a-b'],
  }
  expect(faults(json, good)).toEqual([])
  const bad = { ...good, email: 'no', at: 'yesterday', id: 'x', kind: { k: 'b', v: [] }, tags: ['A'] }
  expect(faults(json, bad).map(({ path }) => path?.join('.'))).toEqual(['email', 'at', 'id', 'kind.v', 'tags.0'])
})

/** Doubles with each level: there are 2^60 ways to find that nothing fits. */
const DOUBLING = {
  $ref: '#/$defs/d0',
  $defs: Object.fromEntries(
    Array.from({ length: 60 }, (_, at) => {
      const next = { $ref: `#/$defs/d${at + 1}` }
      return [`d${at}`, at === 59 ? false : { anyOf: [next, next] }]
    }),
  ),
}
const LONG = 'a'.repeat(60)
const ITEMS = Array.from({ length: 20_000 }, (_, at) => at)

describe('a schema of any kind is judged in a bounded time', () => {
  const cases: readonly (readonly [string, JsonObject, unknown])[] = [
    ['references that double', DOUBLING, 1],
    ['a reference to itself', { $ref: '#' }, 1],
    ['references to itself', { anyOf: [{ $ref: '#' }, { $ref: '#' }] }, 1],
    [
      'members that double',
      {
        $defs: { a: { oneOf: Array.from({ length: 3 }, () => ({ properties: { a: { $ref: '#/$defs/a' } } })) } },
        $ref: '#/$defs/a',
      },
      nested(100),
    ],
    ['an exponential pattern', { pattern: '^(a|a)*$' }, `${LONG}!`],
    ['a nested one', { pattern: '^(a+)+$' }, `${LONG}!`],
    ['one with a reference back', { pattern: '^(a*)\\1*(a*)*$' }, `${LONG}!`],
    ['a cubic one', { pattern: 'a*a*a*b' }, 'a'.repeat(50_000)],
    ['one for names', { patternProperties: { '^(a|aa)+$': true } }, { [`${LONG}!`]: 1 }],
    ['many slow ones', { allOf: Array.from({ length: 200 }, (_, at) => ({ pattern: `^(a|a)*${at}$` })) }, `${LONG}!`],
    [
      'an enumeration of many',
      { items: { enum: Array.from({ length: 5000 }, (_, at) => ({ at })) } },
      Array.from({ length: 2000 }, () => ({ no: 1 })),
    ],
    [
      'many patterns of names',
      { patternProperties: Object.fromEntries(ITEMS.slice(0, 3000).map((at) => [`x${at}`, true])) },
      Object.fromEntries(ITEMS.map((at) => [at, at])),
    ],
    [
      'a long text looked at often',
      { allOf: Array.from({ length: 5000 }, () => ({ minLength: 1, pattern: '^a*b' })) },
      'a'.repeat(100_000),
    ],
  ]
  test.each(cases)('%s', (_, each, value) => {
    const beganMs = performance.now()
    const told = faults(each, value)
    expect(performance.now() - beganMs).toBeLessThan(3000)
    expect(told.every(({ message }) => message !== '')).toBe(true)
  })

  test('a pattern that was slow is not tried again with a text as long', () => {
    const slow = { pattern: '^(b|b)*$' }
    const text = `${'b'.repeat(60)}!`
    expect(faults(slow, text)).toMatchObject([{ message: expect.stringContaining('too long') }])
    const beganMs = performance.now()
    for (let times = 0; times < 1000; times++)
      expect(faults(slow, text)).toMatchObject([{ message: expect.stringContaining('too long') }])
    expect(performance.now() - beganMs).toBeLessThan(3000)
    expect(faults(slow, 'bbb')).toEqual([])
  })

  test('data that is large is judged whole', () => {
    const many = {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          at: { type: 'integer', minimum: 0 },
          email: { type: 'string', pattern: '^(?:\\w+\\.)*\\w+@\\w+$' },
        },
      },
    }
    const items = ITEMS.map((at) => ({ at, email: `ann.${at}@example` }))
    expect(faults(many, items)).toEqual([])
    expect(faults(many, [...items, { at: -1 }])).toMatchObject([{ path: [20_000, 'at'] }])
    expect(faults({ uniqueItems: true }, items)).toEqual([])
  })
})

function nested(depth: number): unknown {
  return depth === 0 ? 1 : { a: nested(depth - 1) }
}

/** The checker, compared with a second validator over generated schemas and values, and by cases. */

import { Ajv2020 } from 'ajv/dist/2020.js'
import { type } from 'arktype'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../src/base/json-object.ts'
import { judgeChange } from '../../src/compatibility/schema-change.ts'

const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: false, logger: false })

/** A schema that refers to itself without a step into the value has no meaning: Ajv follows it without end. */
function accepted(schema: JsonObject, value: unknown): boolean {
  try {
    return ajv.validate(schema, value)
  } catch (error) {
    fc.pre(!(error instanceof RangeError))
    throw error
  }
}

const small = fc.integer({ min: -2, max: 4 })
const NAMES = ['a', 'b', 'kind'] as const
const nameArb = fc.constantFrom(...NAMES)
const textArb = fc.constantFrom('', 'a', 'b', 'aa', 'x', 'abc', 'aaaaa')
const leafArb = fc.oneof(small, textArb, fc.boolean(), fc.constant(null), fc.constantFrom(0.5, 2.5, 1e9))

/** Values over the same few names, numbers and texts as the schemas. */
const valueArb: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leafArb,
    fc.dictionary(fc.constantFrom(...NAMES, 'other'), tie('value'), { maxKeys: 4, noNullPrototype: true }),
    fc.array(tie('value'), { maxLength: 3 }),
  ),
})).value

const some = <T>(arb: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arb, { nil: undefined, freq: 2 })
const defined = (schema: Record<string, unknown>): JsonObject => JSON.parse(JSON.stringify(schema)) as JsonObject

const schemaArb: fc.Arbitrary<JsonObject> = fc.letrec<{ schema: JsonObject; root: JsonObject }>((tie) => {
  const numbers = fc
    .record({
      type: fc.constantFrom('number', 'integer'),
      minimum: some(small),
      maximum: some(small),
      exclusiveMinimum: some(small),
      exclusiveMaximum: some(small),
      multipleOf: some(fc.constantFrom(1, 2, 0.5)),
    })
    .map(defined)
  const texts = fc
    .record({
      type: fc.constant('string'),
      minLength: some(fc.nat(2)),
      maxLength: some(fc.nat(4)),
      pattern: some(fc.constantFrom('^a', 'b$', '^[a-z]*$')),
    })
    .map(defined)
  const objects = fc
    .record({
      type: fc.constant('object'),
      properties: fc.dictionary(nameArb, tie('schema'), { maxKeys: 3 }),
      required: some(fc.uniqueArray(nameArb, { maxLength: 2 })),
      additionalProperties: some(fc.oneof(fc.boolean(), tie('schema'))),
      propertyNames: some(fc.constant({ type: 'string' })),
      minProperties: some(fc.nat(2)),
      maxProperties: some(fc.nat(3)),
    })
    .map(defined)
  const arrays = fc
    .record({
      type: fc.constant('array'),
      items: some(fc.oneof(tie('schema'), fc.constant(false))),
      prefixItems: some(fc.array(tie('schema'), { minLength: 1, maxLength: 2 })),
      minItems: some(fc.nat(2)),
      maxItems: some(fc.nat(3)),
      uniqueItems: some(fc.constant(true)),
    })
    .map(defined)
  const unions = fc
    .record({
      keyword: fc.constantFrom('anyOf', 'oneOf', 'allOf'),
      of: fc.array(tie('schema'), { minLength: 1, maxLength: 3 }),
    })
    .map(({ keyword, of }) => ({ [keyword]: of }))
  return {
    schema: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom<JsonObject>(
        {},
        { type: 'null' },
        { type: 'boolean' },
        { type: ['string', 'null'] },
        { $ref: '#' },
        { $ref: '#/$defs/Node' },
      ),
      fc.uniqueArray(leafArb, { minLength: 1, maxLength: 3 }).map((values) => ({ enum: values })),
      leafArb.map((value) => ({ const: value })),
      numbers,
      texts,
      objects,
      arrays,
      unions,
      tie('schema').map((schema) => ({ not: schema })),
    ),
    root: fc
      .tuple(tie('schema'), tie('schema'))
      .map(([schema, node]) => ({ ...schema, $defs: { Node: { type: 'object', properties: { a: node } } } })),
  }
}).root

/** The schema with one of its parts changed: most pairs of unrelated schemas are incompatible. */
function changed(schema: unknown, at: number, by: unknown): unknown {
  const places: [container: Record<string, unknown>, key: string][] = []
  const copy = JSON.parse(JSON.stringify(schema)) as Record<string, unknown>
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const key of Object.keys(value)) {
      places.push([value as Record<string, unknown>, key])
      visit((value as Record<string, unknown>)[key])
    }
  }
  visit(copy)
  const place = places[at % Math.max(1, places.length)]
  if (place === undefined) return copy
  const [container, key] = place
  if (by === undefined || typeof container[key] === 'string' || Array.isArray(container)) delete container[key]
  else if (typeof container[key] === 'number') container[key] = Math.max(0, (container[key] as number) + 1)
  else if (typeof container[key] === 'object' && !Array.isArray(container[key])) container[key] = by
  return Array.isArray(container) ? schema : copy
}

/** A change can remove what a reference leads to. */
function compiles(schema: JsonObject): boolean {
  try {
    ajv.compile(schema)
    return true
  } catch {
    return false
  }
}

const pairArb = fc
  .tuple(schemaArb, schemaArb, fc.nat(200), fc.boolean(), fc.integer({ min: 0, max: 3 }))
  .map(([one, other, at, remove, how]): [JsonObject, JsonObject] => {
    if (how === 0) return [one, other]
    const next = changed(one, at, remove ? undefined : { type: 'string' }) as JsonObject
    return how === 1 ? [next, one] : [one, next]
  })
  .filter((pair) => pair.every((schema) => ajv.validateSchema(schema) === true && compiles(schema)))

/** Another seed tries other schemas. */
const SEED = Number(process.env['MILLRACE_SEED'] ?? 4711)

describe('a change of a schema', () => {
  it('is called compatible only if no generated value of the old schema is refused by the new one', () => {
    const counts = { compatible: 0, incompatible: 0, unknown: 0 }
    fc.assert(
      fc.property(pairArb, fc.array(valueArb, { minLength: 40, maxLength: 40 }), ([before, after], values) => {
        const { verdict, breaks } = judgeChange([before], after, 'backward', 'any')
        counts[verdict]++
        for (const { example } of breaks) {
          expect(accepted(before, example), `${JSON.stringify(example)} is accepted by the old schema`).toBe(true)
          expect(accepted(after, example), `${JSON.stringify(example)} is refused by the new schema`).toBe(false)
        }
        if (verdict !== 'compatible') return
        const refused = values.filter((value) => accepted(before, value) && !accepted(after, value))
        expect(refused).toEqual([])
      }),
      { seed: SEED, numRuns: 500, interruptAfterTimeLimit: 8000, endOnFailure: true },
    )
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(5)
  }, 60_000)
})

const json = (schema: z.ZodType): JsonObject =>
  JSON.parse(JSON.stringify(z.toJSONSchema(schema, { io: 'input' }))) as JsonObject
const Sku = z.object({ sku: z.string() })
const Tree: z.ZodType = z.object({
  name: z.string(),
  get children() {
    return z.array(Tree)
  },
})
const Wide: z.ZodType = z.object({
  name: z.string(),
  note: z.string().optional(),
  get children() {
    return z.array(Wide)
  },
})

describe('changes that people make', () => {
  it.each<[string, z.ZodType, z.ZodType, string, string?]>([
    ['nothing', Sku, Sku, 'compatible'],
    ['a new optional member', Sku, Sku.extend({ note: z.number().optional() }), 'compatible'],
    [
      'a new optional member of a closed object',
      z.strictObject({ a: z.string() }),
      z.strictObject({ a: z.string(), b: z.string().optional() }),
      'compatible',
    ],
    ['a new required member', Sku, Sku.extend({ price: z.number() }), 'incompatible', 'data.price'],
    ['a member that became optional', Sku, Sku.partial(), 'compatible'],
    ['a member that was dropped', Sku.extend({ price: z.number() }), Sku, 'compatible'],
    ['a wider enum', z.enum(['a', 'b']), z.enum(['a', 'b', 'c']), 'compatible'],
    ['a narrower enum', z.enum(['a', 'b']), z.enum(['a']), 'incompatible', 'data'],
    ['a member that may be null', z.object({ a: z.string() }), z.object({ a: z.string().nullable() }), 'compatible'],
    [
      'a member that may not be null',
      z.object({ a: z.string().nullable() }),
      z.object({ a: z.string() }),
      'incompatible',
      'data.a',
    ],
    ['a wider bound', z.object({ n: z.int().min(1).max(9) }), z.object({ n: z.int().min(0).max(10) }), 'compatible'],
    [
      'a narrower bound',
      z.object({ n: z.number().max(9) }),
      z.object({ n: z.number().max(8) }),
      'incompatible',
      'data.n',
    ],
    ['whole numbers only', z.object({ n: z.number() }), z.object({ n: z.int() }), 'incompatible', 'data.n'],
    [
      'another pattern',
      z.object({ s: z.string().regex(/^a/) }),
      z.object({ s: z.string().regex(/^ab/) }),
      'incompatible',
      'data.s',
    ],
    [
      'another pattern without an example',
      z.object({ s: z.string().regex(/^qz+$/) }),
      z.object({ s: z.string().regex(/^qz*z$/) }),
      'unknown',
    ],
    ['the same format', z.object({ s: z.email() }), z.object({ s: z.email() }).partial(), 'compatible'],
    [
      'one more branch of a union',
      z.discriminatedUnion('kind', [z.object({ kind: z.literal('a'), a: z.string() })]),
      z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('b') }),
        z.object({ kind: z.literal('a'), a: z.string() }),
      ]),
      'compatible',
    ],
    [
      'one branch fewer',
      z.discriminatedUnion('kind', [z.object({ kind: z.literal('b') }), z.object({ kind: z.literal('a') })]),
      z.discriminatedUnion('kind', [z.object({ kind: z.literal('a') })]),
      'incompatible',
      'data.kind',
    ],
    [
      'a wider recursive schema',
      Tree,
      z.object({
        name: z.string().optional(),
        get children() {
          return z.array(Tree)
        },
      }),
      'compatible',
    ],
    ['a longer list', z.array(z.string()).max(3), z.array(z.string()).max(4), 'compatible'],
    ['a shorter list', z.array(z.string()).max(3), z.array(z.string()).max(2), 'incompatible', 'data'],
    [
      'items of another type',
      z.object({ l: z.array(z.string()) }),
      z.object({ l: z.array(z.number()) }),
      'incompatible',
      'data.l[]',
    ],
    [
      'a tuple',
      z.tuple([z.string(), z.number()]),
      z.tuple([z.string(), z.union([z.number(), z.string()])]),
      'compatible',
    ],
    ['a record', z.record(z.string(), z.int()), z.record(z.string(), z.number()), 'compatible'],
    [
      'an intersection',
      z.intersection(Sku, z.object({ n: z.int() })),
      z.intersection(Sku, z.object({ n: z.number() })),
      'compatible',
    ],
  ])('%s', (_, before, after, verdict, path) => {
    const found = judgeChange([json(before)], json(after), 'backward')
    expect([found.verdict, found.undecided, found.breaks.map((each) => each.path)]).toMatchObject([
      verdict,
      verdict === 'unknown' ? expect.arrayContaining([expect.any(String)]) : [],
      path === undefined ? [] : expect.arrayContaining([path]),
    ])
  })

  it('are judged in the other direction, and against all earlier schemas, if the mode says so', () => {
    const [one, two, three] = [z.enum(['a', 'b']), z.enum(['a']), z.enum(['a', 'c'])].map(json) as [
      JsonObject,
      JsonObject,
      JsonObject,
    ]
    const verdict = (mode: Parameters<typeof judgeChange>[2]): string => judgeChange([two, one], three, mode).verdict
    expect(verdict('backward')).toBe('compatible')
    expect(verdict('forward')).toBe('incompatible')
    expect(verdict('full')).toBe('incompatible')
    expect(verdict('backward-transitive')).toBe('incompatible')
  })

  it('is judged also if a branch of a schema leads back to its own union', () => {
    const own = { allOf: [{ oneOf: [{ $ref: '#' }, { type: 'string', pattern: 'b$' }] }, { type: 'boolean' }] }
    expect(judgeChange([own], { type: 'string' }, 'backward', 'any').verdict).toMatch(/^(?:compatible|unknown)$/)
    expect(judgeChange([own], own, 'backward', 'any').verdict).toMatch(/^(?:compatible|unknown)$/)
  })

  it('are judged for schemas of other libraries', () => {
    const ark = (schema: { toJsonSchema(): object }): JsonObject => schema.toJsonSchema() as JsonObject
    const [before, after] = [
      ark(type({ a: 'string', 'b?': 'number' })),
      ark(type({ a: 'string', 'b?': 'number', c: 'string' })),
    ]
    expect(judgeChange([before], after, 'backward')).toMatchObject({
      verdict: 'incompatible',
      breaks: [{ path: 'data.c' }],
    })
    expect(judgeChange([after], before, 'backward').verdict).toBe('compatible')
  })
})

/** Schemas in the form of AsyncAPI accept what the JSON Schemas accept, judged by a second validator. */
import { Ajv } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/base/json-object.ts'
import { asyncSchema } from '../../src/catalogue/async-schema.ts'
import { schemasOf } from './shop-facts.ts'

const names = fc.constantFrom('a', 'b', '$ref')
const scalars = fc.constantFrom<unknown>(null, 0, 3, 'x', true)
const few = { minLength: 1, maxLength: 3 } as const

/** Schemas that draft-07 cannot say whole, or that have a member `$ref`. */
const LOSSY: readonly JsonObject[] = [
  { dependentRequired: { a: ['b'] } },
  { properties: { a: {} }, unevaluatedProperties: false },
  { contains: { type: 'integer' }, minContains: 2 },
  { properties: { $ref: { type: 'integer' } } },
  { properties: { $ref: {}, a: {} }, additionalProperties: false },
  { $ref: '#/$defs/A' },
  { $ref: '#/$defs/B', type: 'object' },
]

/** Small schemas of many kinds, and small values. */
const { schema: schemas, value: values } = fc.letrec((tie) => {
  const part = tie('schema')
  const list = fc.array(part, few)
  const keywords: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
    type: fc.constantFrom('object', 'array', 'integer', 'string'),
    enum: fc.uniqueArray(scalars, { ...few, selector: String }),
    const: scalars,
    properties: fc.dictionary(names, part, { maxKeys: 2 }),
    patternProperties: fc.dictionary(fc.constantFrom('^a', 'b$'), part, { maxKeys: 1 }),
    required: fc.uniqueArray(names, few),
    additionalProperties: part,
    unevaluatedProperties: part,
    dependentRequired: fc.constant({ a: ['b'] }),
    dependentSchemas: fc.dictionary(fc.constant('a'), part, { maxKeys: 1 }),
    propertyNames: part,
    items: part,
    prefixItems: list,
    contains: part,
    minContains: fc.constantFrom(0, 1, 2),
    unevaluatedItems: part,
    minItems: fc.constantFrom(0, 2),
    minimum: fc.constantFrom(1, 5),
    maxLength: fc.constant(0),
    allOf: list,
    anyOf: list,
    oneOf: list,
    not: part,
    if: part,
    then: part,
    else: part,
  }
  const keyword = fc.oneof(...Object.entries(keywords).map(([name, each]) => fc.record({ [name]: each })))
  return {
    value: fc.oneof(
      { depthSize: 'small' },
      scalars,
      fc.dictionary(names, tie('value'), { maxKeys: 3 }),
      fc.array(tie('value'), { maxLength: 3 }),
    ),
    schema: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom<unknown>(...LOSSY),
      part.map((each) => ({ not: each })),
      part.map((each) => ({ if: each, else: false })),
      fc.tuple(part, part).map((oneOf) => ({ oneOf })),
      fc.array(keyword, { minLength: 1, maxLength: 2 }).map((each) => Object.assign({}, ...each) as unknown),
    ),
  }
})

describe('a schema of AsyncAPI', () => {
  test.each(schemasOf())('accepts what the schema accepts: %s', (_name, schema, values) => {
    const exact = new Ajv2020({ strict: false, validateFormats: false }).compile(structuredClone(schema))
    const converted = { ...asyncSchema(schema, '#') }
    const draft7 = new Ajv({ strict: false, validateFormats: false }).compile(converted)
    for (const [value, valid] of values) {
      expect([value, exact(value)]).toEqual([value, valid])
      expect([value, draft7(value)]).toEqual([value, valid])
    }
  })

  test('never refuses what the schema accepts', () => {
    const options = { strict: false, validateFormats: false, logger: false } as const
    let refused = 0
    fc.assert(
      fc.property(schemas, fc.array(values, { minLength: 5, maxLength: 15 }), (schema, some) => {
        const root = { ...(schema as JsonObject), $defs: { A: { type: 'integer' }, B: { required: ['a'] } } }
        const exact = new Ajv2020(options).compile(root)
        const converted = new Ajv(options).compile(asyncSchema(root, '#'))
        for (const value of some)
          if (exact(value)) expect([root, value, converted(value)]).toEqual([root, value, true])
          else refused++
      }),
      { numRuns: 80 },
    )
    expect(refused).toBeGreaterThan(30)
  }, 60_000)
})

/**
 * The checker over the JSON Schemas of real schema libraries, with each library's own validation as the second
 * validator: what is called compatible is accepted, and the example of a break is accepted before and refused after.
 */
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import fc from 'fast-check'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../src/base/json-object.ts'
import { judgeChange } from '../../src/compatibility/schema-change.ts'

/** The shapes that all libraries have. */
type Shape =
  | { readonly kind: 'text'; readonly min: number; readonly max: number }
  | { readonly kind: 'number' | 'whole'; readonly min: number; readonly max: number }
  | { readonly kind: 'flag' }
  | { readonly kind: 'choice'; readonly of: readonly string[] }
  | { readonly kind: 'list'; readonly of: Shape; readonly min: number }
  | { readonly kind: 'either'; readonly of: readonly [Shape, Shape] }
  | {
      readonly kind: 'object'
      readonly members: Readonly<Record<string, { readonly shape: Shape; readonly optional: boolean }>>
      readonly closed: boolean
    }

interface Checked {
  readonly json: JsonObject
  readonly accepts: (value: unknown) => boolean
}

interface Library<Schema> {
  build(shape: Shape): Schema
  checked(schema: Schema): Checked
}

const plain = (schema: object): JsonObject => JSON.parse(JSON.stringify(schema)) as JsonObject
const members = <Schema>({ members }: Extract<Shape, { kind: 'object' }>, build: (shape: Shape) => Schema) =>
  Object.entries(members).map(([name, { shape, optional }]) => ({ name, schema: build(shape), optional }))

const zodLibrary: Library<z.ZodType> = {
  build(shape) {
    const build = (inner: Shape): z.ZodType => this.build(inner)
    switch (shape.kind) {
      case 'text':
        return z.string().min(shape.min).max(shape.max)
      case 'number':
        return z.number().min(shape.min).max(shape.max)
      case 'whole':
        return z.int().min(shape.min).max(shape.max)
      case 'flag':
        return z.boolean()
      case 'choice':
        return z.enum(shape.of as [string])
      case 'list':
        return z.array(build(shape.of)).min(shape.min)
      case 'either':
        return z.union(shape.of.map(build) as [z.ZodType, z.ZodType])
      case 'object': {
        const entries = members(shape, build).map(({ name, schema, optional }) => [
          name,
          optional ? schema.optional() : schema,
        ])
        return (shape.closed ? z.strictObject : z.object)(Object.fromEntries(entries) as Record<string, z.ZodType>)
      }
    }
  },
  checked: (schema) => ({
    json: plain(z.toJSONSchema(schema, { io: 'input' })),
    accepts: (value) => schema.safeParse(value).success,
  }),
}

const valibotLibrary: Library<v.GenericSchema> = {
  build(shape) {
    const build = (inner: Shape): v.GenericSchema => this.build(inner)
    switch (shape.kind) {
      case 'text':
        return v.pipe(v.string(), v.minLength(shape.min), v.maxLength(shape.max))
      case 'number':
        return v.pipe(v.number(), v.minValue(shape.min), v.maxValue(shape.max))
      case 'whole':
        return v.pipe(v.number(), v.integer(), v.minValue(shape.min), v.maxValue(shape.max))
      case 'flag':
        return v.boolean()
      case 'choice':
        return v.picklist(shape.of)
      case 'list':
        return v.pipe(v.array(build(shape.of)), v.minLength(shape.min))
      case 'either':
        return v.union(shape.of.map(build))
      case 'object': {
        const entries = members(shape, build).map(({ name, schema, optional }) => [
          name,
          optional ? v.optional(schema) : schema,
        ])
        const made = Object.fromEntries(entries) as v.ObjectEntries
        return shape.closed ? v.strictObject(made) : v.object(made)
      }
    }
  },
  checked: (schema) => ({
    json: plain(toStandardJsonSchema(schema)['~standard'].jsonSchema.input({ target: 'draft-2020-12' })),
    accepts: (value) => v.safeParse(schema, value).success,
  }),
}

const typeboxLibrary: Library<Type.TSchema> = {
  build(shape) {
    const build = (inner: Shape): Type.TSchema => this.build(inner)
    switch (shape.kind) {
      case 'text':
        return Type.String({ minLength: shape.min, maxLength: shape.max })
      case 'number':
        return Type.Number({ minimum: shape.min, maximum: shape.max })
      case 'whole':
        return Type.Integer({ minimum: shape.min, maximum: shape.max })
      case 'flag':
        return Type.Boolean()
      case 'choice':
        return Type.Union(shape.of.map((text) => Type.Literal(text)))
      case 'list':
        return Type.Array(build(shape.of), { minItems: shape.min })
      case 'either':
        return Type.Union(shape.of.map(build))
      case 'object': {
        const entries = members(shape, build).map(({ name, schema, optional }) => [
          name,
          optional ? Type.Optional(schema) : schema,
        ])
        return Type.Object(
          Object.fromEntries(entries) as Record<string, Type.TSchema>,
          shape.closed ? { additionalProperties: false } : {},
        )
      }
    }
  },
  checked: (schema) => ({ json: plain(schema), accepts: (value) => Value.Check(schema, value) }),
}

type Ark = ReturnType<typeof type.raw>
const arktypeLibrary: Library<Ark> = {
  build(shape) {
    const build = (inner: Shape): Ark => this.build(inner)
    switch (shape.kind) {
      case 'text':
        return type.raw(`${shape.min} <= string <= ${shape.max}`)
      case 'number':
        return type.raw(`${shape.min} <= number <= ${shape.max}`)
      case 'whole':
        return type.raw(`${shape.min} <= number.integer <= ${shape.max}`)
      case 'flag':
        return type.raw('boolean')
      case 'choice':
        return type.raw(shape.of.map((text) => `'${text}'`).join(' | '))
      case 'list':
        return build(shape.of).array().atLeastLength(shape.min) as unknown as Ark
      case 'either':
        return build(shape.of[0]).or(build(shape.of[1])) as unknown as Ark
      case 'object': {
        const entries = members(shape, build).map(({ name, schema, optional }) => [
          optional ? `${name}?` : name,
          schema,
        ])
        return type.raw({ ...(shape.closed && { '+': 'reject' }), ...Object.fromEntries(entries) })
      }
    }
  },
  checked: (schema) => ({
    json: plain(schema.toJsonSchema()),
    accepts: (value) => !(schema(value) instanceof type.errors),
  }),
}

const NAMES = ['a', 'b', 'c'] as const
const WORDS = ['', 'x', 'no', 'yes', 'long text'] as const
const bounds = fc.tuple(fc.integer({ min: -1, max: 2 }), fc.integer({ min: 2, max: 5 }))
const { root: objectArb, shape: shapeArb } = fc.letrec<{ shape: Shape; root: Shape }>((tie) => ({
  shape: fc.oneof(
    { maxDepth: 3 },
    bounds.map(([min, max]): Shape => ({ kind: 'text', min: Math.max(0, min), max })),
    fc
      .tuple(bounds, fc.constantFrom('number', 'whole'))
      .map(([[min, max], kind]): Shape => ({ kind: kind as 'number', min, max })),
    fc.constant<Shape>({ kind: 'flag' }),
    fc
      .uniqueArray(fc.constantFrom(...WORDS.slice(1)), { minLength: 1, maxLength: 3 })
      .map((of): Shape => ({ kind: 'choice', of })),
    fc.tuple(tie('shape'), fc.nat(1)).map(([of, min]): Shape => ({ kind: 'list', of, min })),
    fc.tuple(tie('shape'), tie('shape')).map((of): Shape => ({ kind: 'either', of })),
    tie('root'),
  ),
  root: fc
    .tuple(
      fc.dictionary(fc.constantFrom(...NAMES), fc.record({ shape: tie('shape'), optional: fc.boolean() }), {
        noNullPrototype: true,
      }),
      fc.boolean(),
    )
    .map(([members, closed]): Shape => ({ kind: 'object', members, closed })),
}))

/** Values near to a shape: most are accepted, and members that it does not declare are left out. */
function valueNear(shape: Shape, random: (below: number) => number): unknown {
  const pick = <T>(of: readonly T[]): T => of[random(of.length)] as T
  if (random(12) === 0) return pick([null, true, 1, 2.5, 'x', [], {}])
  switch (shape.kind) {
    case 'text':
      return pick(['', 'x', 'no', 'yes', 'text', 'texts', 'longer'])
    case 'number':
    case 'whole':
      return pick([-2, -1, 0, 1, 1.5, 2, 3, 4.5, 5, 6])
    case 'flag':
      return random(2) === 0
    case 'choice':
      return pick(WORDS)
    case 'list':
      return Array.from({ length: random(3) }, () => valueNear(shape.of, random))
    case 'either':
      return valueNear(pick(shape.of), random)
    case 'object':
      return Object.fromEntries(
        Object.entries(shape.members).flatMap(([name, { shape: of, optional }]) =>
          random(optional ? 2 : 10) === 0 ? [] : [[name, valueNear(of, random)]],
        ),
      )
  }
}

/** The shape with one change, as people make it. */
function changed(shape: Shape, other: Shape, how: number): Shape {
  if (shape.kind !== 'object') return other
  const names = Object.keys(shape.members)
  const name = names[how % Math.max(1, names.length)]
  const member = name === undefined ? undefined : shape.members[name]
  if (name === undefined || member === undefined || how % 6 === 0)
    return { ...shape, members: { ...shape.members, d: { shape: other, optional: how % 4 !== 0 } } }
  if (how % 6 === 1)
    return { ...shape, members: { ...shape.members, [name]: { ...member, optional: !member.optional } } }
  if (how % 6 === 2) return { ...shape, closed: !shape.closed }
  if (how % 6 === 3) {
    const { [name]: _, ...rest } = shape.members
    return { ...shape, members: rest }
  }
  const inner: Shape =
    how % 6 === 4 ? { kind: 'either', of: [member.shape, other] } : changed(member.shape, other, how >> 3)
  return { ...shape, members: { ...shape.members, [name]: { ...member, shape: inner } } }
}

/** Another seed tries other schemas. */
const SEED = Number(process.env['MILLRACE_SEED'] ?? 4711)

describe('a change of a schema', () => {
  it.each<[string, Library<never>]>([
    ['zod', zodLibrary as Library<never>],
    ['valibot', valibotLibrary as Library<never>],
    ['typebox', typeboxLibrary as Library<never>],
    ['arktype', arktypeLibrary as Library<never>],
  ])(
    'of %s is judged as the library itself validates',
    (_, library) => {
      const counts = { compatible: 0, incompatible: 0, unknown: 0 }
      fc.assert(
        fc.property(
          objectArb,
          shapeArb,
          fc.nat(1000),
          fc.infiniteStream(fc.nat(1_000_000)),
          (shape, other, how, stream) => {
            const random = (below: number): number => (stream.next().value as number) % below
            const next = changed(shape, other, how)
            const [before, after] = [library.checked(library.build(shape)), library.checked(library.build(next))]
            const { verdict, breaks } = judgeChange([before.json], after.json, 'backward')
            counts[verdict]++
            for (const { example, path } of breaks) {
              const shown = `${path}: ${JSON.stringify(example)}, ${JSON.stringify(before.json)} → ${JSON.stringify(after.json)}`
              expect(before.accepts(example), `accepted before: ${shown}`).toBe(true)
              expect(after.accepts(example), `refused after: ${shown}`).toBe(false)
            }
            if (verdict !== 'compatible') return
            const values = Array.from({ length: 40 }, () => valueNear(shape, random))
            expect(values.filter((value) => before.accepts(value) && !after.accepts(value))).toEqual([])
          },
        ),
        { seed: SEED, numRuns: 150, interruptAfterTimeLimit: 6000, endOnFailure: true },
      )
      expect(counts.compatible).toBeGreaterThan(5)
      expect(counts.incompatible).toBeGreaterThan(5)
    },
    60_000,
  )
})

/**
 * Looks for values that the writer's schema accepts and the reader's refuses. Each is tried with the validator: what is
 * returned is a break. Nothing found proves nothing.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { JsonObject } from '../base/json-object.ts'
import { schemaOf } from '../event/json-schema.ts'
import {
  conjunctsOf,
  finiteOf,
  firstItems,
  isWhole,
  itemOf,
  largest,
  mayHave,
  memberOf,
  propertiesOf,
  type Rooted,
  type RootedObject,
  requiredOf,
  type Schema,
  smallest,
  type TypeName,
  typesOf,
  type Undeclared,
  unionsOf,
} from './schema-view.ts'

/** A value that the reader refuses. */
export interface Refused {
  /** The field, as `data.items[].sku`. */
  readonly path: string
  /** What the reader says of it. */
  readonly message: string
  /** The whole data. */
  readonly example: unknown
}

const DEPTH_MAX = 6
/** Unions of one value that are split one after the other: a branch may lead back to its own union. */
const SPLITS_MAX = 16
const VALUES_MAX = 48
/** Schemas for which values are made, in one search. */
const CALLS_MAX = 2000
const TRIED_MAX = 4000
const FOUND_MAX = 20
/** A member that neither schema names. */
const OTHER = 'other'
/** Texts for patterns and formats. */
const TEXTS = [
  'text',
  '',
  'a',
  'A1',
  '1',
  '2026-01-31',
  '2026-01-31T12:00:00Z',
  '12:00:00',
  'a@example.com',
  'https://example.com/a',
  '0190a4b1-7c3e-7a54-9d1c-3b2f5e6a7b8c',
  'abc-123',
  '127.0.0.1',
  'AAAA',
  'é'.repeat(3),
]

/** One for each field and kind of refusal. */
export function refusedValues(writer: JsonObject, reader: JsonObject, undeclared: Undeclared): readonly Refused[] {
  const values = new Values(undeclared)
  const [written, read] = [schemaOf(writer), schemaOf(reader)]
  const found = new Map<string, Refused>()
  let tried = 0
  const hint = { schema: reader, root: reader }
  for (const example of values.of([{ schema: writer, root: writer }], [hint], 0)) {
    if (++tried > TRIED_MAX || found.size >= FOUND_MAX) break
    const issues = issuesOf(read, example)
    if (issues.length === 0 || issuesOf(written, example).length > 0) continue
    for (const { path = [], message } of issues) {
      const field = fieldOf(path)
      const key = `${field} ${message.replace(/; it is .*/, '')}`
      if (!found.has(key)) found.set(key, { path: field, message, example })
    }
  }
  return [...found.values()]
}

function issuesOf(schema: StandardSchemaV1, value: unknown): readonly StandardSchemaV1.Issue[] {
  const result = schema['~standard'].validate(value)
  return result instanceof Promise ? [] : (result.issues ?? [])
}

function fieldOf(path: StandardSchemaV1.Issue['path']): string {
  return (path ?? []).reduce<string>(
    (text, segment) => (typeof segment === 'number' ? `${text}[]` : `${text}.${String(segment)}`),
    'data',
  )
}

class Values {
  readonly #undeclared: Undeclared
  #calls = 0

  constructor(undeclared: Undeclared) {
    this.#undeclared = undeclared
  }

  /** Values for the writer's schemas. `hints` are the reader's, whose limits are worth trying. */
  of(schemas: readonly Rooted[], hints: readonly Rooted[], depth: number, splits = 0): unknown[] {
    if (depth > DEPTH_MAX || splits > SPLITS_MAX || ++this.#calls > CALLS_MAX) return []
    const conjuncts = conjunctsOf(schemas)
    if (conjuncts === false || conjuncts === null) return []
    const values = finiteOf(conjuncts)
    if (values !== null) return values.slice(0, VALUES_MAX)
    const [union] = unionsOf(conjuncts)
    if (union !== undefined) {
      const rest = conjuncts.map((each) => ({
        schema: plain(each.schema, each === union.at ? union.keyword : null),
        root: each.root,
      }))
      return interleaved(union.branches.map((branch) => this.of([...rest, branch], hints, depth, splits + 1)))
    }
    const shown = hinted(hints)
    return interleaved(typesOf(conjuncts).map((type) => this.#ofType(type, conjuncts, shown, depth)))
  }

  #ofType(
    type: TypeName,
    conjuncts: readonly RootedObject[],
    hints: readonly RootedObject[],
    depth: number,
  ): unknown[] {
    if (type === 'null') return [null]
    if (type === 'boolean') return [true, false]
    if (type === 'number') return numbers(conjuncts, hints)
    if (type === 'string') return texts(conjuncts, hints)
    return type === 'array' ? this.#arrays(conjuncts, hints, depth) : this.#objects(conjuncts, hints, depth)
  }

  #arrays(conjuncts: readonly RootedObject[], hints: readonly RootedObject[], depth: number): unknown[] {
    const first = firstItems(conjuncts)
    const least = Math.max(0, largest(conjuncts, 'minItems'))
    const most = smallest(conjuncts, 'maxItems')
    const at = (index: number): unknown[] =>
      this.of(itemOf(conjuncts, index), hints.length === 0 ? [] : itemOf(hints, index), depth + 1)
    const base = (size: number): unknown[] | null => {
      const items = Array.from({ length: size }, (_, index) => at(Math.min(index, first))[0])
      return items.some((item) => item === undefined) ? null : items
    }
    const limits = hints.flatMap(({ schema: { minItems, maxItems } }) => [minItems, maxItems])
    const near = limits.filter((limit) => typeof limit === 'number').flatMap((limit) => [limit - 1, limit + 1])
    const sizes = [...new Set([Math.max(least, first), least, 1, 0, 2, ...near])]
    const all = sizes.filter((size) => size >= least && size <= most && size <= 100).map(base)
    const found: unknown[][] = all.filter((items) => items !== null)
    const [shown] = found.filter((items) => items.length > 0)
    if (shown === undefined) return found
    const varied = shown.flatMap((_, index) =>
      at(Math.min(index, first))
        .slice(0, VALUES_MAX)
        .map((item) => shown.with(index, item)),
    )
    return [...found, ...varied]
  }

  #objects(conjuncts: readonly RootedObject[], hints: readonly RootedObject[], depth: number): unknown[] {
    const names = [...new Set(conjuncts.flatMap(({ schema }) => Object.keys(propertiesOf(schema))))]
    const required = requiredOf(conjuncts)
    for (const name of required) if (!names.includes(name)) names.push(name)
    const values = new Map(
      names.map((name) => [name, this.of(memberOf(conjuncts, name), memberOf(hints, name), depth + 1)] as const),
    )
    const made = (wanted: readonly string[]): Record<string, unknown> =>
      Object.fromEntries(
        wanted.flatMap((name) => (values.get(name)?.length ? [[name, values.get(name)?.[0]] as const] : [])),
      )
    const full = made(names)
    const small = made([...required])
    const others = [...new Set([...hints.flatMap(({ schema }) => Object.keys(propertiesOf(schema))), OTHER])].filter(
      (name) => !names.includes(name) && (this.#undeclared === 'any' || name === OTHER || mayHave(conjuncts, name)),
    )
    const found: Record<string, unknown>[] = [full, small]
    for (const name of names) {
      if (!required.has(name)) found.push(made(names.filter((each) => each !== name)))
      for (const value of (values.get(name) ?? []).slice(0, VALUES_MAX))
        found.push({ ...full, [name]: value }, { ...small, [name]: value })
    }
    // A member without a name of its own: in an open object it may be anything.
    for (const name of others)
      for (const value of this.of(memberOf(conjuncts, name), memberOf(hints, name), depth + 2).slice(0, 12))
        found.push({ ...full, [name]: value })
    return found.slice(0, depth === 0 ? TRIED_MAX : VALUES_MAX)
  }
}

/** Without what `conjunctsOf` has listed. */
function plain(schema: JsonObject, union: string | null): JsonObject {
  const left = Object.entries(schema).filter(([keyword]) => ![union, '$ref', 'allOf'].includes(keyword))
  return Object.fromEntries(left)
}

/** All object schemas among the hints, also inside unions; each once, as a branch may lead back to its own union. */
function hinted(hints: readonly Rooted[], taken: Set<Schema> = new Set()): RootedObject[] {
  const found = conjunctsOf(hints.filter(({ schema }) => schema !== false))
  if (found === null || found === false) return []
  const all = [...found]
  for (const branch of unionsOf(found).flatMap((union) => union.branches)) {
    if (taken.has(branch.schema)) continue
    taken.add(branch.schema)
    all.push(...hinted([branch], taken))
  }
  return all
}

function interleaved(lists: readonly (readonly unknown[])[]): unknown[] {
  const longest = Math.max(0, ...lists.map((list) => list.length))
  const all: unknown[] = []
  for (let at = 0; at < longest; at++) for (const list of lists) if (at < list.length) all.push(list[at])
  return all
}

const NUMBER_KEYWORDS = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'] as const
const LENGTH_KEYWORDS = ['minLength', 'maxLength'] as const

function numbers(conjuncts: readonly RootedObject[], hints: readonly RootedObject[]): number[] {
  const whole = isWhole(conjuncts)
  const bounds = [...conjuncts, ...hints].flatMap(({ schema }) => NUMBER_KEYWORDS.map((keyword) => schema[keyword]))
  const near = bounds
    .filter((bound) => typeof bound === 'number')
    .flatMap((bound) => [bound, bound - 1, bound + 1, bound + 0.5])
  const listed = hints.flatMap(({ schema: { enum: among } }) => (Array.isArray(among) ? among : []))
  const values = [1, ...near, 0, -1, 0.5, 1e9, -1e9, 2 ** 53, ...listed.filter((value) => typeof value === 'number')]
  const [least, most] = [largest(conjuncts, 'minimum'), smallest(conjuncts, 'maximum')]
  return [...new Set(values)].filter(
    (value) => value >= least && value <= most && Number.isFinite(value) && (!whole || Number.isInteger(value)),
  )
}

function texts(conjuncts: readonly RootedObject[], hints: readonly RootedObject[]): string[] {
  const lengths = [...conjuncts, ...hints].flatMap(({ schema }) => LENGTH_KEYWORDS.map((keyword) => schema[keyword]))
  const near = lengths
    .filter((length) => typeof length === 'number')
    .flatMap((length) => [length, length - 1, length + 1])
  const sized = near.filter((length) => length >= 0 && length <= 10_000).map((length) => 'a'.repeat(length))
  const listed = hints.flatMap(({ schema: { enum: among } }) => (Array.isArray(among) ? among : []))
  const all = [...new Set([...TEXTS, ...sized, ...listed.filter((value) => typeof value === 'string')])]
  return all.filter((text) => conjuncts.every(({ schema }) => issuesOf(schemaOf(ofText(schema)), text).length === 0))
}

/** The part of a schema that is about texts. */
function ofText({ minLength, maxLength, pattern, not }: JsonObject): JsonObject {
  return {
    ...(minLength !== undefined && { minLength }),
    ...(maxLength !== undefined && { maxLength }),
    ...(pattern !== undefined && { pattern }),
    ...(not !== undefined && { not }),
  }
}

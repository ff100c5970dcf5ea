/**
 * The places of data that a JSON Schema marks as sensitive, with `"x-sensitive": true`.
 *
 * A place is marked if any schema that can apply there marks it: every branch of `anyOf`, `oneOf`, `allOf`, `if` and
 * `$ref` counts, whatever the data satisfies. Data that satisfies no schema is masked, too: a text, for example, where
 * the schemas know only an object with marks. A reference that cannot be followed counts as marked.
 *
 * Places are made when they are needed. Their number is bounded: beyond the bound a place counts as marked.
 */
import { isJsonObject, type JsonObject } from '../../base/json-object.ts'
import { LIMITS } from '../../base/limits.ts'
import { matchesPattern, NeedsTimeLimit } from '../json-pattern.ts'

/** The keyword that marks a schema. */
export const SENSITIVE = 'x-sensitive'

/** Keywords with schemas for the same place. */
const REFERENCES = ['$ref', '$dynamicRef', '$recursiveRef'] as const
const SAME = ['if', 'then', 'else'] as const
const SAME_LISTS = ['allOf', 'anyOf', 'oneOf'] as const
const SAME_BY_NAME = ['dependentSchemas', 'dependencies'] as const
const MEMBERS = ['properties', 'patternProperties', 'additionalProperties', 'unevaluatedProperties'] as const
const ITEMS = ['prefixItems', 'items', 'additionalItems', 'contains', 'unevaluatedItems'] as const

/** What JSON values are, as far as a place tells them apart. Nothing is secret about true, false and null. */
export type Shape = 'object' | 'array' | 'string' | 'number'

/** A place in the data: whether it is marked, and its members and items that lead to marks. */
export interface Place {
  readonly marked: boolean
  /** The schemas say what such a value is here. A value of another shape may contain what they mark elsewhere. */
  takes(shape: Shape): boolean
  member(name: string): Place | null
  item(index: number): Place | null
}

/** The place of the whole data; null if the schema marks nothing. */
export function markedPlaces(schema: JsonObject): Place | null {
  return new Places(schema).of([schema])
}

class Places {
  readonly #marks: Marks
  readonly #known = new Map<string, Place>()

  constructor(root: JsonObject) {
    this.#marks = marksOf(root)
  }

  /** The place to which all these schemas apply; null if none of them leads to a mark. */
  of(schemas: readonly unknown[]): Place | null {
    const { leading, marked } = this.#marks
    const applied = this.#applied(schemas)
    const telling = applied.filter((schema) => leading.has(schema))
    if (telling.length === 0) return null
    const shapes = new Set(applied.flatMap(shapesIn))
    const numbers = telling.map((schema) => leading.get(schema) as number).sort((a, b) => a - b)
    const key = [...numbers, ...[...shapes].sort()].join()
    let place = this.#known.get(key)
    if (place !== undefined) return place
    if (this.#known.size >= LIMITS.sensitivePlacesMax) return ALL
    const isMarked = telling.some((schema) => marked.has(schema))
    place = new SchemaPlace(telling, isMarked, shapes, this)
    this.#known.set(key, place)
    return place
  }

  /** These schemas, and those that apply to the same place through them. */
  #applied(schemas: readonly unknown[]): readonly JsonObject[] {
    const found = new Set<JsonObject>()
    const left = [...schemas]
    while (left.length > 0) {
      const schema = left.pop()
      if (!isJsonObject(schema) || found.has(schema)) continue
      found.add(schema)
      for (const keyword of REFERENCES) left.push(this.#marks.referred(schema[keyword]))
      for (const keyword of SAME) left.push(schema[keyword])
      for (const keyword of SAME_LISTS) if (Array.isArray(schema[keyword])) left.push(...schema[keyword])
      for (const keyword of SAME_BY_NAME)
        if (isJsonObject(schema[keyword])) left.push(...Object.values(schema[keyword]))
    }
    return [...found]
  }
}

const ALL: Place = { marked: true, takes: () => true, member: () => ALL, item: () => ALL }

class SchemaPlace implements Place {
  readonly marked: boolean
  readonly #schemas: readonly JsonObject[]
  readonly #shapes: ReadonlySet<Shape>
  readonly #places: Places
  /** By the names that the schemas have. */
  readonly #named = new Map<string, Place | null>()
  /** By index. Items after the last one that a schema names are alike. */
  readonly #items = new Map<number, Place | null>()
  readonly #namedItems: number

  constructor(schemas: readonly JsonObject[], marked: boolean, shapes: ReadonlySet<Shape>, places: Places) {
    this.#schemas = schemas
    this.marked = marked
    this.#shapes = shapes
    this.#places = places
    this.#namedItems = Math.max(...schemas.map((schema) => firstItems(schema).length))
  }

  takes(shape: Shape): boolean {
    return this.#shapes.has(shape)
  }

  member(name: string): Place | null {
    const known = this.#named.get(name)
    if (known !== undefined) return known
    const place = this.#places.of(this.#schemas.flatMap((schema) => membersIn(schema, name)))
    const isNamed = this.#schemas.some(({ properties }) => isJsonObject(properties) && Object.hasOwn(properties, name))
    if (isNamed) this.#named.set(name, place)
    return place
  }

  item(index: number): Place | null {
    const at = Math.min(index, this.#namedItems)
    const known = this.#items.get(at)
    if (known !== undefined) return known
    const place = this.#places.of(this.#schemas.flatMap((schema) => itemsIn(schema, at)))
    this.#items.set(at, place)
    return place
  }
}

/** The shapes that a schema says something about. */
function shapesIn(schema: JsonObject): Shape[] {
  const types = [schema['type']].flat()
  const has = (keywords: readonly string[]): boolean => keywords.some((keyword) => schema[keyword] !== undefined)
  const shapes: Shape[] = []
  if (types.includes('object') || has(MEMBERS)) shapes.push('object')
  if (types.includes('array') || has(ITEMS)) shapes.push('array')
  if (types.includes('string')) shapes.push('string')
  if (types.includes('number') || types.includes('integer')) shapes.push('number')
  return shapes
}

/** Earlier drafts have the schemas of the first items in `items`. */
function firstItems({ prefixItems, items }: JsonObject): readonly unknown[] {
  if (Array.isArray(prefixItems)) return prefixItems
  return Array.isArray(items) ? items : []
}

function itemsIn(schema: JsonObject, index: number): readonly unknown[] {
  const { items, additionalItems, contains, unevaluatedItems } = schema
  const first = firstItems(schema)
  const own = index < first.length ? [first[index]] : [items, additionalItems]
  return [...own, contains, unevaluatedItems]
}

function membersIn(schema: JsonObject, name: string): readonly unknown[] {
  const { properties, patternProperties, additionalProperties, unevaluatedProperties } = schema
  const named = isJsonObject(properties) && Object.hasOwn(properties, name) ? [properties[name]] : []
  let isSure = named.length > 0
  const matching = Object.entries(isJsonObject(patternProperties) ? patternProperties : {}).flatMap(
    ([source, each]) => {
      const matched = matches(source, name)
      isSure ||= matched === true
      return matched === false ? [] : [each]
    },
  )
  return [...named, ...matching, ...(isSure ? [] : [additionalProperties]), unevaluatedProperties]
}

/** Whether a name matches; undefined for a pattern that would need a time limit. */
function matches(source: string, name: string): boolean | undefined {
  try {
    return matchesPattern(source, name)
  } catch (error) {
    if (error instanceof NeedsTimeLimit) return undefined
    throw error
  }
}

/** The schema that a pointer leads to, such as `#` or `#/$defs/Name`. */
function pointed(root: JsonObject, reference: string): unknown {
  let found: unknown = root
  for (const segment of reference.split('/').slice(1)) {
    const name = decoded(segment).replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined
    found = (found as Record<string, unknown>)[name]
  }
  return found
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

interface Marks {
  /** Every object of the schema from which a mark can be reached, numbered. */
  readonly leading: ReadonlyMap<object, number>
  /** Those with the mark, and those with a reference that cannot be followed: what is there may be marked. */
  readonly marked: ReadonlySet<object>
  referred(reference: unknown): unknown
}

function marksOf(root: JsonObject): Marks {
  const named = namedSchemas(root)
  const referred = (reference: unknown): unknown => {
    if (typeof reference !== 'string') return undefined
    return reference === '#' || reference.startsWith('#/') ? pointed(root, reference) : named.get(reference)
  }
  /** By object: the objects that lead to it. */
  const leadingTo = new Map<object, object[]>([[root, []]])
  const marked: object[] = []
  const unknown: object[] = []
  const left: object[] = [root]
  while (left.length > 0) {
    const from = left.pop() as JsonObject
    if (from[SENSITIVE] === true) marked.push(from)
    const references = REFERENCES.map((keyword) => from[keyword]).filter((each) => typeof each === 'string')
    const targets = references.map(referred)
    if (targets.includes(undefined)) unknown.push(from)
    for (const to of [...Object.values(from), ...targets]) {
      if (typeof to !== 'object' || to === null) continue
      const known = leadingTo.get(to)
      if (known !== undefined) known.push(from)
      else {
        leadingTo.set(to, [from])
        left.push(to)
      }
    }
  }
  // Of a schema that marks nothing, nothing is masked.
  const all = marked.length === 0 ? [] : [...marked, ...unknown]
  return { leading: leadingFrom(all, leadingTo), marked: new Set(all), referred }
}

function leadingFrom(marked: readonly object[], leadingTo: ReadonlyMap<object, object[]>): Map<object, number> {
  const leading = new Map<object, number>()
  const left = [...marked]
  while (left.length > 0) {
    const object = left.pop() as object
    if (leading.has(object)) continue
    leading.set(object, leading.size)
    left.push(...(leadingTo.get(object) as object[]))
  }
  return leading
}

/** The schemas that have a name of their own, by what a reference to them says. */
function namedSchemas(root: JsonObject): ReadonlyMap<string, object> {
  const named = new Map<string, object>()
  const seen = new Set<object>()
  const left: object[] = [root]
  while (left.length > 0) {
    const object = left.pop() as JsonObject
    if (seen.has(object)) continue
    seen.add(object)
    const { $id, $anchor, $dynamicAnchor } = object
    if (typeof $id === 'string') named.set($id, object)
    for (const anchor of [$anchor, $dynamicAnchor]) if (typeof anchor === 'string') named.set(`#${anchor}`, object)
    for (const each of Object.values(object)) if (typeof each === 'object' && each !== null) left.push(each)
  }
  return named
}

/**
 * The places of data that a JSON Schema marks as sensitive, with `"x-sensitive": true`.
 *
 * A place is marked if any schema that can apply there marks it: every branch of `anyOf`, `oneOf`, `allOf`, `if` and
 * `$ref` counts, whatever the data satisfies. So data that satisfies no schema is masked, too.
 *
 * Places are made when they are needed. Their number is bounded: beyond the bound a place counts as marked.
 */
import { isJsonObject, type JsonObject } from '../../base/json-object.ts'
import { LIMITS } from '../../base/limits.ts'
import { matchesPattern, NeedsTimeLimit } from '../json-pattern.ts'

/** The keyword that marks a schema. */
export const SENSITIVE = 'x-sensitive'

/** Keywords with schemas for the same place. */
const SAME = ['$ref', 'if', 'then', 'else'] as const
const SAME_LISTS = ['allOf', 'anyOf', 'oneOf'] as const

/** A place in the data: whether it is marked, and its members and items that lead to marks. */
export interface Place {
  readonly marked: boolean
  /** Data here may be text. */
  readonly takesText: boolean
  member(name: string): Place | null
  item(index: number): Place | null
}

/** The place of the whole data; null if the schema marks nothing. */
export function markedPlaces(schema: JsonObject): Place | null {
  return new Places(schema).of([schema])
}

class Places {
  readonly #root: JsonObject
  /** The schemas that lead to a mark, each with a number. */
  readonly #leading: ReadonlyMap<object, number>
  readonly #known = new Map<string, Place>()

  constructor(root: JsonObject) {
    this.#root = root
    this.#leading = leadingToMarks(root)
  }

  /** The place to which all these schemas apply; null if none of them leads to a mark. */
  of(schemas: readonly unknown[]): Place | null {
    const applied = this.#applied(schemas)
    if (applied.length === 0) return null
    const key = applied
      .map((schema) => this.#leading.get(schema) as number)
      .sort((a, b) => a - b)
      .join()
    let place = this.#known.get(key)
    if (place !== undefined) return place
    if (this.#known.size >= LIMITS.sensitivePlacesMax) return ALL
    place = new SchemaPlace(applied, this)
    this.#known.set(key, place)
    return place
  }

  /** These schemas, and those that apply to the same place through them, as far as they lead to marks. */
  #applied(schemas: readonly unknown[]): readonly JsonObject[] {
    const found = new Set<JsonObject>()
    const left = [...schemas]
    while (left.length > 0) {
      const schema = left.pop()
      if (!isJsonObject(schema) || !this.#leading.has(schema) || found.has(schema)) continue
      found.add(schema)
      for (const keyword of SAME)
        left.push(keyword === '$ref' ? referred(this.#root, schema[keyword]) : schema[keyword])
      for (const keyword of SAME_LISTS) if (Array.isArray(schema[keyword])) left.push(...schema[keyword])
      if (isJsonObject(schema['dependentSchemas'])) left.push(...Object.values(schema['dependentSchemas']))
    }
    return [...found]
  }
}

const ALL: Place = { marked: true, takesText: true, member: () => ALL, item: () => ALL }

class SchemaPlace implements Place {
  readonly marked: boolean
  readonly takesText: boolean
  readonly #schemas: readonly JsonObject[]
  readonly #places: Places
  /** By the names that the schemas have. */
  readonly #named = new Map<string, Place | null>()

  constructor(schemas: readonly JsonObject[], places: Places) {
    this.#schemas = schemas
    this.#places = places
    this.marked = schemas.some((schema) => schema[SENSITIVE] === true)
    this.takesText = schemas.some(({ type }) => [type].flat().includes('string'))
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
    return this.#places.of(
      this.#schemas.flatMap(({ prefixItems, items, contains, unevaluatedItems }) => {
        const first = Array.isArray(prefixItems) ? prefixItems : []
        return [index < first.length ? first[index] : items, contains, unevaluatedItems]
      }),
    )
  }
}

function membersIn(schema: JsonObject, name: string): readonly unknown[] {
  const { properties, patternProperties, additionalProperties, unevaluatedProperties } = schema
  const named = isJsonObject(properties) && Object.hasOwn(properties, name) ? [properties[name]] : []
  const matching = Object.entries(isJsonObject(patternProperties) ? patternProperties : {}).flatMap(([source, each]) =>
    mayMatch(source, name) ? [each] : [],
  )
  const rest = named.length + matching.length === 0 ? [additionalProperties] : []
  return [...named, ...matching, ...rest, unevaluatedProperties]
}

/** A pattern that would need a time limit counts as matching. */
function mayMatch(source: string, name: string): boolean {
  try {
    return matchesPattern(source, name) !== false
  } catch (error) {
    if (error instanceof NeedsTimeLimit) return true
    throw error
  }
}

/** The schema of `#` or `#/$defs/Name`. Other references are not followed. */
function referred(root: JsonObject, reference: unknown): unknown {
  if (typeof reference !== 'string' || (reference !== '#' && !reference.startsWith('#/'))) return undefined
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

/** Every object of the schema from which a mark can be reached, numbered. */
function leadingToMarks(root: JsonObject): ReadonlyMap<object, number> {
  /** By object: the objects that lead to it. */
  const leadingTo = new Map<object, object[]>([[root, []]])
  const marked: object[] = []
  const left: object[] = [root]
  while (left.length > 0) {
    const from = left.pop() as object
    if ((from as JsonObject)[SENSITIVE] === true) marked.push(from)
    const targets = [...Object.values(from), referred(root, (from as JsonObject)['$ref'])]
    for (const to of targets) {
      if (typeof to !== 'object' || to === null) continue
      const known = leadingTo.get(to)
      if (known !== undefined) known.push(from)
      else {
        leadingTo.set(to, [from])
        left.push(to)
      }
    }
  }
  const leading = new Map<object, number>()
  while (marked.length > 0) {
    const object = marked.pop() as object
    if (leading.has(object)) continue
    leading.set(object, leading.size)
    marked.push(...(leadingTo.get(object) as object[]))
  }
  return leading
}

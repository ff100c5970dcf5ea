/**
 * A JSON Schema as the list of its conjuncts: the schema itself, what it refers to, and the members of its `allOf`. All
 * of them must hold. Unions stay in their conjunct.
 */
import { isJsonObject, type JsonObject } from '../base/json-object.ts'

export type TypeName = 'null' | 'boolean' | 'number' | 'string' | 'array' | 'object'

export const TYPE_NAMES: readonly TypeName[] = ['null', 'boolean', 'number', 'string', 'array', 'object']

/** A JSON Schema: an object, or true or false. */
export type Schema = JsonObject | boolean

/** Nesting of references and `allOf`. */
const DEPTH_MAX = 64
/** Branches that lead back to their own union are joined with what they were before, again and again. */
const CONJUNCTS_MAX = 500

/** A schema, and the document in which its references (`#/…`) are looked up. */
export interface Rooted {
  readonly schema: Schema
  readonly root: JsonObject
}

export function schemaIn(value: unknown): Schema {
  return value === false || isJsonObject(value) ? value : true
}

/** What a reference of Millrace's validator means: `#` or `#/$defs/Name`. Undefined for any other. */
export function referred(root: JsonObject, reference: string): Schema | undefined {
  if (reference === '#') return root
  if (!reference.startsWith('#/')) return undefined
  let found: unknown = root
  for (const segment of reference.slice(2).split('/')) {
    const name = decodeURIComponent(segment).replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined
    found = (found as Readonly<Record<string, unknown>>)[name]
  }
  return found === undefined ? undefined : schemaIn(found)
}

/**
 * The conjuncts of schemas that must hold together. `false`: no value satisfies them. `null`: too deep, too many, or a
 * reference leads nowhere.
 */
export function conjunctsOf(schemas: readonly Rooted[], depth = 0): readonly RootedObject[] | false | null {
  const all: RootedObject[] = []
  for (const { schema, root } of schemas) {
    if (schema === true) continue
    if (schema === false) return false
    if (depth > DEPTH_MAX) return null
    all.push({ schema, root })
    const { $ref: reference, allOf } = schema
    const parts: Rooted[] = Array.isArray(allOf) ? allOf.map((each) => ({ schema: schemaIn(each), root })) : []
    if (typeof reference === 'string') {
      const found = referred(root, reference)
      if (found === undefined) return null
      parts.push({ schema: found, root })
    }
    const inner = parts.length === 0 ? [] : conjunctsOf(parts, depth + 1)
    if (inner === false || inner === null) return inner
    all.push(...inner)
    if (all.length > CONJUNCTS_MAX) return null
  }
  return all
}

export interface RootedObject {
  readonly schema: JsonObject
  readonly root: JsonObject
}

/** The types that a value of these conjuncts may have. */
export function typesOf(conjuncts: readonly RootedObject[]): TypeName[] {
  return TYPE_NAMES.filter((name) => conjuncts.every(({ schema }) => allowsType(schema, name)))
}

function allowsType({ type }: JsonObject, name: TypeName): boolean {
  if (type === undefined) return true
  const types: readonly unknown[] = Array.isArray(type) ? type : [type]
  return types.includes(name) || (name === 'number' && types.includes('integer'))
}

/** Whether only whole numbers are allowed. */
export function isWhole(conjuncts: readonly RootedObject[]): boolean {
  return conjuncts.some(({ schema: { type, multipleOf } }) => {
    const types: readonly unknown[] = type === undefined ? ['number'] : Array.isArray(type) ? type : [type]
    return !types.includes('number') || (typeof multipleOf === 'number' && Number.isInteger(multipleOf))
  })
}

/** The values of an `enum` or `const`, if there is one: the shortest list. */
export function finiteOf(conjuncts: readonly RootedObject[]): readonly unknown[] | null {
  let values: readonly unknown[] | null = null
  for (const { schema } of conjuncts) {
    const { enum: among } = schema
    const found = Object.hasOwn(schema, 'const') ? [schema['const']] : Array.isArray(among) ? among : null
    if (found !== null && (values === null || found.length < values.length)) values = found
  }
  return values
}

/** The largest of the numbers at a keyword. */
export function largest(conjuncts: readonly RootedObject[], keyword: string): number {
  return Math.max(...numbersAt(conjuncts, keyword), Number.NEGATIVE_INFINITY)
}

export function smallest(conjuncts: readonly RootedObject[], keyword: string): number {
  return Math.min(...numbersAt(conjuncts, keyword), Number.POSITIVE_INFINITY)
}

function numbersAt(conjuncts: readonly RootedObject[], keyword: string): number[] {
  return conjuncts.map(({ schema }) => schema[keyword]).filter((value) => typeof value === 'number')
}

export function propertiesOf({ properties }: JsonObject): JsonObject {
  return isJsonObject(properties) ? properties : {}
}

export function requiredOf(conjuncts: readonly RootedObject[]): ReadonlySet<string> {
  return new Set(
    conjuncts.flatMap(({ schema: { required } }) =>
      Array.isArray(required) ? required.filter((name) => typeof name === 'string') : [],
    ),
  )
}

/** What a member of an object must satisfy. */
export function memberOf(conjuncts: readonly RootedObject[], name: string): Rooted[] {
  return conjuncts.map(({ schema, root }) => {
    const named = propertiesOf(schema)
    return { root, schema: Object.hasOwn(named, name) ? schemaIn(named[name]) : additionalOf(schema) }
  })
}

/** What members without a name of their own must satisfy. With patterns for names, any of them may be exempt. */
export function additionalOf({ additionalProperties, patternProperties }: JsonObject): Schema {
  return patternProperties === undefined ? schemaIn(additionalProperties) : true
}

/**
 * Members that an open object may have and its schema does not name. `absent`: nobody writes a member under a name that
 * the other schema has, and so a new optional member is compatible. `any`: they may be there, with any value.
 */
export type Undeclared = 'absent' | 'any'

/** Whether an object has a member of this name, unless it is undeclared. */
export function mayHave(conjuncts: readonly RootedObject[], name: string): boolean {
  const isOpen = conjuncts.every(
    ({ schema }) => schema['additionalProperties'] === undefined && schema['patternProperties'] === undefined,
  )
  const isDescribed = conjuncts.some(({ schema }) => isJsonObject(schema['properties']))
  if (!isOpen || !isDescribed) return true
  return conjuncts.some(({ schema }) => Object.hasOwn(propertiesOf(schema), name)) || requiredOf(conjuncts).has(name)
}

/** What the item at an index must satisfy; null is every item after the first ones. */
export function itemOf(conjuncts: readonly RootedObject[], index: number | null): Rooted[] {
  return conjuncts.map(({ schema: { items, prefixItems }, root }) => {
    const first: readonly unknown[] = Array.isArray(prefixItems) ? prefixItems : []
    return { root, schema: schemaIn(index !== null && index < first.length ? first[index] : items) }
  })
}

/** How many items have a schema of their own. */
export function firstItems(conjuncts: readonly RootedObject[]): number {
  return Math.max(
    0,
    ...conjuncts.map(({ schema: { prefixItems } }) => (Array.isArray(prefixItems) ? prefixItems.length : 0)),
  )
}

/** The schemas of each union among the conjuncts. */
export function unionsOf(
  conjuncts: readonly RootedObject[],
): { readonly at: RootedObject; readonly keyword: 'anyOf' | 'oneOf'; readonly branches: readonly Rooted[] }[] {
  return conjuncts.flatMap((at) =>
    (['anyOf', 'oneOf'] as const).flatMap((keyword) => {
      const listed = at.schema[keyword]
      return Array.isArray(listed)
        ? [{ at, keyword, branches: listed.map((each) => ({ schema: schemaIn(each), root: at.root })) }]
        : []
    }),
  )
}

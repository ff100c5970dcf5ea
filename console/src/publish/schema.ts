/**
 * What the form needs of JSON Schema: which kind of field a schema is, what a new value looks like, and what is wrong
 * with a value. It follows `$ref` inside the document, merges `allOf`, and knows unions. Whatever else a schema says,
 * the gateway checks when the event is published.
 */
export interface Schema {
  readonly type?: string | readonly string[]
  readonly title?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema | boolean
  readonly prefixItems?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly allOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly default?: unknown
  readonly format?: string
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly exclusiveMaximum?: number
  readonly multipleOf?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly additionalProperties?: Schema | boolean
  readonly $ref?: string
}

export type Kind =
  | 'object'
  | 'array'
  | 'union'
  | 'choice'
  | 'constant'
  | 'text'
  | 'number'
  | 'integer'
  | 'boolean'
  | 'null'
  | 'json'

/** Deeper values are edited as JSON. */
export const DEPTH_MAX = 6
const REFS_MAX = 20

/**
 * A schema without `$ref` and `allOf` at its top. A reference that leads nowhere, or in a circle, allows
 * everything.
 */
export function resolved(schema: Schema, root: Schema): Schema {
  let found = schema
  for (let left = REFS_MAX; found.$ref !== undefined; left--) {
    if (left === 0) return {}
    const { $ref, ...beside } = found
    found = { ...target($ref, root), ...beside }
  }
  if (found.allOf === undefined) return found
  const { allOf, ...own } = found
  return allOf.reduce((all: Schema, part) => both(all, resolved(part, root)), own)
}

function target(ref: string, root: Schema): Schema {
  if (!ref.startsWith('#')) return {}
  let at: unknown = root
  for (const step of ref.slice(1).split('/').slice(1)) {
    const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
    at = isRecord(at) && Object.hasOwn(at, name) ? at[name] : undefined
  }
  return isRecord(at) ? (at as Schema) : {}
}

function both(one: Schema, other: Schema): Schema {
  return {
    ...one,
    ...other,
    ...((one.properties ?? other.properties) !== undefined && {
      properties: { ...one.properties, ...other.properties },
    }),
    ...((one.required ?? other.required) !== undefined && {
      required: [...new Set([...(one.required ?? []), ...(other.required ?? [])])],
    }),
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const KINDS: Readonly<Record<string, Kind>> = {
  object: 'object',
  array: 'array',
  string: 'text',
  number: 'number',
  integer: 'integer',
  boolean: 'boolean',
  null: 'null',
}

/** Of a resolved schema. */
export function kindOf(schema: Schema): Kind {
  if (schema.const !== undefined) return 'constant'
  if (schema.enum !== undefined) return 'choice'
  if (branchesOf(schema) !== null) return 'union'
  const { type } = schema
  if (typeof type === 'string') return KINDS[type] ?? 'json'
  if (schema.properties !== undefined) return 'object'
  return schema.items !== undefined || schema.prefixItems !== undefined ? 'array' : 'json'
}

/** The branches of a union, which may also be written as several types; null: it is none. */
export function branchesOf(schema: Schema): readonly Schema[] | null {
  const { anyOf, oneOf, type, ...rest } = schema
  const branches = anyOf ?? oneOf
  if (branches !== undefined) return branches.map((branch) => both(rest, branch))
  return Array.isArray(type) ? type.map((one: string) => ({ ...rest, type: one })) : null
}

/** What a branch of a union is called. */
export function branchName(branch: Schema, root: Schema): string {
  const schema = resolved(branch, root)
  if (schema.title !== undefined) return schema.title
  const tag = Object.entries(schema.properties ?? {}).find(([, member]) => resolved(member, root).const !== undefined)
  if (tag !== undefined) return `${tag[0]}: ${String(resolved(tag[1], root).const)}`
  const kind = kindOf(schema)
  return kind === 'constant' ? JSON.stringify(schema.const) : kind
}

/** The index of the union's branch that fits a value best: the one with the fewest problems. */
export function branchAt(branches: readonly Schema[], value: unknown, root: Schema): number {
  const faults = branches.map((branch) => problemsOf(branch, value, root).length)
  return Math.max(0, faults.indexOf(Math.min(...faults)))
}

/** A schema that describes a given value: for a form where no schema is known. */
export function schemaOf(value: unknown, depth = 0): Schema {
  if (typeof value === 'string') return { type: 'string' }
  if (typeof value === 'number') return { type: 'number' }
  if (typeof value === 'boolean') return { type: 'boolean' }
  if (typeof value !== 'object' || value === null || depth >= DEPTH_MAX) return {}
  if (Array.isArray(value)) return { type: 'array', items: value.length === 0 ? {} : schemaOf(value[0], depth + 1) }
  const properties = Object.entries(value).map(([name, member]) => [name, schemaOf(member, depth + 1)] as const)
  return { type: 'object', properties: Object.fromEntries(properties) }
}

/** A new value: with the required members of an object. */
export function exampleOf(given: Schema, root: Schema, depth = 0): unknown {
  const schema = resolved(given, root)
  if (schema.default !== undefined) return schema.default
  const kind = kindOf(schema)
  if (kind === 'constant') return schema.const
  if (kind === 'choice') return schema.enum?.[0]
  if (kind === 'union') return exampleOf(branchesOf(schema)?.[0] ?? {}, root, depth + 1)
  if (kind === 'text') return schema.format === 'date-time' ? new Date().toISOString() : ''
  if (kind === 'number' || kind === 'integer') return schema.minimum ?? 0
  if (kind === 'boolean') return false
  if (depth >= DEPTH_MAX) return kind === 'array' ? [] : kind === 'object' ? {} : null
  if (kind === 'array') return exampleItems(schema, root, depth)
  if (kind !== 'object') return null
  return Object.fromEntries(
    Object.entries(schema.properties ?? {})
      .filter(([name]) => schema.required?.includes(name) === true)
      .map(([name, member]) => [name, exampleOf(member, root, depth + 1)]),
  )
}

function exampleItems(schema: Schema, root: Schema, depth: number): unknown[] {
  const first = (schema.prefixItems ?? []).map((item) => exampleOf(item, root, depth + 1))
  const missing = Math.min(20, (schema.minItems ?? 0) - first.length)
  const { items } = schema
  if (typeof items !== 'object') return first
  return [...first, ...Array.from({ length: Math.max(0, missing) }, () => exampleOf(items, root, depth + 1))]
}

export interface SchemaProblem {
  /** A JSON pointer. */
  readonly path: string
  readonly text: string
}

const PROBLEMS_MAX = 50

/** What is wrong with a value, as far as the form knows JSON Schema. */
export function problemsOf(given: Schema, value: unknown, root: Schema, path = '', depth = 0): SchemaProblem[] {
  if (depth > 2 * DEPTH_MAX) return []
  const schema = resolved(given, root)
  const kind = kindOf(schema)
  const at = (text: string): SchemaProblem[] => [{ path, text }]
  if (kind === 'constant') return same(value, schema.const) ? [] : at(`it must be ${JSON.stringify(schema.const)}`)
  if (kind === 'choice')
    return schema.enum?.some((one) => same(one, value)) === true ? [] : at('it is none of the choices')
  if (kind === 'union') return unionProblems(schema, value, root, path, depth)
  if (kind === 'json') return []
  if (!hasKind(kind, value)) return at(value === undefined ? 'it is missing' : `it must be ${WORDS[kind]}`)
  if (typeof value === 'string') return textProblems(schema, value).flatMap(at)
  if (typeof value === 'number') return numberProblems(schema, value).flatMap(at)
  if (Array.isArray(value)) return arrayProblems(schema, value, root, path, depth)
  return isRecord(value) ? objectProblems(schema, value, root, path, depth) : []
}

const WORDS: Readonly<Record<string, string>> = {
  object: 'an object',
  array: 'a list',
  text: 'text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  null: 'null',
}

function hasKind(kind: Kind, value: unknown): boolean {
  if (kind === 'integer') return Number.isInteger(value)
  if (kind === 'array') return Array.isArray(value)
  if (kind === 'object') return isRecord(value)
  if (kind === 'null') return value === null
  return typeof value === (kind === 'text' ? 'string' : kind)
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

function unionProblems(schema: Schema, value: unknown, root: Schema, path: string, depth: number): SchemaProblem[] {
  const each = (branchesOf(schema) ?? []).map((branch) => problemsOf(branch, value, root, path, depth + 1))
  return each.reduce((best, problems) => (problems.length < best.length ? problems : best), each[0] ?? [])
}

const FORMATS: Readonly<Record<string, readonly [form: RegExp, words: string]>> = {
  'date-time': [
    /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/,
    'a time such as 2026-11-29T12:00:00Z',
  ],
  date: [/^\d{4}-\d\d-\d\d$/, 'a date such as 2026-11-29'],
  time: [/^\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:\d\d)?$/, 'a time of the day such as 12:00:00Z'],
  email: [/^[^\s@]+@[^\s@]+$/, 'an e-mail address'],
  uuid: [/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i, 'a UUID'],
  uri: [/^[a-z][a-z\d+.-]*:\S+$/i, 'a URL'],
}

function textProblems(
  { minLength = 0, maxLength = Number.POSITIVE_INFINITY, format = '' }: Schema,
  value: string,
): string[] {
  const { length } = [...value]
  if (length < minLength) return [minLength === 1 ? 'it is empty' : `it has less than ${minLength} characters`]
  if (length > maxLength) return [`it has more than ${maxLength} characters`]
  const [form, words] = FORMATS[format] ?? []
  // `pattern` is not checked here, because some patterns take very long on some texts. The gateway checks it.
  return form === undefined || form.test(value) ? [] : [`it must be ${words}`]
}

function numberProblems(schema: Schema, value: number): string[] {
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below, multipleOf } = schema
  if (minimum !== undefined && value < minimum) return [`it must be at least ${minimum}`]
  if (maximum !== undefined && value > maximum) return [`it must be at most ${maximum}`]
  if (above !== undefined && value <= above) return [`it must be more than ${above}`]
  if (below !== undefined && value >= below) return [`it must be less than ${below}`]
  const steps = multipleOf === undefined ? 0 : value / multipleOf
  return Math.abs(steps - Math.round(steps)) > 1e-9 ? [`it must be a multiple of ${multipleOf}`] : []
}

function arrayProblems(
  schema: Schema,
  value: readonly unknown[],
  root: Schema,
  path: string,
  depth: number,
): SchemaProblem[] {
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY, prefixItems = [], items } = schema
  const own: SchemaProblem[] = []
  if (value.length < minItems) own.push({ path, text: `it has fewer than ${minItems} items` })
  if (value.length > maxItems) own.push({ path, text: `it has more than ${maxItems} items` })
  for (const [index, item] of value.entries()) {
    const its = prefixItems[index] ?? (typeof items === 'object' ? items : null)
    if (its !== null) own.push(...problemsOf(its, item, root, `${path}/${index}`, depth + 1))
    if (own.length >= PROBLEMS_MAX) break
  }
  return own.slice(0, PROBLEMS_MAX)
}

function objectProblems(
  schema: Schema,
  value: Readonly<Record<string, unknown>>,
  root: Schema,
  path: string,
  depth: number,
): SchemaProblem[] {
  const { properties = {}, required = [], additionalProperties } = schema
  const found = Object.entries(properties).flatMap(([name, member]) => {
    if (value[name] === undefined)
      return required.includes(name) ? [{ path: pointer(path, name), text: 'it is missing' }] : []
    return problemsOf(member, value[name], root, pointer(path, name), depth + 1)
  })
  const unknown =
    additionalProperties === false
      ? Object.keys(value).filter((name) => !Object.hasOwn(properties, name) && value[name] !== undefined)
      : []
  return [
    ...found,
    ...unknown.map((name) => ({ path: pointer(path, name), text: 'the schema does not know it' })),
  ].slice(0, PROBLEMS_MAX)
}

export function pointer(path: string, name: string): string {
  return `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
}

/**
 * A JSON Schema (draft 2020-12) in the schema format that AsyncAPI takes by default, a superset of draft-07.
 *
 * Everyone with permission to declare a channel can supply a schema, so only keywords of the right form are taken. What
 * draft-07 cannot say is left out, and so is a reference to anything but the schema itself or one of its `$defs` or
 * `definitions`. The result accepts at least what the schema accepts. References that are kept become references within
 * the document.
 * @see https://www.asyncapi.com/docs/reference/specification/v3.0.0#schemaObject
 */
import { isJsonObject, type JsonObject } from '../base/json-object.ts'

/** Nesting of schemas; below it, everything is accepted. */
const DEPTH_MAX = 64

type Json = Record<string, unknown>

const isText = (value: unknown): boolean => typeof value === 'string'
const isNumber = (value: unknown): boolean => typeof value === 'number'
const isCount = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0
const isFlag = (value: unknown): boolean => typeof value === 'boolean'
const isTextList = (value: unknown): boolean => Array.isArray(value) && value.every(isText)
const TYPE_NAMES = new Set(['array', 'boolean', 'integer', 'null', 'number', 'object', 'string'])
const isType = (value: unknown): boolean => {
  const names = [value].flat()
  return (
    names.length > 0 && new Set(names).size === names.length && names.every((name) => TYPE_NAMES.has(name as string))
  )
}

/** Keywords that are taken as they are, if their value has the right form. */
const PLAIN: Readonly<Record<string, (value: unknown) => boolean>> = {
  type: isType,
  title: isText,
  description: isText,
  format: isText,
  pattern: isPattern,
  contentEncoding: isText,
  contentMediaType: isText,
  minimum: isNumber,
  maximum: isNumber,
  exclusiveMinimum: isNumber,
  exclusiveMaximum: isNumber,
  multipleOf: (value) => isNumber(value) && (value as number) > 0,
  minLength: isCount,
  maxLength: isCount,
  minItems: isCount,
  maxItems: isCount,
  minProperties: isCount,
  maxProperties: isCount,
  uniqueItems: isFlag,
  readOnly: isFlag,
  writeOnly: isFlag,
  deprecated: isFlag,
  'x-sensitive': isFlag,
  required: (value) => isTextList(value) && new Set(value as string[]).size === (value as string[]).length,
  enum: (value) => Array.isArray(value) && value.length > 0 && isPlainData(value),
  const: isPlainData,
  default: isPlainData,
  examples: (value) => Array.isArray(value) && isPlainData(value),
}
const ONE = ['propertyNames', 'additionalProperties'] as const
const LISTS = ['allOf', 'anyOf'] as const
const MAPS = ['properties', 'patternProperties', '$defs', 'definitions'] as const

/**
 * A JSON Schema in the form that an AsyncAPI document takes. `at` is its place in the document, such as
 * `#/components/schemas/order.placed`.
 */
export function asyncSchema(schema: JsonObject, at: string): Json {
  return new Conversion(schema, at).schema(schema, 0) as Json
}

/** Keywords without effect on what a schema accepts, and those that are taken together with another one. */
const NO_LOSS = new Set(['$schema', '$id', '$anchor', '$comment', '$defs', 'definitions', 'prefixItems', '$ref'])
const SAID = new Set(['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly', 'format'])

class Conversion {
  readonly #root: JsonObject
  readonly #at: string
  /** How often something was left out that refuses values. */
  #losses = 0

  constructor(root: JsonObject, at: string) {
    this.#root = root
    this.#at = at
  }

  schema(schema: unknown, depth: number): Json | boolean {
    if (typeof schema === 'boolean') return schema
    if (!isJsonObject(schema) || depth > DEPTH_MAX) {
      this.#losses++
      return {}
    }
    const { $ref, ...rest } = schema
    const made = this.#made(rest, depth + 1)
    if ($ref === undefined) return made
    const reference = this.#reference($ref)
    if (reference === null) this.#losses++
    if (reference === null) return made
    // Beside `$ref`, draft-07 ignores everything else.
    if (Object.keys(made).length === 0) return { $ref: reference }
    return { ...made, allOf: [...listIn(made), { $ref: reference }] }
  }

  #made(schema: JsonObject, depth: number): Json {
    const made: Json = {}
    for (const [keyword, value] of Object.entries(schema))
      if (Object.hasOwn(PLAIN, keyword) && PLAIN[keyword]?.(value) === true) made[keyword] = value
    for (const keyword of ONE) if (schema[keyword] !== undefined) made[keyword] = this.schema(schema[keyword], depth)
    for (const keyword of LISTS) {
      const list = schema[keyword]
      if (Array.isArray(list) && list.length > 0) made[keyword] = list.map((each) => this.schema(each, depth))
    }
    this.#maps(schema, made, depth)
    this.#items(schema, made, depth)
    this.#turned(schema, made, depth)
    for (const keyword of Object.keys(schema))
      if (made[keyword] === undefined && !NO_LOSS.has(keyword) && !SAID.has(keyword) && !keyword.startsWith('x-'))
        this.#losses++
    return made
  }

  #maps(schema: JsonObject, made: Json, depth: number): void {
    for (const keyword of MAPS) {
      const map = schema[keyword]
      if (!isJsonObject(map)) continue
      const members = Object.entries(map)
      const taken = members.filter(([name]) => isMember(name) && (keyword !== 'patternProperties' || isPattern(name)))
      if (taken.length < members.length) this.#losses++
      made[keyword] = Object.fromEntries(taken.map(([name, each]) => [name, this.schema(each, depth)]))
    }
    // A member that is not named any more must not become an additional one.
    if (made['additionalProperties'] !== undefined && hasLostMembers(schema, made)) delete made['additionalProperties']
  }

  #items({ items, prefixItems }: JsonObject, made: Json, depth: number): void {
    if (Array.isArray(prefixItems) && prefixItems.length > 0) {
      made['items'] = prefixItems.map((each) => this.schema(each, depth))
      if (items !== undefined) made['additionalItems'] = this.schema(items, depth)
    } else if (items !== undefined) made['items'] = this.schema(items, depth)
  }

  /**
   * Where a schema must not be satisfied, one that accepts more would refuse more. If something was left out there, the
   * keyword is left out as well; `oneOf` becomes `anyOf`.
   */
  #turned(
    { not, if: condition, then, else: otherwise, oneOf, contains, minContains }: JsonObject,
    made: Json,
    depth: number,
  ): void {
    const exact = (schema: unknown): Json | boolean | null => {
      const before = this.#losses
      const converted = this.schema(schema, depth)
      return this.#losses === before ? converted : null
    }
    if (not !== undefined) set(made, 'not', exact(not))
    if (condition !== undefined) {
      const whole = exact(condition)
      set(made, 'if', whole)
      if (whole !== null && then !== undefined) made['then'] = this.schema(then, depth)
      if (whole !== null && otherwise !== undefined) made['else'] = this.schema(otherwise, depth)
    }
    if (Array.isArray(oneOf) && oneOf.length > 0) {
      const before = this.#losses
      const list = oneOf.map((each) => this.schema(each, depth))
      if (this.#losses === before) made['oneOf'] = list
      else made['allOf'] = [...listIn(made), { anyOf: list }]
    }
    // Draft-07 asks for at least one.
    if (contains !== undefined && minContains !== 0) made['contains'] = this.schema(contains, depth)
  }

  /**
   * The reference as a place in the document. Known references are `#`, and a schema of the root's `$defs` or
   * `definitions`; for any other the result is null.
   */
  #reference(reference: unknown): string | null {
    if (typeof reference !== 'string' || !/^#(?:\/(?:\$defs|definitions)\/[^/]+)?$/.test(reference)) return null
    if (reference === '#') return this.#at
    const [, keyword = '', name = ''] = reference.split('/')
    const among = this.#root[keyword]
    const member = unescaped(name)
    return isJsonObject(among) && isMember(member) && Object.hasOwn(among, member)
      ? `${this.#at}/${keyword}/${name}`
      : null
  }
}

function set(made: Json, keyword: string, value: Json | boolean | null): void {
  if (value !== null) made[keyword] = value
}

function hasLostMembers(schema: JsonObject, made: Json): boolean {
  return MAPS.some((keyword) => {
    const [before, after] = [schema[keyword], made[keyword]]
    return before !== undefined && Object.keys(before as object).length !== Object.keys((after ?? {}) as object).length
  })
}

function listIn({ allOf }: Json): readonly unknown[] {
  return Array.isArray(allOf) ? allOf : []
}

function unescaped(segment: string): string {
  try {
    return decodeURIComponent(segment).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch {
    return segment
  }
}

function isPattern(value: unknown): boolean {
  try {
    new RegExp(value as string, 'u')
    return typeof value === 'string'
  } catch {
    return false
  }
}

/** Readers of the document take a member `$ref` for a reference, also within plain values; some fail at `__proto__`. */
function isMember(name: string): boolean {
  return name !== '$ref' && name !== '__proto__'
}

/** Whether the value can be in the document as it is. */
export function isPlainData(value: unknown): boolean {
  const left: unknown[] = [value]
  while (left.length > 0) {
    const each = left.pop()
    if (typeof each !== 'object' || each === null) continue
    if (!Object.keys(each).every(isMember)) return false
    left.push(...Object.values(each))
  }
  return true
}

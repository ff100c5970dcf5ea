/**
 * A JSON Schema (draft 2020-12) in the schema format that AsyncAPI takes by default, a superset of draft-07.
 *
 * Everyone with permission to declare a channel can supply a schema, so only keywords of the right form are taken. What
 * draft-07 cannot say, and references that lead nowhere, are left out: the result accepts at least what the schema
 * accepts. References within the schema become references within the document.
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
const ONE = ['not', 'if', 'then', 'else', 'contains', 'propertyNames', 'additionalProperties'] as const
const LISTS = ['allOf', 'anyOf', 'oneOf'] as const
const MAPS = ['properties', 'patternProperties', '$defs', 'definitions'] as const

/** `at` is the place of the schema in the document, such as `#/components/schemas/order.placed`. */
export function asyncSchema(schema: JsonObject, at: string): Json {
  return new Conversion(schema, at).schema(schema, 0) as Json
}

class Conversion {
  readonly #root: JsonObject
  readonly #at: string

  constructor(root: JsonObject, at: string) {
    this.#root = root
    this.#at = at
  }

  schema(schema: unknown, depth: number): Json | boolean {
    if (typeof schema === 'boolean') return schema
    if (!isJsonObject(schema) || depth > DEPTH_MAX) return {}
    const reference = this.#reference(schema['$ref'])
    if (reference !== null) {
      // Beside `$ref`, draft-07 ignores everything else.
      const { $ref: _, ...rest } = schema
      const beside = this.schema(rest, depth + 1) as Json
      return Object.keys(beside).length === 0
        ? { $ref: reference }
        : { ...beside, allOf: [...listIn(beside), { $ref: reference }] }
    }
    const made: Json = {}
    for (const [keyword, value] of Object.entries(schema))
      if (Object.hasOwn(PLAIN, keyword) && PLAIN[keyword]?.(value) === true) made[keyword] = value
    this.#within(schema, made, depth + 1)
    return made
  }

  #within(schema: JsonObject, made: Json, depth: number): void {
    for (const keyword of ONE) if (schema[keyword] !== undefined) made[keyword] = this.schema(schema[keyword], depth)
    for (const keyword of LISTS) {
      const list = schema[keyword]
      if (Array.isArray(list) && list.length > 0) made[keyword] = list.map((each) => this.schema(each, depth))
    }
    for (const keyword of MAPS) {
      const map = schema[keyword]
      if (!isJsonObject(map)) continue
      const members = Object.entries(map).filter(
        ([name]) => isMember(name) && (keyword !== 'patternProperties' || isPattern(name)),
      )
      made[keyword] = Object.fromEntries(members.map(([name, each]) => [name, this.schema(each, depth)]))
    }
    const { items, prefixItems } = schema
    if (Array.isArray(prefixItems) && prefixItems.length > 0) {
      made['items'] = prefixItems.map((each) => this.schema(each, depth))
      if (items !== undefined) made['additionalItems'] = this.schema(items, depth)
    } else if (items !== undefined) made['items'] = this.schema(items, depth)
  }

  /** The place of a referred schema in the document; null if the reference leads nowhere within the schema. */
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

/**
 * Data judged by a JSON Schema (draft 2020-12) that is kept with a channel's declaration, where the application's own schema is not at hand.
 *
 * It judges what schema libraries write. A keyword that it does not know is not judged, and neither is `format`: the kept schema must not refuse what
 * the application's own takes. Nothing is compiled to code.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isJsonObject, type JsonObject } from '../base/json-object.ts'
import { shown } from '../base/shown.ts'

/** Schemas within schemas, references included: beyond it, data is refused. */
const DEPTH_MAX = 256
/** Of many faults, the first are told. */
const ISSUES_MAX = 20

type Path = readonly (string | number)[]

/** A Standard Schema that judges by a JSON Schema. Its output is its input. */
export function schemaOf(root: JsonObject): StandardSchemaV1 {
  const validate = (data: unknown): StandardSchemaV1.Result<unknown> => {
    const issues = new Judgement(root).judge(data)
    return issues.length === 0 ? { value: data } : { issues }
  }
  return { '~standard': { version: 1, vendor: 'millrace-json-schema', validate } }
}

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  null: (value) => value === null,
  boolean: (value) => typeof value === 'boolean',
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  integer: (value) => Number.isInteger(value),
  array: (value) => Array.isArray(value),
  object: (value) => isJsonObject(value),
}

const BOUNDS: readonly (readonly [keyword: string, holds: (value: number, bound: number) => boolean, says: string])[] = [
  ['minimum', (value, bound) => value >= bound, 'at least'],
  ['maximum', (value, bound) => value <= bound, 'at most'],
  ['exclusiveMinimum', (value, bound) => value > bound, 'more than'],
  ['exclusiveMaximum', (value, bound) => value < bound, 'less than'],
]

const patterns = new Map<string, RegExp | null>()
const PATTERNS_MAX = 1000

/** Null where no JavaScript engine takes it: it is not judged. */
function patternOf(source: string): RegExp | null {
  const known = patterns.get(source)
  if (known !== undefined) return known
  let made: RegExp | null = null
  for (const flags of ['u', '']) {
    try {
      made ??= new RegExp(source, flags)
    } catch {
      // Taken without the flag, perhaps.
    }
  }
  if (patterns.size >= PATTERNS_MAX) patterns.clear()
  patterns.set(source, made)
  return made
}

class Judgement {
  readonly #root: JsonObject
  readonly #issues: StandardSchemaV1.Issue[] = []
  #depth = 0

  constructor(root: JsonObject) {
    this.#root = root
  }

  judge(data: unknown): readonly StandardSchemaV1.Issue[] {
    this.#judge(this.#root, data, [])
    return this.#issues
  }

  #judge(schema: unknown, value: unknown, path: Path): void {
    if (this.#issues.length >= ISSUES_MAX) return
    if (schema === false) return this.#refuse(path, 'must not be there')
    if (!isJsonObject(schema)) return
    if (++this.#depth > DEPTH_MAX) this.#refuse(path, `is nested more than ${DEPTH_MAX} schemas deep`)
    else {
      if (typeof schema['$ref'] === 'string') this.#judge(this.#referred(schema['$ref']), value, path)
      this.#type(schema, value, path)
      this.#combined(schema, value, path)
      if (typeof value === 'number') this.#number(schema, value, path)
      else if (typeof value === 'string') this.#text(schema, value, path)
      else if (Array.isArray(value)) this.#array(schema, value, path)
      else if (isJsonObject(value)) this.#object(schema, value, path)
    }
    this.#depth--
  }

  /** Whether the value satisfies the schema; what is wrong with it is not told. */
  #satisfies(schema: unknown, value: unknown): boolean {
    return this.#faults(schema, value, []).length === 0
  }

  #faults(schema: unknown, value: unknown, path: Path): StandardSchemaV1.Issue[] {
    const before = this.#issues.splice(0)
    this.#judge(schema, value, path)
    const found = this.#issues.splice(0)
    this.#issues.push(...before)
    return found
  }

  #refuse(path: Path, message: string): void {
    this.#issues.push({ message, path })
  }

  /** `#`, or `#/$defs/Name`; others are not judged. */
  #referred(reference: string): unknown {
    if (!reference.startsWith('#')) return true
    if (reference !== '#' && !reference.startsWith('#/')) return true
    let found: unknown = this.#root
    for (const segment of reference.split('/').slice(1)) {
      const name = decoded(segment).replaceAll('~1', '/').replaceAll('~0', '~')
      found = typeof found === 'object' && found !== null && Object.hasOwn(found, name) ? (found as Record<string, unknown>)[name] : true
    }
    return found
  }

  #type({ type, enum: among, ...schema }: JsonObject, value: unknown, path: Path): void {
    if (type !== undefined) {
      const types = (Array.isArray(type) ? type : [type]).map(String)
      if (!types.some((name) => TYPES[name]?.(value) ?? true)) this.#refuse(path, `must be ${types.join(' or ')}; it is ${shown(value)}`)
    }
    if (Array.isArray(among) && !among.some((each) => equal(each, value)))
      this.#refuse(path, `must be one of ${among.slice(0, 8).map(shown).join(', ')}; it is ${shown(value)}`)
    if (Object.hasOwn(schema, 'const') && !equal(schema['const'], value)) this.#refuse(path, `must be ${shown(schema['const'])}; it is ${shown(value)}`)
  }

  #combined({ allOf, anyOf, oneOf, not, ...schema }: JsonObject, value: unknown, path: Path): void {
    if (Array.isArray(allOf)) for (const each of allOf) this.#judge(each, value, path)
    if (Array.isArray(anyOf)) this.#oneOfThese(anyOf, value, path)
    if (Array.isArray(oneOf)) {
      const count = this.#oneOfThese(oneOf, value, path)
      if (count > 1) this.#refuse(path, 'satisfies more than one of the schemas of which it must satisfy one')
    }
    if (not !== undefined && this.#satisfies(not, value)) this.#refuse(path, 'satisfies a schema that it must not satisfy')
    if (schema['if'] !== undefined) this.#judge(this.#satisfies(schema['if'], value) ? schema['then'] : schema['else'], value, path)
  }

  /** How many of them it satisfies. Where it is none, the faults of the one that it comes nearest to are told: the deepest is that of the right member. */
  #oneOfThese(schemas: readonly unknown[], value: unknown, path: Path): number {
    let count = 0
    let nearest: readonly StandardSchemaV1.Issue[] = []
    for (const each of schemas) {
      const faults = this.#faults(each, value, path)
      if (faults.length === 0) count++
      else if (nearest.length === 0 || depthOf(faults) > depthOf(nearest)) nearest = faults
    }
    if (count === 0) this.#issues.push(...nearest)
    return count
  }

  #number(schema: JsonObject, value: number, path: Path): void {
    for (const [keyword, holds, says] of BOUNDS) {
      const bound = schema[keyword]
      if (typeof bound === 'number' && !holds(value, bound)) this.#refuse(path, `must be ${says} ${bound}; it is ${value}`)
    }
    const { multipleOf } = schema
    if (typeof multipleOf !== 'number' || multipleOf <= 0) return
    const times = value / multipleOf
    // 0.3 is a multiple of 0.1, whatever binary fractions say.
    if (Math.abs(times - Math.round(times)) > 1e-9 * Math.max(1, Math.abs(times))) this.#refuse(path, `must be a multiple of ${multipleOf}; it is ${value}`)
  }

  #text(schema: JsonObject, value: string, path: Path): void {
    const { minLength, maxLength, pattern } = schema
    if (minLength !== undefined || maxLength !== undefined) this.#size(schema, 'Length', [...value].length, 'characters', path)
    if (typeof pattern === 'string' && patternOf(pattern)?.test(value) === false) this.#refuse(path, `must match ${shown(pattern)}; it is ${shown(value)}`)
  }

  #size(schema: JsonObject, what: string, size: number, of: string, path: Path): void {
    const [min, max] = [schema[`min${what}`], schema[`max${what}`]]
    if (typeof min === 'number' && size < min) this.#refuse(path, `must have at least ${min} ${of}; it has ${size}`)
    if (typeof max === 'number' && size > max) this.#refuse(path, `must have at most ${max} ${of}; it has ${size}`)
  }

  #array(schema: JsonObject, value: readonly unknown[], path: Path): void {
    const { items, prefixItems, uniqueItems, contains } = schema
    this.#size(schema, 'Items', value.length, 'items', path)
    const first = Array.isArray(prefixItems) ? prefixItems : []
    for (const [at, item] of value.entries()) this.#judge(at < first.length ? first[at] : items, item, [...path, at])
    if (uniqueItems === true) {
      const texts = new Set(value.map(canonical))
      if (texts.size < value.length) this.#refuse(path, 'must not have an item twice')
    }
    if (contains === undefined || schema['minContains'] === 0) return
    if (!value.some((item) => this.#satisfies(contains, item))) this.#refuse(path, 'has no item of those that it must contain')
  }

  #object(schema: JsonObject, value: JsonObject, path: Path): void {
    const { required, properties, patternProperties, additionalProperties, propertyNames, dependentRequired } = schema
    if (Array.isArray(required)) this.#required(required, value, path)
    this.#size(schema, 'Properties', Object.keys(value).length, 'members', path)
    const named = isJsonObject(properties) ? properties : {}
    const matched = Object.entries(isJsonObject(patternProperties) ? patternProperties : {})
    for (const [name, member] of Object.entries(value)) {
      const at = [...path, name]
      if (propertyNames !== undefined) this.#judge(propertyNames, name, at)
      const isNamed = Object.hasOwn(named, name)
      if (isNamed) this.#judge(named[name], member, at)
      const matching = matched.filter(([source]) => patternOf(source)?.test(name) !== false)
      for (const [, each] of matching) this.#judge(each, member, at)
      if (!isNamed && matching.length === 0) this.#judge(additionalProperties, member, at)
    }
    if (!isJsonObject(dependentRequired)) return
    for (const [name, others] of Object.entries(dependentRequired)) if (Object.hasOwn(value, name) && Array.isArray(others)) this.#required(others, value, path)
  }

  #required(names: readonly unknown[], value: JsonObject, path: Path): void {
    for (const name of names) if (typeof name === 'string' && !Object.hasOwn(value, name)) this.#refuse([...path, name], 'is required')
  }
}

function depthOf(issues: readonly StandardSchemaV1.Issue[]): number {
  return Math.max(...issues.map(({ path }) => path?.length ?? 0))
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

function equal(left: unknown, right: unknown): boolean {
  return left === right || (typeof left === 'object' && typeof right === 'object' && canonical(left) === canonical(right))
}

/** JSON with the members of objects in the order of their names. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    isJsonObject(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  )
}

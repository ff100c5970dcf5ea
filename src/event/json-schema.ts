/**
 * Validates data by a JSON Schema (draft 2020-12) that is stored with a channel's declaration, for processes that do
 * not have the application's own schema.
 *
 * It supports the keywords that schema libraries write. Unknown keywords and `format` are ignored: the stored schema
 * must not refuse what the application's own schema accepts. Nothing is compiled to code.
 *
 * Everyone with permission to declare a channel can supply a schema. The steps of validation are counted and bounded by
 * the size of the data; data that takes more steps is refused.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isJsonObject, type JsonObject } from '../base/json-object.ts'
import { shown } from '../base/shown.ts'
import { matchesPattern, NeedsTimeLimit, withinTime } from './json-pattern.ts'

/** Nesting of schemas, references included. Data that needs deeper nesting is refused. */
const DEPTH_MAX = 256
/** Only the first faults are reported. */
const ISSUES_MAX = 20
/** Most steps of one validation, plus a number for each value in the data. */
const STEPS_MIN = 20_000
const STEPS_EACH = 64
/** Characters that count as one step. */
const STEP_CHARS = 64
/** Time limit if a pattern may be slow, plus a millisecond for each group of this many values in the data. */
const TRY_MS = 20
const VALUES_EACH_MS = 500

type Path = readonly (string | number)[]

/** A Standard Schema over a JSON Schema. Its output is its input. */
export function schemaOf(root: JsonObject): StandardSchemaV1 {
  const validate = (data: unknown): StandardSchemaV1.Result<unknown> => {
    const issues = judged(root, data)
    return issues.length === 0 ? { value: data } : { issues }
  }
  return { '~standard': { version: 1, vendor: 'millrace-json-schema', validate } }
}

function judged(root: JsonObject, data: unknown): readonly StandardSchemaV1.Issue[] {
  try {
    return new Judgement(root, data).judge()
  } catch (error) {
    if (!(error instanceof NeedsTimeLimit)) throw error
  }
  // The first try may have waited for the processor: the second has more time.
  const ms = TRY_MS + valuesIn(data) / VALUES_EACH_MS
  const issues = withinTime([ms, 5 * ms], () => new Judgement(root, data).judge())
  return issues ?? [{ message: 'takes too long to judge by its schema: one of its patterns is slow for it', path: [] }]
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

const BOUNDS: readonly (readonly [keyword: string, holds: (value: number, bound: number) => boolean, says: string])[] =
  [
    ['minimum', (value, bound) => value >= bound, 'at least'],
    ['maximum', (value, bound) => value <= bound, 'at most'],
    ['exclusiveMinimum', (value, bound) => value > bound, 'more than'],
    ['exclusiveMaximum', (value, bound) => value < bound, 'less than'],
  ]

/** Thrown if validation takes more steps than the data allows. */
class TooMuch extends Error {}

class Judgement {
  readonly #root: JsonObject
  readonly #data: unknown
  readonly #issues: StandardSchemaV1.Issue[] = []
  #depth = 0
  #steps = 0
  #stepsMax = STEPS_MIN
  /** Of values that are compared. */
  readonly #canonical = new Map<object, string>()

  constructor(root: JsonObject, data: unknown) {
    this.#root = root
    this.#data = data
  }

  judge(): readonly StandardSchemaV1.Issue[] {
    try {
      this.#judge(this.#root, this.#data, [])
      return this.#issues
    } catch (error) {
      if (!(error instanceof TooMuch)) throw error
      return [
        ...this.#issues.slice(0, ISSUES_MAX - 1),
        { message: `takes more than ${this.#stepsMax} steps to judge by its schema`, path: [] },
      ]
    }
  }

  /** @throws TooMuch */
  #step(steps: number): void {
    this.#steps += steps
    if (this.#steps <= this.#stepsMax) return
    // The size of the data is counted only when it is needed.
    if (this.#stepsMax === STEPS_MIN) this.#stepsMax = STEPS_MIN + STEPS_EACH * valuesIn(this.#data)
    if (this.#steps > this.#stepsMax) throw new TooMuch()
  }

  #judge(schema: unknown, value: unknown, path: Path): void {
    this.#step(1)
    if (this.#issues.length >= ISSUES_MAX) return
    if (schema === false) return this.#refuse(path, 'must not be there')
    if (!isJsonObject(schema)) return
    if (++this.#depth > DEPTH_MAX) this.#refuse(path, `is nested more than ${DEPTH_MAX} schemas deep`)
    else {
      const reference = schema['$ref']
      if (typeof reference === 'string') this.#judge(this.#referred(reference), value, path)
      this.#type(schema, value, path)
      this.#combined(schema, value, path)
      if (typeof value === 'number') this.#number(schema, value, path)
      else if (typeof value === 'string') this.#text(schema, value, path)
      else if (Array.isArray(value)) this.#array(schema, value, path)
      else if (isJsonObject(value)) this.#object(schema, value, path)
    }
    this.#depth--
  }

  /** Whether the value satisfies the schema; faults are not collected. */
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

  /** `#` or `#/$defs/Name`; other references are ignored. */
  #referred(reference: string): unknown {
    this.#step(Math.ceil(reference.length / STEP_CHARS))
    if (!reference.startsWith('#')) return true
    if (reference !== '#' && !reference.startsWith('#/')) return true
    let found: unknown = this.#root
    for (const segment of reference.split('/').slice(1)) {
      const name = decoded(segment).replaceAll('~1', '/').replaceAll('~0', '~')
      found =
        typeof found === 'object' && found !== null && Object.hasOwn(found, name)
          ? (found as Record<string, unknown>)[name]
          : true
    }
    return found
  }

  #type(schema: JsonObject, value: unknown, path: Path): void {
    const { type, enum: among } = schema
    if (type !== undefined) {
      const types = (Array.isArray(type) ? type : [type]).map(String)
      this.#step(types.length)
      if (!types.some((name) => TYPES[name]?.(value) ?? true))
        this.#refuse(path, `must be ${types.join(' or ')}; it is ${shown(value)}`)
    }
    if (Array.isArray(among) && !among.some((each) => this.#equal(each, value)))
      this.#refuse(path, `must be one of ${among.slice(0, 8).map(shown).join(', ')}; it is ${shown(value)}`)
    if (Object.hasOwn(schema, 'const') && !this.#equal(schema['const'], value))
      this.#refuse(path, `must be ${shown(schema['const'])}; it is ${shown(value)}`)
  }

  #combined(schema: JsonObject, value: unknown, path: Path): void {
    const { allOf, anyOf, oneOf, not } = schema
    if (Array.isArray(allOf)) for (const each of allOf) this.#judge(each, value, path)
    if (Array.isArray(anyOf)) this.#oneOfThese(anyOf, value, path)
    if (Array.isArray(oneOf)) {
      const count = this.#oneOfThese(oneOf, value, path)
      if (count > 1) this.#refuse(path, 'satisfies more than one of the schemas; it must satisfy exactly one')
    }
    if (not !== undefined && this.#satisfies(not, value))
      this.#refuse(path, 'satisfies a schema that it must not satisfy')
    if (schema['if'] !== undefined)
      this.#judge(this.#satisfies(schema['if'], value) ? schema['then'] : schema['else'], value, path)
  }

  /**
   * How many of the schemas the value satisfies. If none, the faults of the nearest schema are reported: the deepest,
   * and of these the fewest.
   */
  #oneOfThese(schemas: readonly unknown[], value: unknown, path: Path): number {
    let count = 0
    let nearest: readonly StandardSchemaV1.Issue[] = []
    for (const each of schemas) {
      const faults = this.#faults(each, value, path)
      if (faults.length === 0) count++
      else if (nearest.length === 0 || isNearer(faults, nearest)) nearest = faults
    }
    if (count === 0) this.#issues.push(...nearest)
    return count
  }

  #number(schema: JsonObject, value: number, path: Path): void {
    for (const [keyword, holds, says] of BOUNDS) {
      const bound = schema[keyword]
      if (typeof bound === 'number' && !holds(value, bound))
        this.#refuse(path, `must be ${says} ${bound}; it is ${value}`)
    }
    const { multipleOf } = schema
    if (typeof multipleOf !== 'number' || multipleOf <= 0) return
    const times = value / multipleOf
    // 0.3 is a multiple of 0.1, whatever binary fractions say.
    if (Math.abs(times - Math.round(times)) > 1e-9 * Math.max(1, Math.abs(times)))
      this.#refuse(path, `must be a multiple of ${multipleOf}; it is ${value}`)
  }

  #text(schema: JsonObject, value: string, path: Path): void {
    const { minLength, maxLength, pattern } = schema
    this.#step(Math.ceil(value.length / STEP_CHARS))
    if (minLength !== undefined || maxLength !== undefined)
      this.#size(schema, 'Length', charactersIn(value), 'characters', path)
    if (typeof pattern !== 'string') return
    const matches = matchesPattern(pattern, value)
    if (matches === undefined)
      this.#refuse(path, `must match ${shown(pattern)}, and it takes too long to tell whether it does`)
    else if (!matches) this.#refuse(path, `must match ${shown(pattern)}; it is ${shown(value)}`)
  }

  /** Equality as JSON: the order of members does not count. */
  #equal(left: unknown, right: unknown): boolean {
    this.#step(1)
    if (left === right) return true
    if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false
    return this.#canonicalOf(left) === this.#canonicalOf(right)
  }

  #canonicalOf(value: object): string {
    let text = this.#canonical.get(value)
    if (text === undefined) {
      text = canonical(value)
      this.#canonical.set(value, text)
      this.#step(Math.ceil(text.length / STEP_CHARS))
    }
    return text
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
      const texts = new Set(value.map((item) => (isCompound(item) ? this.#canonicalOf(item) : canonical(item))))
      if (texts.size < value.length) this.#refuse(path, 'must not have the same item twice')
    }
    if (contains !== undefined) this.#contained(schema, contains, value, path)
  }

  #contained({ minContains, maxContains }: JsonObject, contains: unknown, value: readonly unknown[], path: Path): void {
    const count = value.filter((item) => this.#satisfies(contains, item)).length
    const least = typeof minContains === 'number' ? minContains : 1
    if (count < least) this.#refuse(path, `must contain at least ${least} items of a kind; it has ${count}`)
    if (typeof maxContains === 'number' && count > maxContains)
      this.#refuse(path, `must contain at most ${maxContains} items of a kind; it has ${count}`)
  }

  #object(schema: JsonObject, value: JsonObject, path: Path): void {
    const { required, properties, patternProperties, additionalProperties, propertyNames, dependentRequired } = schema
    if (Array.isArray(required)) this.#required(required, value, path)
    this.#size(schema, 'Properties', Object.keys(value).length, 'members', path)
    const named = isJsonObject(properties) ? properties : {}
    const matched = Object.entries(isJsonObject(patternProperties) ? patternProperties : {})
    this.#step(matched.length)
    for (const [name, member] of Object.entries(value)) {
      const at = [...path, name]
      if (propertyNames !== undefined) this.#judge(propertyNames, name, at)
      const isNamed = Object.hasOwn(named, name)
      if (isNamed) this.#judge(named[name], member, at)
      this.#step(matched.length)
      const matching = matched.filter(([source]) => this.#named(source, name, at))
      for (const [, each] of matching) this.#judge(each, member, at)
      if (!isNamed && matching.length === 0) this.#judge(additionalProperties, member, at)
    }
    if (!isJsonObject(dependentRequired)) return
    const dependent = Object.entries(dependentRequired)
    this.#step(dependent.length)
    for (const [name, others] of dependent)
      if (Object.hasOwn(value, name) && Array.isArray(others)) this.#required(others, value, path)
  }

  #named(source: string, name: string, path: Path): boolean {
    const matches = matchesPattern(source, name)
    if (matches === undefined)
      this.#refuse(path, `has a name of which it takes too long to tell whether it matches ${shown(source)}`)
    return matches !== false
  }

  #required(names: readonly unknown[], value: JsonObject, path: Path): void {
    this.#step(names.length)
    for (const name of names)
      if (typeof name === 'string' && !Object.hasOwn(value, name)) this.#refuse([...path, name], 'is required')
  }
}

function isNearer(faults: readonly StandardSchemaV1.Issue[], than: readonly StandardSchemaV1.Issue[]): boolean {
  const deeper = depthOf(faults) - depthOf(than)
  return deeper > 0 || (deeper === 0 && faults.length < than.length)
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

function isCompound(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** By code points, as JSON Schema counts them. */
function charactersIn(text: string): number {
  let count = 0
  for (const _ of text) count++
  return count
}

/** The number of values in JSON data. */
function valuesIn(data: unknown): number {
  let count = 0
  const left: unknown[] = [data]
  while (left.length > 0) {
    const value = left.pop()
    count++
    if (isCompound(value)) for (const member of Object.values(value)) left.push(member)
    // A long text allows more steps.
    else if (typeof value === 'string') count += Math.ceil(value.length / STEP_CHARS)
  }
  return count
}

/** JSON with the members of objects in the order of their names. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    isJsonObject(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  )
}

/**
 * Proves that a schema (the reader's) accepts every value that another one (the writer's) accepts. It answers with the
 * places where the proof does not succeed: none means that it is proven. A place without proof is not a break yet;
 * `counter-examples.ts` looks for a value.
 *
 * The proof is over the keywords that schema libraries write. A keyword of the reader that is not known here is a place
 * without proof, unless the writer has the same one. Keywords of the writer that are not known here only make it accept
 * less, and are left out.
 */
import { isJsonObject, type JsonObject } from '../base/json-object.ts'
import { schemaOf } from '../event/json-schema.ts'
import {
  additionalOf,
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
  schemaIn,
  smallest,
  type TypeName,
  typesOf,
  type Undeclared,
  unionsOf,
} from './schema-view.ts'

/** A place where it is not proven that the reader accepts what the writer accepts. */
export interface Unproven {
  /** The field, as `data.items[].sku`. */
  readonly path: string
  /** The keyword of the reader's schema. */
  readonly keyword: string
}

/** Keywords that say nothing about values. */
const ANNOTATIONS = new Set(
  '$schema $id $defs definitions $comment $anchor title description default examples deprecated readOnly writeOnly'.split(
    ' ',
  ),
)
/** Keywords that the proof knows, by the type that they are about. */
const KNOWN = new Set(
  (
    'type enum const $ref allOf anyOf oneOf properties required additionalProperties propertyNames minProperties ' +
    'maxProperties items prefixItems minItems maxItems minimum maximum exclusiveMinimum exclusiveMaximum multipleOf ' +
    'minLength maxLength pattern format'
  ).split(' '),
)
/** Keywords that hold for a value whatever else holds: the same keyword at the writer is the proof. */
const ALONE = new Set(['not', 'uniqueItems', 'dependentRequired', 'patternProperties', 'pattern', 'format'])
/** Schemas that need more steps, or are nested deeper, are not proven. */
const STEPS_MAX = 3000
const DEPTH_MAX = 40
const FINITE_MAX = 1000

/** @returns the places without proof; empty where it is proven */
export function unproven(writer: JsonObject, reader: JsonObject, undeclared: Undeclared): readonly Unproven[] {
  return new Coverage(undeclared).prove({ schema: writer, root: writer }, { schema: reader, root: reader })
}

class Coverage {
  readonly #undeclared: Undeclared
  #steps = 0
  #depth = 0
  /** Pairs that are being proven: for a recursive schema they may be assumed. */
  readonly #assumed: (readonly [writer: object, reader: object, path: string])[] = []

  constructor(undeclared: Undeclared) {
    this.#undeclared = undeclared
  }

  prove(writer: Rooted, reader: Rooted): Unproven[] {
    return this.#covers([writer], reader, 'data')
  }

  #covers(writer: readonly Rooted[], reader: Rooted, path: string): Unproven[] {
    if (++this.#steps > STEPS_MAX || this.#depth >= DEPTH_MAX) return [{ path, keyword: 'size' }]
    if (reader.schema === true) return []
    const given = conjunctsOf(writer)
    if (given === false) return []
    const wanted = conjunctsOf([reader])
    if (given === null || wanted === null) return [{ path, keyword: '$ref' }]
    if (wanted === false) return this.#isImpossible(given) ? [] : [{ path, keyword: 'false' }]
    const flat = withoutParts(given)
    this.#depth++
    const found = this.#assuming(flat, reader.schema, path, () => this.#split(flat, withoutParts(wanted), path))
    this.#depth--
    return found
  }

  /**
   * A recursive schema comes back to a pair of schemas that is being proven. Inside of the value, the pair may be
   * assumed. For the value itself it may not: a schema that refers to itself without a step accepts nothing.
   */
  #assuming(
    given: readonly RootedObject[],
    reader: object | boolean,
    path: string,
    prove: () => Unproven[],
  ): Unproven[] {
    const [only] = given
    if (given.length !== 1 || only === undefined || typeof reader !== 'object') return prove()
    if (this.#assumed.some(([one, other, at]) => one === only.schema && other === reader && at !== path)) return []
    const before = this.#assumed.length
    this.#assumed.push([only.schema, reader, path])
    const found = prove()
    // What was proven under an assumption that failed is not proven.
    if (found.length > 0) this.#assumed.length = before
    return found
  }

  #isImpossible(given: readonly RootedObject[]): boolean {
    return typesOf(given).length === 0
  }

  /** Each branch of the writer's unions is proven by itself, and each type. */
  #split(given: readonly RootedObject[], wanted: readonly RootedObject[], path: string): Unproven[] {
    // A branch may lead back to its own union, and then is split without end.
    if (++this.#steps > STEPS_MAX || this.#depth >= DEPTH_MAX) return [{ path, keyword: 'size' }]
    const values = finiteOf(given)
    if (values !== null && values.length <= FINITE_MAX) return this.#finite(values, given, wanted, path)
    const [union] = unionsOf(given)
    if (union === undefined)
      return typesOf(given).flatMap((type) => wanted.flatMap((each) => this.#conjunct(given, each, type, path)))
    const { [union.keyword]: _, ...rest } = union.at.schema
    const others = given.filter((each) => each !== union.at)
    this.#depth++
    const found = union.branches.flatMap((branch) => {
      const chosen = conjunctsOf([...others, { schema: rest, root: union.at.root }, branch])
      if (chosen === null) return [{ path, keyword: '$ref' }]
      return chosen === false ? [] : this.#split(withoutParts(chosen), wanted, path)
    })
    this.#depth--
    return found
  }

  /** The writer has some values only: each is tried. */
  #finite(
    values: readonly unknown[],
    given: readonly RootedObject[],
    wanted: readonly RootedObject[],
    path: string,
  ): Unproven[] {
    const types = typesOf(given)
    const left = values.filter((value) => types.includes(typeOf(value)))
    if (left.some((value) => !wanted.every(({ schema, root }) => accepts(schema, root, value))))
      return [{ path, keyword: 'enum' }]
    const isCertain = left.length === 0 || !wanted.some(({ schema, root }) => ignoresSome(schema, root))
    return isCertain ? [] : [{ path, keyword: 'format' }]
  }

  /** One conjunct of the reader, for values of one type. */
  #conjunct(given: readonly RootedObject[], wanted: RootedObject, type: TypeName, path: string): Unproven[] {
    const { schema, root } = wanted
    const found: Unproven[] = []
    const fails = (keyword: string): void => void found.push({ path, keyword })
    for (const keyword of Object.keys(schema))
      if (!KNOWN.has(keyword) && !ANNOTATIONS.has(keyword) && !isAlso(given, keyword, schema[keyword])) fails(keyword)
    if (!typesOf([wanted]).includes(type)) fails('type')
    else if (type === 'number' && isWhole([{ schema: { type: schema['type'] }, root }]) && !isWhole(given))
      fails('type')
    if (schema['enum'] !== undefined || Object.hasOwn(schema, 'const'))
      if (!takesAllOf(schema, root, type)) fails('enum')
    for (const { keyword, branches } of unionsOf([wanted]))
      if (!this.#inUnion(given, branches, keyword, type, path)) fails(keyword)
    if (type === 'number') found.push(...numberFaults(given, schema, path))
    if (type === 'string') found.push(...textFaults(given, schema, path))
    if (type === 'array') found.push(...this.#array(given, wanted, path))
    if (type === 'object') found.push(...this.#object(given, wanted, path))
    return found
  }

  /** All values of one type are in one branch of the reader's union. With `oneOf`, they are in no other. */
  #inUnion(
    given: readonly RootedObject[],
    branches: readonly Rooted[],
    keyword: 'anyOf' | 'oneOf',
    type: TypeName,
    path: string,
  ): boolean {
    const ofType = [...given, { schema: { type }, root: {} }]
    const inside = branches.find((branch) => this.#covers(ofType, branch, path).length === 0)
    if (inside !== undefined)
      return keyword === 'anyOf' || branches.every((branch) => branch === inside || areDisjoint(ofType, branch))
    if (type !== 'object' || keyword === 'oneOf') return false
    return this.#inUnionByMember(ofType, branches, path)
  }

  /** The values are told apart by a member that has some values only. */
  #inUnionByMember(given: readonly RootedObject[], branches: readonly Rooted[], path: string): boolean {
    for (const name of requiredOf(given)) {
      const member = conjunctsOf(memberOf(given, name))
      const values = member === false || member === null ? null : finiteOf(member)
      if (values === null || values.length > 16) continue
      const isInOne = values.every((value) => {
        const chosen = { schema: { properties: { [name]: { const: value } } }, root: {} }
        return branches.some((branch) => this.#covers([...given, chosen], branch, path).length === 0)
      })
      if (isInOne) return true
    }
    return false
  }

  #array(given: readonly RootedObject[], wanted: RootedObject, path: string): Unproven[] {
    const found = sizeFaults(given, wanted.schema, 'Items', 0, path)
    const most = smallest(given, 'maxItems')
    const first = Math.max(firstItems(given), firstItems([wanted]))
    for (let index = 0; index < first && index < most; index++)
      found.push(...this.#covers(itemOf(given, index), itemOf([wanted], index)[0] as Rooted, `${path}[${index}]`))
    if (first < most) found.push(...this.#covers(itemOf(given, null), itemOf([wanted], null)[0] as Rooted, `${path}[]`))
    return found
  }

  #object(given: readonly RootedObject[], wanted: RootedObject, path: string): Unproven[] {
    const { schema, root } = wanted
    const required = requiredOf(given)
    const found = sizeFaults(given, schema, 'Properties', required.size, path)
    for (const name of requiredOf([wanted]))
      if (!required.has(name)) found.push({ path: `${path}.${name}`, keyword: 'required' })
    const names = new Set([
      ...given.flatMap((each) => Object.keys(propertiesOf(each.schema))),
      ...Object.keys(propertiesOf(schema)),
    ])
    for (const name of names) {
      if (this.#undeclared === 'absent' && !mayHave(given, name)) continue
      found.push(...this.#covers(memberOf(given, name), wantedMember(wanted, name), `${path}.${name}`))
    }
    const others = given.map((each) => ({ schema: additionalOf(each.schema), root: each.root }))
    // With patterns for names, some members are exempt from this: then it is more than what must be proven.
    found.push(...this.#covers(others, { schema: schemaIn(schema['additionalProperties']), root }, `${path}.*`))
    const { propertyNames } = schema
    if (propertyNames !== undefined) {
      const given_ = given.flatMap((each) => {
        const said = each.schema['propertyNames']
        return isJsonObject(said) ? [{ schema: said, root: each.root }] : []
      })
      const wantedNames = { schema: isJsonObject(propertyNames) ? propertyNames : propertyNames !== false, root }
      found.push(...this.#covers([...given_, { schema: { type: 'string' }, root }], wantedNames, `${path}.*`))
    }
    return found
  }
}

const stripped = new WeakMap<JsonObject, JsonObject>()

/** The conjuncts without what is listed beside them: references and `allOf`. Those that say nothing are left out. */
function withoutParts(conjuncts: readonly RootedObject[]): RootedObject[] {
  return conjuncts.flatMap(({ schema, root }) => {
    if (schema['$ref'] === undefined && schema['allOf'] === undefined) return [{ schema, root }]
    const { $ref: _, allOf: __, ...rest } = schema
    if (Object.keys(rest).every((keyword) => ANNOTATIONS.has(keyword))) return []
    const same = stripped.get(schema) ?? rest
    stripped.set(schema, same)
    return [{ schema: same, root }]
  })
}

function typeOf(value: unknown): TypeName {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return typeof value as TypeName
}

function accepts(schema: JsonObject, root: JsonObject, value: unknown): boolean {
  if (JSON.stringify(schema).includes('"$ref":"#"') && schema !== root) return false
  const { $defs, definitions } = root
  const whole = { ...($defs !== undefined && { $defs }), ...(definitions !== undefined && { definitions }), ...schema }
  return isValid(whole, value)
}

function isValid(schema: JsonObject, value: unknown): boolean {
  const result = schemaOf(schema)['~standard'].validate(value)
  return !(result instanceof Promise) && result.issues === undefined
}

/** Whether the validator ignores a part of the schema: that it accepts a value proves nothing. */
function ignoresSome(schema: JsonObject, root: JsonObject): boolean {
  const text = JSON.stringify(schema) + (JSON.stringify(schema).includes('"$ref"') ? JSON.stringify(root) : '')
  return /"(format|unevaluated|dependentSchemas|content[EMS]|\$dynamicRef|\$anchor|\$ref":"[^#])/.test(text)
}

function isAlso(given: readonly RootedObject[], keyword: string, value: unknown): boolean {
  const text = JSON.stringify(value)
  return (
    ALONE.has(keyword) &&
    !text.includes('"$ref"') &&
    given.some(({ schema }) => JSON.stringify(schema[keyword]) === text)
  )
}

/** Whether a type has few values, and the reader accepts them all. */
function takesAllOf(schema: JsonObject, root: JsonObject, type: TypeName): boolean {
  const values = type === 'null' ? [null] : type === 'boolean' ? [true, false] : null
  return values?.every((value) => accepts(schema, root, value)) === true
}

function numberFaults(given: readonly RootedObject[], schema: JsonObject, path: string): Unproven[] {
  const found: Unproven[] = []
  const fails = (keyword: string): void => void found.push({ path, keyword })
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema
  const [least, above] = [largest(given, 'minimum'), largest(given, 'exclusiveMinimum')]
  const [most, below] = [smallest(given, 'maximum'), smallest(given, 'exclusiveMaximum')]
  if (typeof minimum === 'number' && !(Math.max(least, above) >= minimum)) fails('minimum')
  if (typeof maximum === 'number' && !(Math.min(most, below) <= maximum)) fails('maximum')
  if (typeof exclusiveMinimum === 'number' && !(least > exclusiveMinimum || above >= exclusiveMinimum))
    fails('exclusiveMinimum')
  if (typeof exclusiveMaximum === 'number' && !(most < exclusiveMaximum || below <= exclusiveMaximum))
    fails('exclusiveMaximum')
  if (typeof multipleOf === 'number') {
    const isMultiple = given.some(({ schema: { multipleOf: of } }) => typeof of === 'number' && of % multipleOf === 0)
    if (!isMultiple && !(multipleOf === 1 && isWhole(given))) fails('multipleOf')
  }
  return found
}

function textFaults(given: readonly RootedObject[], schema: JsonObject, path: string): Unproven[] {
  const found = sizeFaults(given, schema, 'Length', 0, path)
  for (const keyword of ['pattern', 'format'])
    if (schema[keyword] !== undefined && !isAlso(given, keyword, schema[keyword])) found.push({ path, keyword })
  return found
}

function sizeFaults(
  given: readonly RootedObject[],
  schema: JsonObject,
  what: 'Length' | 'Items' | 'Properties',
  atLeast: number,
  path: string,
): Unproven[] {
  const found: Unproven[] = []
  const [min, max] = [schema[`min${what}`], schema[`max${what}`]]
  if (typeof min === 'number' && Math.max(largest(given, `min${what}`), atLeast, 0) < min)
    found.push({ path, keyword: `min${what}` })
  if (typeof max === 'number' && smallest(given, `max${what}`) > max) found.push({ path, keyword: `max${what}` })
  return found
}

function wantedMember({ schema, root }: RootedObject, name: string): Rooted {
  const named = propertiesOf(schema)
  return { schema: schemaIn(Object.hasOwn(named, name) ? named[name] : schema['additionalProperties']), root }
}

/** Whether it is certain that no value satisfies both: by type, or by a required member with other values. */
function areDisjoint(given: readonly RootedObject[], branch: Rooted): boolean {
  const other = conjunctsOf([branch])
  if (other === null) return false
  if (other === false) return true
  const types = typesOf(other)
  if (!typesOf(given).some((type) => types.includes(type))) return true
  const required = requiredOf(other)
  return [...requiredOf(given)].some((name) => {
    if (!required.has(name)) return false
    const [one, two] = [conjunctsOf(memberOf(given, name)), conjunctsOf(memberOf(other, name))]
    if (one === null || two === null) return false
    if (one === false || two === false) return true
    const [values, others] = [finiteOf(one), finiteOf(two)]
    if (values === null || others === null) return !typesOf(one).some((type) => typesOf(two).includes(type))
    const texts = new Set(others.map((value) => JSON.stringify(value)))
    return !values.some((value) => texts.has(JSON.stringify(value)))
  })
}

/**
 * Parses a whole pattern into combinations. A pattern matches if one of its combinations does. A combination is one set
 * of alternatives for each of its fields.
 *
 * `$or` multiplies the combinations, exactly as in event-ruler: keys are applied in the order in which they are
 * written, and a later key with the same path replaces an earlier one within its combination. The product is limited.
 */
import { LIMITS } from '../base/limits.ts'
import { parseJson } from './json-tree.ts'
import type { Matcher } from './matcher.ts'
import { parseAlternative, RESERVED_WORDS } from './operator-parser.ts'
import { isPlainObject, refusePattern, shown } from './pattern-error.ts'
import type { PatternJson } from './pattern-type.ts'

/** One field of a combination. */
export interface FieldAlternatives {
  /** The names from the root, joined by dots. */
  readonly path: string
  readonly alternatives: readonly Matcher[]
}

/**
 * Fields that must all match, in ascending order of their paths. That order is part of the meaning of `exists: false`
 * in arrays.
 */
export type Combination = readonly FieldAlternatives[]

interface ParseState {
  combinations: Map<string, FieldAlternatives>[]
  alternatives: number
}

/**
 * Parse a pattern.
 * @throws INVALID_PATTERN when it is malformed, or larger than the limits allow.
 */
export function parsePattern(pattern: PatternJson | string): readonly Combination[] {
  const root: unknown =
    typeof pattern === 'string'
      ? parseJson(pattern, (reason) => refusePattern('', `the text is not JSON: ${reason}`))
      : pattern
  if (!isPlainObject(root))
    return refusePattern(
      '',
      `a pattern is an object of fields, such as { "type": ["order.placed"] }, not ${shown(root)}`,
    )
  const state: ParseState = { combinations: [new Map()], alternatives: 0 }
  parseFields(root, null, state, false, 0)
  return state.combinations.map((fields) => [...fields.values()].sort((a, b) => (a.path < b.path ? -1 : 1)))
}

function parseFields(
  node: Readonly<Record<string, unknown>>,
  path: string | null,
  state: ParseState,
  insideOr: boolean,
  depth: number,
): void {
  const names = Object.keys(node)
  if (names.length === 0)
    return refusePattern(
      path ?? '',
      'an empty object matches nothing; name a field, or match a whole field with [{ "exists": true }]',
    )
  if (depth > LIMITS.patternDepthMax)
    return refusePattern(path ?? '', `it nests deeper than ${LIMITS.patternDepthMax} levels`)
  for (const name of names) {
    const value = node[name]
    const at = path === null ? name : `${path}.${name}`
    if (name === '$or') {
      parseOr(value, path, at, state, depth)
    } else if (insideOr && RESERVED_WORDS.has(name)) {
      refusePattern(
        at,
        `"${name}" is reserved and cannot name a field inside "$or"; an operator stands in an array, such as "field": [{ "${name}": ... }]`,
      )
    } else if (Array.isArray(value)) {
      setField(parseLeaf(value, at, state), state)
    } else if (isPlainObject(value)) {
      parseFields(value, at, state, insideOr, depth + 1)
    } else {
      refusePattern(
        at,
        `a field is matched by an array of alternatives or an object of fields, not ${shown(value)}; write [${shown(value)}]`,
      )
    }
  }
}

function parseLeaf(values: readonly unknown[], path: string, state: ParseState): FieldAlternatives {
  if (values.length === 0)
    return refusePattern(
      path,
      'an empty array matches nothing; name at least one alternative, or [{ "exists": true }] for any value',
    )
  state.alternatives += values.length
  if (state.alternatives > LIMITS.patternAlternativesMax) {
    return refusePattern(
      path,
      `too complex: it has more than ${LIMITS.patternAlternativesMax} alternatives; split it into several patterns`,
    )
  }
  return { path, alternatives: values.map((value, index) => parseAlternative(value, `${path}[${index}]`)) }
}

function setField(field: FieldAlternatives, state: ParseState): void {
  let fields = 0
  for (const combination of state.combinations) {
    combination.set(field.path, field)
    fields += combination.size
  }
  if (fields > LIMITS.patternFieldsMax) {
    refusePattern(
      field.path,
      `too complex: with its "$or" it comes to more than ${LIMITS.patternFieldsMax} fields; split it into several patterns`,
    )
  }
}

/** Each branch multiplies the combinations before it; later keys apply to all of them. */
function parseOr(value: unknown, path: string | null, at: string, state: ParseState, depth: number): void {
  if (!Array.isArray(value) || value.length < 2 || !value.every(isPlainObject)) {
    return refusePattern(at, `"$or" takes an array of at least two objects, not ${shown(value)}`)
  }
  const before = state.combinations
  const after: Map<string, FieldAlternatives>[] = []
  const tooMany = (): never =>
    refusePattern(
      at,
      `too complex: "$or" multiplies to more than ${LIMITS.patternCombinationsMax} combinations; split it into several patterns`,
    )
  if (before.length * value.length > LIMITS.patternCombinationsMax) tooMany()
  for (const [index, branch] of value.entries()) {
    state.combinations = before.map((combination) => new Map(combination))
    parseFields(branch, path, state, true, depth + 1)
    after.push(...state.combinations)
    if (after.length > LIMITS.patternCombinationsMax) tooMany()
    if (index > LIMITS.patternCombinationsMax) tooMany()
  }
  state.combinations = after
}

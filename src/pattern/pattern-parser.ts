/**
 * Reads a whole pattern into combinations: a pattern matches where one of its combinations does, and a combination is one set of
 * alternatives for each of its fields. `$or` multiplies combinations, exactly as event-ruler does it: keys take effect in the order they
 * are written, and a later one of the same path replaces an earlier one within its combination. The product is bounded.
 */
import { LIMITS } from '../base/limits.ts'
import { parseJson } from './json-tree.ts'
import type { Matcher } from './matcher.ts'
import { parseAlternative, RESERVED_WORDS } from './operator-parser.ts'
import { isPlainObject, refusePattern, shown } from './pattern-error.ts'
import type { PatternJson } from './pattern-type.ts'

/** One field of a combination. */
export interface FieldAlternatives {
  /** The names from the top, joined by dots. */
  readonly path: string
  readonly alternatives: readonly Matcher[]
}

/** Fields that must all match, by path in ascending order; that order is part of the meaning of `exists: false` in arrays. */
export type Combination = readonly FieldAlternatives[]

interface Progress {
  combinations: Map<string, FieldAlternatives>[]
  alternatives: number
}

/**
 * Read a pattern.
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
  const progress: Progress = { combinations: [new Map()], alternatives: 0 }
  parseFields(root, null, progress, false, 0)
  return progress.combinations.map((fields) => [...fields.values()].sort((a, b) => (a.path < b.path ? -1 : 1)))
}

function parseFields(
  node: Readonly<Record<string, unknown>>,
  path: string | null,
  progress: Progress,
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
      parseOr(value, path, at, progress, depth)
    } else if (insideOr && RESERVED_WORDS.has(name)) {
      refusePattern(
        at,
        `"${name}" is reserved and cannot name a field inside "$or"; an operator stands in an array, such as "field": [{ "${name}": ... }]`,
      )
    } else if (Array.isArray(value)) {
      setField(parseLeaf(value, at, progress), progress)
    } else if (isPlainObject(value)) {
      parseFields(value, at, progress, insideOr, depth + 1)
    } else {
      refusePattern(
        at,
        `a field is matched by an array of alternatives or an object of fields, not ${shown(value)}; write [${shown(value)}]`,
      )
    }
  }
}

function parseLeaf(values: readonly unknown[], path: string, progress: Progress): FieldAlternatives {
  if (values.length === 0)
    return refusePattern(
      path,
      'an empty array matches nothing; name at least one alternative, or [{ "exists": true }] for any value',
    )
  progress.alternatives += values.length
  if (progress.alternatives > LIMITS.patternAlternativesMax) {
    return refusePattern(
      path,
      `too complex: it has more than ${LIMITS.patternAlternativesMax} alternatives; split it into several patterns`,
    )
  }
  return { path, alternatives: values.map((value, index) => parseAlternative(value, `${path}[${index}]`)) }
}

function setField(field: FieldAlternatives, progress: Progress): void {
  let fields = 0
  for (const combination of progress.combinations) {
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

/** Each branch multiplies what came before it; what comes after applies to all of them. */
function parseOr(value: unknown, path: string | null, at: string, progress: Progress, depth: number): void {
  if (!Array.isArray(value) || value.length < 2 || !value.every(isPlainObject)) {
    return refusePattern(at, `"$or" takes an array of at least two objects, not ${shown(value)}`)
  }
  const before = progress.combinations
  const after: Map<string, FieldAlternatives>[] = []
  const tooMany = (): never =>
    refusePattern(
      at,
      `too complex: "$or" multiplies to more than ${LIMITS.patternCombinationsMax} combinations; split it into several patterns`,
    )
  if (before.length * value.length > LIMITS.patternCombinationsMax) tooMany()
  for (const [index, branch] of value.entries()) {
    progress.combinations = before.map((combination) => new Map(combination))
    parseFields(branch, path, progress, true, depth + 1)
    after.push(...progress.combinations)
    if (after.length > LIMITS.patternCombinationsMax) tooMany()
    if (index > LIMITS.patternCombinationsMax) tooMany()
  }
  progress.combinations = after
}

/**
 * Explains why an event matches a pattern or not: each condition of the closest combination, with what it requires and
 * what was found. It uses the same parts as `compilePattern`, one by one.
 */
import { type Leaf, leafOf, satisfies } from './combination.ts'
import type { EventFields } from './event-fields.ts'
import { type EventInput, EventReader } from './event-reader.ts'
import type { Matcher } from './matcher.ts'
import { nodeAt, PathNode } from './path-tree.ts'
import { type Combination, parsePattern } from './pattern-parser.ts'
import type { PatternJson } from './pattern-type.ts'

/** The condition of a pattern on one field. */
export interface ExplainedCondition {
  /** The field, such as `data.sku`. */
  readonly path: string
  /** What the pattern requires, in words. */
  readonly expected: string
  /** The event's values there; empty when it has none. */
  readonly found: readonly unknown[]
  readonly holds: boolean
}

export interface PatternExplanation {
  readonly matches: boolean
  /** In words: why it matches, or the first condition that failed. */
  readonly reason: string
  /**
   * The conditions of the combination of `$or` alternatives that matches or comes closest, in the order of their paths.
   */
  readonly conditions: readonly ExplainedCondition[]
}

/** The number of values of one field that are shown. */
const FOUND_MAX = 10

/**
 * Explain why an event matches a pattern, or which condition failed first.
 *
 * @throws INVALID_PATTERN when the pattern is malformed or too complex · INVALID_EVENT when the event is not a JSON
 * object, or its text is malformed where the pattern looks
 * @example
 * ```ts
 * import { explainPattern } from 'millrace/pattern'
 *
 * const pattern = { data: { quantity: [{ numeric: ['>', 100] }] } }
 * const { reason } = explainPattern(pattern, { type: 'cart.item.added', data: { quantity: 2 } })
 * reason // 'data.quantity must be > 100; it is 2'
 * ```
 * @see docs/patterns.md
 */
export function explainPattern(pattern: PatternJson | string, event: EventInput): PatternExplanation {
  const root = new PathNode('', null)
  const combinations = parsePattern(pattern).map((combination) => ({
    combination,
    leaves: leavesOf(combination, root),
  }))
  const reader = new EventReader()
  reader.read(event, root)
  const { fields } = reader
  const explained = combinations.map(({ combination, leaves }) => explainCombination(combination, leaves, fields))
  const best =
    explained.find(({ matches }) => matches) ??
    explained.reduce((closest, each) => (heldBy(each) > heldBy(closest) ? each : closest))
  if (best.matches || explained.length === 1) return best
  return { ...best, reason: `${best.reason} (the closest of ${explained.length} alternatives of "$or")` }
}

function heldBy({ conditions }: PatternExplanation): number {
  return conditions.filter(({ holds }) => holds).length / conditions.length
}

function leavesOf(combination: Combination, root: PathNode): readonly Leaf[] {
  return combination.map(({ path, alternatives }) => {
    const node = nodeAt(root, path)
    node.uses++
    return leafOf(node, alternatives)
  })
}

function explainCombination(
  combination: Combination,
  leaves: readonly Leaf[],
  fields: EventFields,
): PatternExplanation {
  const matches = satisfies(leaves, fields)
  const conditions = combination.map(({ path, alternatives }, at): ExplainedCondition => {
    const leaf = leaves[at] as Leaf
    return {
      path,
      expected: alternatives.map(wordsOf).join(' or '),
      found: foundAt(leaf, fields),
      holds: satisfies([leaf], fields),
    }
  })
  const failed = conditions.find(({ holds }) => !holds)
  if (matches) return { matches, reason: `all ${conditions.length} condition(s) hold`, conditions }
  if (failed === undefined)
    return {
      matches,
      reason: 'each condition holds, but not all within one element of the array that they share',
      conditions,
    }
  return { matches, reason: `${failed.path} must be ${failed.expected}; it is ${foundText(failed.found)}`, conditions }
}

function foundText(found: readonly unknown[]): string {
  if (found.length === 0) return 'missing'
  return found.map((value) => (typeof value === 'bigint' ? String(value) : JSON.stringify(value))).join(', ')
}

function foundAt(leaf: Leaf, fields: EventFields): readonly unknown[] {
  const found: unknown[] = []
  const count = Math.min(fields.countAt(leaf.node), FOUND_MAX)
  for (let at = 0; at < count; at++) {
    const value = fields.valueAt(leaf.node.indexes[at] as number)
    if (value.string !== undefined) found.push(value.string)
    else if (!Number.isNaN(value.number))
      found.push(value.isComparable ? value.number : `${value.numberText} (more digits than a double can hold)`)
    else found.push(value.literal ?? null)
  }
  return found
}

function quoted(text: string): string {
  return JSON.stringify(text)
}

function addressText(bits: string): string {
  const size = bits.length > 32 ? 16 : 8
  const parts = bits.match(new RegExp(`.{1,${size}}`, 'g')) ?? []
  return parts
    .map((part) => Number.parseInt(part.padEnd(size, '0'), 2).toString(size === 8 ? 10 : 16))
    .join(size === 8 ? '.' : ':')
}

function rangeText({ low, high, lowOpen, highOpen }: Extract<Matcher, { kind: 'range' }>): string {
  const lower = low === Number.NEGATIVE_INFINITY ? [] : [`${lowOpen ? '>' : '>='} ${low}`]
  const upper = high === Number.POSITIVE_INFINITY ? [] : [`${highOpen ? '<' : '<='} ${high}`]
  return [...lower, ...upper].join(' and ')
}

/** What an alternative requires, in words that can follow "must be". */
function wordsOf(matcher: Matcher): string {
  switch (matcher.kind) {
    case 'string':
      return quoted(matcher.text)
    case 'number':
    case 'literal':
      return String(matcher.value)
    case 'number-text':
      return matcher.text
    case 'address':
      return `the address ${addressText(matcher.bits)}`
    case 'cidr':
      return `an address in ${addressText(matcher.block.bits.padEnd(matcher.block.width, '0'))}/${matcher.block.bits.length}`
    case 'range':
      return rangeText(matcher)
    case 'exists':
      return 'there'
    case 'absent':
      return 'absent'
    case 'but-strings':
      return `anything but ${[...matcher.texts].map(quoted).join(', ')}`
    case 'but-numbers':
      return `anything but ${[...matcher.values].join(', ')}`
    case 'but-text':
      return `anything but ${matcher.matchers.map(wordsOf).join(', ')}`
    case 'prefix':
      return `a text that begins with ${quoted(matcher.text)}`
    case 'suffix':
      return `a text that ends with ${quoted(matcher.text)}`
    case 'prefix-ignore-case':
      return `a text that begins with ${quoted(matcher.text)} in any case`
    case 'suffix-ignore-case':
      return `a text that ends with ${quoted(matcher.text)} in any case`
    case 'equals-ignore-case':
      return `${quoted(matcher.text)} in any case`
    case 'wildcard':
      return `a text like ${quoted(matcher.text)}`
  }
}

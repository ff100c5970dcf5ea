/**
 * Derives a pattern that matches every event for which an expression is true. With it an index finds the expressions
 * that are worth evaluating.
 *
 * Only `type`, `source`, `subject` and `id` are used: they are strings in every event, so CloudEvents SQL and patterns
 * compare them in the same way. If the expression does not restrict them, the result is `null`: any event may satisfy
 * it. The pattern is never too narrow; if it is too wide, that only costs an evaluation.
 */
import { addressBits } from '../ip-address.ts'
import type { PatternJson } from '../pattern-type.ts'
import { parseExpression } from './expression-parser.ts'
import type { ExpressionTest, ExpressionTree } from './expression-tree.ts'

/** The alternatives of each attribute. Every attribute must match one of its alternatives. */
type Restrictions = ReadonlyMap<string, readonly unknown[]>

const NONE: Restrictions = new Map()
const STRINGS = new Set(['type', 'source', 'subject', 'id'])
/** More alternatives than this are not worth their memory. */
const ALTERNATIVES_MAX = 100

export function necessaryPattern(cesql: string): PatternJson | null {
  const bounds = boundsOf(parseExpression(cesql))
  return bounds.size === 0 ? null : Object.fromEntries(bounds)
}

function boundsOf(tree: ExpressionTree): Restrictions {
  if (tree.kind === 'exists') return STRINGS.has(tree.name) ? new Map([[tree.name, [{ exists: true }]]]) : NONE
  if (tree.kind === 'tested') {
    const [test] = tree.tests
    return tree.operand.kind === 'attribute' && tree.tests.length === 1 && test !== undefined
      ? ofTest(tree.operand.name, test)
      : NONE
  }
  if (tree.kind !== 'chain') return NONE
  const [only] = tree.rest
  if (tree.rest.length === 1 && only?.operator === '=') return ofEquality(tree.first, only.operand)
  return tree.rest.reduce(
    (left, { operator, operand }) => {
      if (operator === 'AND') return both(left, boundsOf(operand))
      return operator === 'OR' ? either(left, boundsOf(operand)) : NONE
    },
    startOf(tree.first, tree.rest[0]?.operator),
  )
}

/** The first operand is a condition only in a chain of AND, OR or XOR. */
function startOf(first: ExpressionTree, operator: string | undefined): Restrictions {
  return operator === 'AND' || operator === 'OR' ? boundsOf(first) : NONE
}

function ofEquality(left: ExpressionTree, right: ExpressionTree): Restrictions {
  const [attribute, literal] = left.kind === 'attribute' ? [left, right] : [right, left]
  if (attribute.kind !== 'attribute' || literal.kind !== 'literal') return NONE
  return exactly(attribute.name, [literal.value])
}

function ofTest(name: string, test: ExpressionTest): Restrictions {
  if (test.negated) return NONE
  if (test.kind === 'in')
    return exactly(
      name,
      test.set.map((each) => (each.kind === 'literal' ? each.value : null)),
    )
  const prefix = /^[^%_\\]*/.exec(test.pattern)?.[0] ?? ''
  if (prefix === '' || !STRINGS.has(name)) return NONE
  return prefix === test.pattern ? exactly(name, [prefix]) : new Map([[name, [{ prefix }]]])
}

/**
 * Only strings: an integer or boolean literal casts the attribute. Addresses are excluded, because patterns compare
 * them differently.
 */
function exactly(name: string, values: readonly unknown[]): Restrictions {
  if (!STRINGS.has(name) || values.length === 0 || values.length > ALTERNATIVES_MAX) return NONE
  if (!values.every((value) => typeof value === 'string' && addressBits(value) === null)) return NONE
  return new Map([[name, [...values]]])
}

/** If both sides restrict one attribute, the left one is kept: each of them is necessary. */
function both(left: Restrictions, right: Restrictions): Restrictions {
  return new Map([...right, ...left])
}

function either(left: Restrictions, right: Restrictions): Restrictions {
  const shared = [...left].filter(
    ([name, values]) => values.length + (right.get(name)?.length ?? ALTERNATIVES_MAX) <= ALTERNATIVES_MAX,
  )
  return new Map(shared.map(([name, values]) => [name, [...values, ...(right.get(name) ?? [])]]))
}

/**
 * A pattern that every event an expression is true of matches: by it an index finds the expressions worth evaluating.
 *
 * Only `type`, `source`, `subject` and `id` are looked at: they are strings in every event, so comparing them by CloudEvents SQL and by a
 * pattern is the same. What says nothing of them gives `null`: any event may satisfy it. Never too narrow; too wide costs an evaluation.
 */
import { addressBits } from '../ip-address.ts'
import type { PatternJson } from '../pattern-type.ts'
import { parseExpression } from './expression-parser.ts'
import type { ExpressionTest, ExpressionTree } from './expression-tree.ts'

/** Alternatives for each attribute, all of which must have one that matches. */
type Bounds = ReadonlyMap<string, readonly unknown[]>

const NONE: Bounds = new Map()
const STRINGS = new Set(['type', 'source', 'subject', 'id'])
/** More alternatives than this are not worth their memory. */
const ALTERNATIVES_MAX = 100

export function necessaryPattern(cesql: string): PatternJson | null {
  const bounds = boundsOf(parseExpression(cesql))
  return bounds.size === 0 ? null : Object.fromEntries(bounds)
}

function boundsOf(tree: ExpressionTree): Bounds {
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

/** Only a chain of AND, OR and XOR begins with a condition. */
function startOf(first: ExpressionTree, operator: string | undefined): Bounds {
  return operator === 'AND' || operator === 'OR' ? boundsOf(first) : NONE
}

function ofEquality(left: ExpressionTree, right: ExpressionTree): Bounds {
  const [attribute, literal] = left.kind === 'attribute' ? [left, right] : [right, left]
  if (attribute.kind !== 'attribute' || literal.kind !== 'literal') return NONE
  return exactly(attribute.name, [literal.value])
}

function ofTest(name: string, test: ExpressionTest): Bounds {
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

/** Texts only: an integer or boolean beside an attribute casts the attribute. Addresses are compared otherwise by patterns. */
function exactly(name: string, values: readonly unknown[]): Bounds {
  if (!STRINGS.has(name) || values.length === 0 || values.length > ALTERNATIVES_MAX) return NONE
  if (!values.every((value) => typeof value === 'string' && addressBits(value) === null)) return NONE
  return new Map([[name, [...values]]])
}

/** Of two bounds of one attribute the first is kept: either is necessary. */
function both(left: Bounds, right: Bounds): Bounds {
  return new Map([...right, ...left])
}

function either(left: Bounds, right: Bounds): Bounds {
  const shared = [...left].filter(
    ([name, values]) => values.length + (right.get(name)?.length ?? ALTERNATIVES_MAX) <= ALTERNATIVES_MAX,
  )
  return new Map(shared.map(([name, values]) => [name, [...values, ...(right.get(name) ?? [])]]))
}

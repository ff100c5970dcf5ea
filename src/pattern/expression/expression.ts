/** CloudEvents SQL 1.0, compiled: the public entry of this folder. */
import { compileTree, typeOfTree } from './expression-compiler.ts'
import { parseExpression } from './expression-parser.ts'
import type { ExpressionValue } from './expression-tree.ts'
import { type Evaluation, EvaluationFailure, type ExpressionError, ZERO } from './expression-value.ts'

/** The result of an expression for an event. */
export interface ExpressionResult {
  /**
   * A string, a boolean or a 32-bit integer. After an error: the value that the spec defines for the failed expression,
   * usually its type's zero value.
   */
  readonly value: ExpressionValue
  /** Empty, or the one error that ended the evaluation. */
  readonly errors: readonly ExpressionError[]
}

/** A compiled expression. */
export interface CompiledExpression {
  /**
   * The expression's value for an event, with its errors. Never throws.
   *
   * @param event a parsed CloudEvent: attributes and extensions side by side, as the JSON format has them. Its data is
   * not read.
   */
  evaluate(event: object): ExpressionResult
  /** Whether the value is `true` without any error: the event passes the filter. Never throws. */
  matches(event: object): boolean
}

/**
 * Compile a CloudEvents SQL expression.
 *
 * Evaluation stops at the first error. Time and memory are bounded by the lengths of the expression and of the
 * attributes. LIKE does not backtrack.
 *
 * @param cesql at most 16,384 characters, nested at most 64 deep
 * @throws INVALID_EXPRESSION when it does not parse; `details` has `position` (from 0), `line` and `column` (from 1),
 * and `expected` and `found`, or `reason`
 * @example
 * ```ts
 * import { compileExpression } from 'millrace/pattern'
 *
 * const orders = compileExpression("type LIKE 'cart.%' AND int(hop) < 3")
 * orders.matches({ specversion: '1.0', id: '1', source: '/shop', type: 'cart.item.added', hop: '2' }) // true
 *
 * const sum = compileExpression('hop + 1')
 * sum.evaluate({ specversion: '1.0', id: '1', source: '/shop', type: 'cart.item.added', hop: '2' }).value // 3
 * ```
 * @see docs/cesql.md
 * @see https://github.com/cloudevents/spec/blob/main/cesql/spec.md
 */
export function compileExpression(cesql: string): CompiledExpression {
  const tree = parseExpression(cesql)
  const run = compileTree(tree)
  const zero = ZERO[typeOfTree(tree)]
  // An operator with a failed operand returns its own zero value. Only a failed call at the root can have another
  // value.
  const isCall = tree.kind === 'call'
  return {
    evaluate(event) {
      const outcome = guarded(run, event)
      if (typeof outcome !== 'object') return { value: outcome, errors: [] }
      return { value: (isCall ? outcome.value : undefined) ?? zero, errors: [outcome.error] }
    },
    matches(event) {
      return guarded(run, event) === true
    },
  }
}

/** An evaluation throws only if the event is not an object, or one of its getters throws. */
function guarded(run: (event: object) => Evaluation, event: object): Evaluation {
  try {
    return run(event)
  } catch (error) {
    return new EvaluationFailure(
      'generic',
      `the event cannot be read: ${error instanceof Error ? error.message : 'a getter threw'}`,
    )
  }
}

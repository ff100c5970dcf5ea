/**
 * The condition of a rule: an event pattern, a CloudEvents SQL expression, or none.
 *
 * A pattern is added to the index of its channel. For an expression, the index gets a pattern that all events match for
 * which the expression is true, if there is one; then the expression itself is evaluated. A condition without a pattern
 * is evaluated for every event.
 */
import { type CompiledExpression, compileExpression } from '../pattern/expression/expression.ts'
import { necessaryPattern } from '../pattern/expression/necessary-pattern.ts'
import { parsePattern } from '../pattern/pattern-parser.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { refuseRule, shown, within } from './rule-error.ts'

export interface Condition {
  readonly when: PatternJson | string | null
  /** The pattern for the index; `null`: the rule is evaluated for every event. */
  readonly indexed: PatternJson | null
  /** Evaluated for an event that the index found. */
  readonly expression: CompiledExpression | null
}

/** Compiles the condition of a rule. @throws INVALID_RULE when the pattern or the expression is malformed */
export function compileCondition(when: unknown): Condition {
  if (when === undefined || when === null) return { when: null, indexed: null, expression: null }
  if (typeof when === 'string') {
    const expression = within('when', () => compileExpression(when))
    return { when, indexed: necessaryPattern(when), expression }
  }
  if (typeof when !== 'object' || Array.isArray(when))
    return refuseRule('when', `an event pattern or a CloudEvents SQL expression is needed, not ${shown(when)}`)
  const pattern = when as PatternJson
  within('when', () => parsePattern(pattern))
  return { when: pattern, indexed: pattern, expression: null }
}

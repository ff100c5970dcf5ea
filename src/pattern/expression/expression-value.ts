/**
 * Values, failures and casts of CloudEvents SQL (spec 3.1, 3.3, 3.7).
 *
 * An evaluation stops at its first error (spec 4.1, "fail fast"): the failure passes through all outer operators, and
 * the result is the zero value of the outermost one.
 */
import { shown } from '../pattern-error.ts'
import type { ExpressionValue } from './expression-tree.ts'

export const INTEGER_MIN = -2_147_483_648
export const INTEGER_MAX = 2_147_483_647

export type ExpressionType = 'boolean' | 'integer' | 'string'

/** The spec's error types (3.3), except the parse error, which `compileExpression` throws. */
export type ExpressionErrorKind =
  | 'math'
  | 'cast'
  | 'missingAttribute'
  | 'missingFunction'
  | 'functionEvaluation'
  | 'generic'

/** What went wrong while an expression was evaluated. */
export interface ExpressionError {
  readonly kind: ExpressionErrorKind
  /** What was wrong with which attribute, function or value. */
  readonly message: string
}

/** The result of an evaluation that failed. */
export class EvaluationFailure {
  readonly error: ExpressionError
  /** The value that the failed function returns according to the spec, if it is not the zero value of its type. */
  readonly value: ExpressionValue | undefined

  constructor(kind: ExpressionErrorKind, message: string, value?: ExpressionValue) {
    this.error = { kind, message }
    this.value = value
  }
}

/** `EvaluationFailure` is the only object type here, so `typeof outcome === 'object'` identifies it. */
export type Evaluation = ExpressionValue | EvaluationFailure

export const ZERO: Readonly<Record<ExpressionType, ExpressionValue>> = { boolean: false, integer: 0, string: '' }

export function typeOf(value: ExpressionValue): ExpressionType {
  return typeof value === 'number' ? 'integer' : (typeof value as 'boolean' | 'string')
}

export function toText(value: ExpressionValue): string {
  return typeof value === 'string' ? value : String(value)
}

export function toInteger(value: ExpressionValue): number | EvaluationFailure {
  if (typeof value === 'number') return value
  if (typeof value === 'boolean') return value ? 1 : 0
  const number = /^[+-]?[0-9]+$/.test(value) ? Number(value) : Number.NaN
  // `| 0` turns -0 into 0.
  return number >= INTEGER_MIN && number <= INTEGER_MAX
    ? number | 0
    : new EvaluationFailure('cast', `${shown(value)} is not a 32-bit integer`)
}

export function toBoolean(value: ExpressionValue): boolean | EvaluationFailure {
  if (typeof value === 'boolean') return value
  if (typeof value === 'number') return value !== 0
  const text = value.length > 5 ? '' : value.toLowerCase()
  return (
    text === 'true' ||
    (text === 'false' ? false : new EvaluationFailure('cast', `${shown(value)} is neither "true" nor "false"`))
  )
}

export function castTo(type: ExpressionType, value: ExpressionValue): Evaluation {
  return type === 'string' ? toText(value) : type === 'integer' ? toInteger(value) : toBoolean(value)
}

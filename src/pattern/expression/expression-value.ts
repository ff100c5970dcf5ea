/**
 * Values, failures and casts of CloudEvents SQL (spec 3.1, 3.3, 3.7).
 *
 * An evaluation stops at its first error (spec 4.1, "fail fast"): the failure passes up through every operator, whose own zero value counts.
 */
import { shown } from '../pattern-error.ts'
import type { ExpressionValue } from './expression-tree.ts'

export const INTEGER_MIN = -2_147_483_648
export const INTEGER_MAX = 2_147_483_647

export type ExpressionType = 'boolean' | 'integer' | 'string'

/** The spec's error types (3.3), without the parse error, which `compileExpression` throws. */
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

/** What an evaluation has instead of a value. */
export class Failure {
  readonly error: ExpressionError
  /** What the function that failed returns nevertheless, where that is not its type's zero. */
  readonly value: ExpressionValue | undefined

  constructor(kind: ExpressionErrorKind, message: string, value?: ExpressionValue) {
    this.error = { kind, message }
    this.value = value
  }
}

/** The only object among them is the failure: `typeof outcome === 'object'` tells. */
export type Outcome = ExpressionValue | Failure

export const ZERO: Readonly<Record<ExpressionType, ExpressionValue>> = { boolean: false, integer: 0, string: '' }

export function typeOf(value: ExpressionValue): ExpressionType {
  return typeof value === 'number' ? 'integer' : (typeof value as 'boolean' | 'string')
}

export function toText(value: ExpressionValue): string {
  return typeof value === 'string' ? value : String(value)
}

export function toInteger(value: ExpressionValue): number | Failure {
  if (typeof value === 'number') return value
  if (typeof value === 'boolean') return value ? 1 : 0
  const number = /^[+-]?[0-9]+$/.test(value) ? Number(value) : Number.NaN
  // `| 0` makes 0 of -0.
  return number >= INTEGER_MIN && number <= INTEGER_MAX
    ? number | 0
    : new Failure('cast', `${shown(value)} is not a 32-bit integer`)
}

export function toBoolean(value: ExpressionValue): boolean | Failure {
  if (typeof value === 'boolean') return value
  if (typeof value === 'number') return value !== 0
  const text = value.length > 5 ? '' : value.toLowerCase()
  return (
    text === 'true' || (text === 'false' ? false : new Failure('cast', `${shown(value)} is neither "true" nor "false"`))
  )
}

export function castTo(type: ExpressionType, value: ExpressionValue): Outcome {
  return type === 'string' ? toText(value) : type === 'integer' ? toInteger(value) : toBoolean(value)
}

/**
 * The built-in functions of CloudEvents SQL (spec 3.5, and the casts `INT`, `BOOL`, `STRING`), with the types to which
 * their arguments are cast.
 */
import { LIMITS } from '../../base/limits.ts'
import { lengthOf, sliceOf, trimmed } from './code-points.ts'
import type { ExpressionValue } from './expression-tree.ts'
import {
  type Evaluation,
  EvaluationFailure,
  type ExpressionType,
  INTEGER_MAX,
  INTEGER_MIN,
} from './expression-value.ts'

export interface ExpressionFunction {
  readonly takes: readonly ExpressionType[]
  /** The type of all further arguments, if any number of them is allowed. */
  readonly more?: ExpressionType
  readonly returns: ExpressionType
  /** The arguments already have the types in `takes`. */
  readonly run: (args: readonly ExpressionValue[]) => Evaluation
}

type Implementation<Args extends readonly ExpressionValue[]> = (...args: Args) => Evaluation

/** The names of the types of an implementation's parameters. */
type TypeNames<Args extends readonly ExpressionValue[]> = { readonly [Index in keyof Args]: TypeName<Args[Index]> }
type TypeName<Value> = Value extends string ? 'string' : Value extends number ? 'integer' : 'boolean'

function fixed<Args extends readonly ExpressionValue[]>(
  takes: TypeNames<Args>,
  returns: ExpressionType,
  implementation: Implementation<Args>,
): ExpressionFunction {
  return {
    takes: takes as readonly ExpressionType[],
    returns,
    run: (args) => implementation(...(args as unknown as Args)),
  }
}

const FUNCTIONS: Readonly<Record<string, readonly ExpressionFunction[]>> = {
  INT: [fixed<[number]>(['integer'], 'integer', (value) => value)],
  BOOL: [fixed<[boolean]>(['boolean'], 'boolean', (value) => value)],
  STRING: [fixed<[string]>(['string'], 'string', (value) => value)],
  ABS: [fixed<[number]>(['integer'], 'integer', absolute)],
  LENGTH: [fixed<[string]>(['string'], 'integer', lengthOf)],
  CONCAT: [{ takes: [], more: 'string', returns: 'string', run: (texts) => joined(texts as readonly string[], '') }],
  CONCAT_WS: [
    {
      takes: ['string'],
      more: 'string',
      returns: 'string',
      run: ([delimiter, ...texts]) => joined(texts as string[], delimiter as string),
    },
  ],
  LOWER: [fixed<[string]>(['string'], 'string', (text) => text.toLowerCase())],
  UPPER: [fixed<[string]>(['string'], 'string', (text) => text.toUpperCase())],
  TRIM: [fixed<[string]>(['string'], 'string', trimmed)],
  LEFT: [fixed<[string, number]>(['string', 'integer'], 'string', left)],
  RIGHT: [fixed<[string, number]>(['string', 'integer'], 'string', right)],
  SUBSTRING: [
    fixed<[string, number]>(['string', 'integer'], 'string', (text, position) =>
      substring(text, position, INTEGER_MAX),
    ),
    fixed<[string, number, number]>(['string', 'integer', 'integer'], 'string', substring),
  ],
}

export const FUNCTION_NAMES: readonly string[] = Object.keys(FUNCTIONS)

/** The function with this name, in capitals, that takes this many arguments. */
export function findFunction(name: string, count: number): ExpressionFunction | undefined {
  const found = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined
  return found?.find(({ takes, more }) => takes.length === count || (more !== undefined && takes.length < count))
}

function absolute(value: number): Evaluation {
  return value === INTEGER_MIN
    ? new EvaluationFailure('math', `ABS(${value}) is beyond 32 bits`, INTEGER_MAX)
    : Math.abs(value)
}

function joined(texts: readonly string[], delimiter: string): Evaluation {
  const chars = texts.reduce((sum, text) => sum + text.length, delimiter.length * Math.max(0, texts.length - 1))
  if (chars <= LIMITS.expressionTextCharsMax) return texts.join(delimiter)
  return new EvaluationFailure(
    'functionEvaluation',
    `a text of ${chars} characters; at most ${LIMITS.expressionTextCharsMax} are made`,
  )
}

function left(text: string, count: number): Evaluation {
  if (count < 0) return new EvaluationFailure('functionEvaluation', `LEFT of ${count} characters`, text)
  return sliceOf(text, 0, count)
}

function right(text: string, count: number): Evaluation {
  if (count < 0) return new EvaluationFailure('functionEvaluation', `RIGHT of ${count} characters`, text)
  const length = lengthOf(text)
  return sliceOf(text, Math.max(0, length - count), length)
}

/** Positions count from 1, or backward from -1 at the end; position 0 gives an empty string. */
function substring(text: string, position: number, count: number): Evaluation {
  const length = lengthOf(text)
  if (count < 0) return new EvaluationFailure('functionEvaluation', `SUBSTRING of ${count} characters`)
  if (position === 0) return ''
  if (position > length || position < -length)
    return new EvaluationFailure('functionEvaluation', `SUBSTRING from ${position} of ${length} characters`)
  const start = position > 0 ? position - 1 : length + position
  return sliceOf(text, start, start + count)
}

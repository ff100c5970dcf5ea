/**
 * Parses text to a tree. It decides how an expression is refused: the position, what was expected there, and what was
 * found.
 *
 * The grammar is cesql.peggy. Its time is proportional to the text's length; length and nesting are limited.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { cesqlParser } from './cesql-parser.generated.ts'
import type { ExpressionTree } from './expression-tree.ts'

/** The error that Peggy throws: from the grammar (with `expected`) or from an action's `error()` (without). */
interface GrammarError {
  readonly message: string
  readonly location: { readonly start: { readonly offset: number; readonly line: number; readonly column: number } }
  readonly expected: readonly { readonly type: string; readonly description?: string; readonly text?: string }[] | null
}

/**
 * Operators that can follow any operand. Messages name them as a group, because nearly always all of them would be
 * listed.
 */
const OPERATORS = new Set(['AND', 'OR', 'XOR', 'NOT', 'LIKE', 'IN', ...'+-*/%=<>', '!=', '<>', '<=', '>='])

/** Everything that can begin an operand. */
const OPERANDS = new Set([
  'an integer',
  'a string',
  'TRUE',
  'FALSE',
  'EXISTS',
  'NOT',
  "a function's name",
  "an attribute's name",
  '(',
  '-',
])

/**
 * Parses an expression.
 * @throws INVALID_EXPRESSION with `details` { position, line, column } and { expected, found } or { reason }
 */
export function parseExpression(text: string): ExpressionTree {
  if (typeof text !== 'string')
    throw invalid(`an expression is a string, not ${text === null ? 'null' : typeof text}`, {})
  if (text.length > LIMITS.expressionCharsMax) {
    throw invalid(`the expression has ${text.length} characters; at most ${LIMITS.expressionCharsMax} are allowed`, {
      chars: text.length,
    })
  }
  try {
    return cesqlParser.parse(text, {
      depthMax: LIMITS.expressionDepthMax,
      likeCharsMax: LIMITS.expressionLikeCharsMax,
    }) as ExpressionTree
  } catch (error) {
    throw isGrammarError(error) ? refused(text, error) : error
  }
}

function refused(text: string, error: GrammarError): MillraceError {
  const { offset: position, line, column } = error.location.start
  const where = `the expression does not parse at line ${line}, column ${column}`
  if (error.expected === null)
    return invalid(`${where}: ${error.message}`, { position, line, column, reason: error.message })
  const expected = expectedAt(error.expected)
  const found = foundAt(text, position)
  const hint =
    (found === "'" || found === '"') && text[position - 1] === found ? `; within a string, write \\${found}` : ''
  const message = `${where}: expected ${listed(expected)}, found ${found === '' ? 'the end' : JSON.stringify(found)}${hint}`
  return invalid(message, { position, line, column, expected, found })
}

/** What was expected at the position, without repetition. Groups of operators and operands are replaced by one word. */
function expectedAt(entries: NonNullable<GrammarError['expected']>): string[] {
  const names = new Set<string>()
  for (const entry of entries)
    names.add(entry.type === 'end' ? 'the end' : (entry.description ?? entry.text ?? entry.type))
  names.delete('white space')
  names.delete('class')
  if (names.has('(') && names.has('an integer')) fold(names, OPERANDS, 'an operand')
  if (names.has('=')) fold(names, OPERATORS, 'an operator')
  return [...names].sort()
}

/** Replace all names of a group by one word. */
function fold(names: Set<string>, group: ReadonlySet<string>, word: string): void {
  for (const name of group) names.delete(name)
  names.add(word)
}

/** The word or character at a position; empty at the end. */
function foundAt(text: string, position: number): string {
  return /^(?:\w+|\W)/u.exec(text.slice(position, position + 40))?.[0] ?? ''
}

function listed(words: readonly string[]): string {
  const shown = words.map((word) => (/^[a-z]/.test(word) ? word : `"${word}"`))
  return shown.length <= 1 ? shown.join() : `${shown.slice(0, -1).join(', ')} or ${shown.at(-1)}`
}

function invalid(message: string, details: Readonly<Record<string, unknown>>): MillraceError {
  return new MillraceError('INVALID_EXPRESSION', message, details)
}

function isGrammarError(error: unknown): error is GrammarError {
  return error instanceof SyntaxError && 'location' in error && 'expected' in error
}

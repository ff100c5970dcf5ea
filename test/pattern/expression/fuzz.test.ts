import fc from 'fast-check'
import { isMillraceError } from 'millrace'
import { type CompiledExpression, compileExpression } from 'millrace/pattern'
import { describe, expect, it } from 'vitest'
import { parseExpression } from '../../../src/pattern/expression/expression-parser.ts'
import { likeMatcher } from '../../../src/pattern/expression/like-matcher.ts'
import { anyEvent, anyTree, written } from './arbitraries.ts'
import { referenceResult } from './reference-evaluator.ts'

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 1000)

const KINDS = ['math', 'cast', 'missingAttribute', 'missingFunction', 'functionEvaluation', 'generic']

/** The expression, or `undefined` if it is refused as expected; any other error fails the test. */
function compiledOrRefused(text: string): CompiledExpression | undefined {
  try {
    return compileExpression(text)
  } catch (error) {
    if (!isMillraceError(error, 'INVALID_EXPRESSION')) throw error
    expect(error.message.length).toBeLessThan(1000)
    return undefined
  }
}

function isResult({ value, errors }: ReturnType<CompiledExpression['evaluate']>): boolean {
  const typed =
    typeof value === 'string' ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Object.is(value | 0, value))
  return typed && errors.length <= 1 && errors.every(({ kind }) => KINDS.includes(kind))
}

const token = fc.constantFrom(
  ...[
    'and',
    'OR',
    'xor',
    'NOT',
    'like',
    'IN',
    'exists',
    'TRUE',
    'false',
    '(',
    ')',
    ',',
    '+',
    '-',
    '*',
    '/',
    '%',
    '=',
    '!=',
    '<>',
    '<',
    '<=',
    '>',
    '>=',
  ],
  ...[
    "'",
    '"',
    "'a'",
    '"b"',
    "'\\'",
    '\\',
    '1',
    '-1',
    '2147483648',
    'id',
    'hop',
    '4x',
    'ABS(',
    'CONCAT_WS',
    'concat (',
    'x_y',
    ' ',
    '\n',
    '\t',
    '\u00a0',
    '😀',
    '\0',
    '_',
  ],
)

describe('CloudEvents SQL, at random', () => {
  it.each([
    ['of tokens', fc.array(token, { maxLength: 14, size: 'max' }).map((tokens) => tokens.join(' '))],
    ['of tokens without space', fc.array(token, { maxLength: 8, size: 'max' }).map((tokens) => tokens.join(''))],
    ['of any characters', fc.string({ unit: 'binary' })],
  ])('texts %s compile or are refused as INVALID_EXPRESSION; what compiles has a value', (_what, texts) => {
    fc.assert(
      fc.property(texts, anyEvent, (text, event) => {
        const result = compiledOrRefused(text)?.evaluate(event)
        if (result !== undefined) expect(isResult(result)).toBe(true)
      }),
      { numRuns: RUNS },
    )
  })

  it('an expression written and parsed is the same, and evaluates as the specification reads', () => {
    fc.assert(
      fc.property(anyTree, anyEvent, (tree, event) => {
        const text = written(tree)
        expect(parseExpression(text)).toEqual(tree)
        const expression = compileExpression(text)
        const { value, errors } = expression.evaluate(event)
        expect(isResult({ value, errors })).toBe(true)
        expect({ value, errors: errors.map(({ kind }) => kind) }).toEqual(referenceResult(tree, event))
        expect(expression.matches(event)).toBe(value === true && errors.length === 0)
      }),
      { numRuns: RUNS * 2 },
    )
  })

  it('LIKE finds what trying everything finds', () => {
    const piece = fc.constantFrom('a', 'a', 'b', '_', '%', '\\', '😀')
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 9 }),
        fc.array(fc.constantFrom('a', 'a', 'b', '_', '%', '\\', '😀'), { maxLength: 12 }),
        (pattern, text) => {
          const reference = new RegExp(`^${pattern.join('').replaceAll(/\\[%_]|[\s\S]/gu, regexpOf)}$`, 'su')
          expect(likeMatcher(pattern.join(''))(text.join(''))).toBe(reference.test(text.join('')))
        },
      ),
      { numRuns: RUNS * 4 },
    )
  })

  it('LIKE finds long parts, across the words of its state', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', 'a', 'a', 'b', '_'), { minLength: 28, maxLength: 100, size: 'max' }),
        fc.array(fc.constantFrom('a', 'b')),
        (part, noise) => {
          const hidden = noise.join('') + part.join('').replaceAll('_', 'c') + noise.join('')
          expect(likeMatcher(`%${part.join('')}%`)(hidden)).toBe(true)
          const reference = new RegExp(part.join('').replaceAll('_', '.'))
          const other = hidden.replace('c', 'b').replace('b', 'a')
          expect(likeMatcher(`%${part.join('')}%`)(other)).toBe(reference.test(other))
        },
      ),
      { numRuns: RUNS / 4 },
    )
  })
})

function regexpOf(piece: string): string {
  if (piece === '%') return '.*'
  if (piece === '_') return '.'
  return (piece.length === 2 && piece.startsWith('\\') ? piece.slice(1) : piece).replace(
    /[\\^$.*+?()[\]{}|/-]/u,
    '\\$&',
  )
}

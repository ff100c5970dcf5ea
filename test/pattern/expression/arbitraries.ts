/** Random expressions and events from a small vocabulary, so that they often match; and expressions as text. */
import fc from 'fast-check'
import type { BinaryOperator, ExpressionTest, ExpressionTree } from '../../../src/pattern/expression/expression-tree.ts'

const TEXTS = [
  '',
  'a',
  'ab',
  'aab',
  'b%',
  'a_b',
  "it's",
  'say "x"',
  '\\a',
  '\\\\',
  'true',
  'FALSE',
  '0',
  '1',
  '-7',
  '+2',
  '2147483648',
  '😀',
  'a😀b',
  ' x ',
  '\u0085y\ufeff',
]
const PATTERNS = [
  ...TEXTS,
  '%',
  '_',
  '%a%',
  'a%b',
  '_%_',
  '%a_b%',
  '\\%',
  'b\\%',
  'a\\_b',
  '%\\\\',
  '__',
  '%😀%',
  '%_😀_%',
]
const INTEGERS = [0, 1, 2, 3, -1, -2, 7, 46_341, 2_147_483_647, -2_147_483_648]
const ATTRIBUTES = ['id', 'source', 'subject', 'hop', 'flag', 'missing', 'constructor', '4x', 'data']
const OPERATORS: readonly (readonly BinaryOperator[])[] = [
  ['AND', 'OR', 'XOR'],
  ['=', '!=', '<', '<=', '>', '>='],
  ['+', '-'],
  ['*', '/', '%'],
]
/** Names with numbers of arguments; for some of them there is no function. */
const CALLS = [
  ['INT', 1],
  ['BOOL', 1],
  ['STRING', 1],
  ['ABS', 1],
  ['LENGTH', 1],
  ['CONCAT', 0],
  ['CONCAT', 3],
  ['CONCAT_WS', 0],
  ['CONCAT_WS', 3],
  ['LOWER', 1],
  ['UPPER', 1],
  ['TRIM', 1],
  ['LEFT', 2],
  ['RIGHT', 2],
  ['SUBSTRING', 2],
  ['SUBSTRING', 3],
  ['NO_SUCH', 1],
  ['LEFT', 1],
] as const

const literal: fc.Arbitrary<ExpressionTree> = fc
  .oneof(fc.constantFrom(...TEXTS), fc.constantFrom(...INTEGERS), fc.boolean())
  .map((value) => ({ kind: 'literal', value }))
const attribute: fc.Arbitrary<ExpressionTree> = fc
  .constantFrom(...ATTRIBUTES)
  .map((name) => ({ kind: 'attribute', name }))
const exists: fc.Arbitrary<ExpressionTree> = fc.constantFrom(...ATTRIBUTES).map((name) => ({ kind: 'exists', name }))

export const anyTree: fc.Arbitrary<ExpressionTree> = fc.letrec<{ tree: ExpressionTree; test: ExpressionTest }>(
  (tie) => ({
    test: fc.oneof(
      fc.record({ kind: fc.constant('like' as const), negated: fc.boolean(), pattern: fc.constantFrom(...PATTERNS) }),
      fc.record({
        kind: fc.constant('in' as const),
        negated: fc.boolean(),
        set: fc.array(tie('tree'), { minLength: 1, maxLength: 3 }),
      }),
      fc.record({
        kind: fc.constant('in' as const),
        negated: fc.boolean(),
        set: fc.array(literal, { minLength: 1, maxLength: 4 }),
      }),
    ),
    tree: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      { weight: 4, arbitrary: literal },
      { weight: 3, arbitrary: attribute },
      { weight: 1, arbitrary: exists },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constantFrom('not' as const, 'negate' as const), operand: tie('tree') }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant('tested' as const),
          operand: tie('tree'),
          tests: fc.array(tie('test'), { minLength: 1, maxLength: 2 }),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.constantFrom(...CALLS).chain(([name, count]) =>
          fc.record({
            kind: fc.constant('call' as const),
            name: fc.constant(name),
            args: fc.array(tie('tree'), { minLength: count, maxLength: count }),
          }),
        ),
      },
      {
        weight: 8,
        arbitrary: fc.constantFrom(...OPERATORS).chain((operators) =>
          fc.record({
            kind: fc.constant('chain' as const),
            first: tie('tree'),
            rest: fc.array(fc.record({ operator: fc.constantFrom(...operators), operand: tie('tree') }), {
              minLength: 1,
              maxLength: 3,
            }),
          }),
        ),
      },
    ),
  }),
).tree

/** An attribute of any type, sometimes of a type that no event has. */
const attributeValue = fc.oneof(
  { weight: 8, arbitrary: fc.oneof(fc.constantFrom(...TEXTS), fc.constantFrom(...INTEGERS), fc.boolean()) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      null,
      undefined,
      1.5,
      1e300,
      -0,
      Number.NaN,
      10n,
      {},
      [],
      new Date(0),
      new Date(Number.NaN),
      new Uint8Array([1]),
      Symbol('s'),
    ),
  },
)

export const anyEvent: fc.Arbitrary<Record<string, unknown>> = fc.record(
  {
    id: attributeValue,
    source: attributeValue,
    subject: attributeValue,
    hop: attributeValue,
    flag: attributeValue,
    data: attributeValue,
  },
  { requiredKeys: [] },
)

/** The expression as text, with all parentheses that it needs. */
export function written(tree: ExpressionTree): string {
  switch (tree.kind) {
    case 'literal':
      return typeof tree.value === 'string' ? quoted(tree.value) : String(tree.value)
    case 'attribute':
      return tree.name
    case 'exists':
      return `EXISTS ${tree.name}`
    case 'not':
      return `NOT ${nested(tree.operand)}`
    case 'negate':
      return `- ${nested(tree.operand)}`
    case 'call':
      return `${tree.name}(${tree.args.map(written).join(', ')})`
    case 'tested':
      return [nested(tree.operand), ...tree.tests.map(testWritten)].join(' ')
    case 'chain':
      return [nested(tree.first), ...tree.rest.flatMap(({ operator, operand }) => [operator, nested(operand)])].join(
        ' ',
      )
  }
}

function testWritten(test: ExpressionTest): string {
  const what = test.kind === 'like' ? `LIKE ${quoted(test.pattern)}` : `IN (${test.set.map(written).join(',')})`
  return test.negated ? `NOT ${what}` : what
}

function nested(tree: ExpressionTree): string {
  return tree.kind === 'literal' || tree.kind === 'attribute' || tree.kind === 'call'
    ? written(tree)
    : `(${written(tree)})`
}

/** A text that ends in an odd number of backslashes cannot be written; none is drawn. */
function quoted(text: string): string {
  return text.includes("'") ? `"${text.replaceAll('"', '\\"')}"` : `'${text}'`
}

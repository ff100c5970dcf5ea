/** Random patterns and events from a small vocabulary, so that they often match. */
import fc from 'fast-check'
import type { Json, Obj } from './reference-matcher.ts'

/** The first ones are drawn more often. */
const NAMES = ['a', 'a', 'a', 'b', 'b', 'b', 'c', 'a-b', 'é'] as const
const TEXTS = [
  '',
  'x',
  'xy',
  'xyx',
  'X',
  'y',
  'yxy',
  'ß',
  'SS',
  'ss',
  'É',
  'é',
  'k',
  '\u212a',
  'İ',
  'i',
  'σ',
  'ς',
  'Σ',
  '10.0.0.1',
  '010.0.0.1',
  '10.1.2.3',
  '::1',
  '0:0:0:0:0:0:0:1',
  '::ffff:a00:1',
  '12:30',
  '1',
  'a*b',
  'a\\b',
  '"',
  '\n',
  '系统',
  '😀x',
] as const
const NUMBERS = [
  '0',
  '-0',
  '1',
  '1.0',
  '1e0',
  '10e-1',
  '2',
  '-1',
  '1.5',
  '100',
  '1e2',
  '0.1',
  '0.10000000000000001',
  '9007199254740992',
  '9007199254740993',
  '1e400',
  '5e-324',
  '-122.42916360922355',
] as const

const text = fc.constantFrom(...TEXTS)
const number = fc.constantFrom(...NUMBERS)
const comparable = fc.constantFrom(0, 1, 2, -1, 1.5, 100, 0.1, 9007199254740992, 5e-324, -122.42916360922355)

const scalar: fc.Arbitrary<Json> = fc.oneof(
  { weight: 5, arbitrary: text },
  { weight: 4, arbitrary: number.map((num) => ({ num })) },
  { weight: 1, arbitrary: fc.constantFrom(true, false, null) },
)
const key = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(...NAMES) },
  { weight: 1, arbitrary: fc.constantFrom('a.b', 'b.c', 'a.b.c', 'other', '') },
)

/** Events; sometimes with repeated keys, keys with dots, and deep arrays. */
export const anyEvent: fc.Arbitrary<Obj> = fc.letrec<{ value: Json; object: Obj; array: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    { weight: 2, arbitrary: scalar },
    { weight: 3, arbitrary: tie('array') },
    { weight: 2, arbitrary: tie('object') },
  ),
  object: fc.array(fc.tuple(key, tie('value')), { maxLength: 3, size: 'max' }).map((obj) => ({ obj })),
  array: fc.array(tie('value'), { maxLength: 5, size: 'max' }),
})).object

const wildcard = fc.constantFrom('*', '', 'x*', '*x', 'x*x', '*y*', 'x*y*x', '*\\**', '*\\\\*', '10.*', '*ß*', 'a\\*b')
const nonEmpty = text.filter((each) => each !== '')
const oneOrMore = <Value>(each: fc.Arbitrary<Value>): fc.Arbitrary<Value | Value[]> =>
  fc.oneof(each, fc.array(each, { minLength: 1, maxLength: 3 }))
const affix = fc.oneof(
  text,
  text.map((each) => ({ 'equals-ignore-case': each })),
)
const range = fc.oneof(
  fc.tuple(fc.constantFrom('=', '<', '<=', '>', '>='), comparable),
  fc
    .tuple(fc.constantFrom('>', '>='), comparable, fc.constantFrom('<', '<='), comparable)
    .filter(([, low, , high]) => low < high),
)

const alternative: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 6, arbitrary: text },
  { weight: 4, arbitrary: comparable },
  fc.constantFrom(true, false, null),
  text.map((exactly) => ({ exactly })),
  affix.map((prefix) => ({ prefix })),
  affix.map((suffix) => ({ suffix })),
  text.map((each) => ({ 'equals-ignore-case': each })),
  wildcard.map((each) => ({ wildcard: each })),
  range.map((numeric) => ({ numeric })),
  fc.constantFrom('10.0.0.0/8', '10.0.0.0/24', '0.0.0.0/0', '::/0', '::/127').map((cidr) => ({ cidr })),
  fc.boolean().map((exists) => ({ exists })),
  fc.oneof(oneOrMore(text), oneOrMore(comparable)).map((each) => ({ 'anything-but': each })),
  fc
    .oneof(
      oneOrMore(nonEmpty).map((prefix) => ({ prefix })),
      oneOrMore(nonEmpty).map((suffix) => ({ suffix })),
      oneOrMore(text).map((each) => ({ 'equals-ignore-case': each })),
      oneOrMore(wildcard).map((each) => ({ wildcard: each })),
    )
    .map((each) => ({ 'anything-but': each })),
)

type PatternObject = Readonly<Record<string, unknown>>
/** Alternatives that match often, so that other fields and elements decide. */
const likely = fc.constantFrom<unknown>(
  { exists: true },
  { exists: true },
  { exists: false },
  { prefix: '' },
  { 'anything-but': 'x' },
  { 'anything-but': 1 },
  { numeric: ['>=', 0] },
)
const leaf = fc.array(fc.oneof({ weight: 2, arbitrary: alternative }, { weight: 1, arbitrary: likely }), {
  minLength: 1,
  maxLength: 3,
})
const field = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom<string>(...NAMES) },
  { weight: 1, arbitrary: fc.constantFrom('a.b', 'b.c') },
)

const OR_ODDS = 4

/** Patterns with up to this depth; `$or` is one level too. */
function patternOf(depth: number): fc.Arbitrary<PatternObject> {
  const inner = depth === 0 ? null : patternOf(depth - 1)
  const node: fc.Arbitrary<unknown> =
    inner === null ? leaf : fc.oneof({ weight: 2, arbitrary: leaf }, { weight: 1, arbitrary: inner })
  const or: fc.Arbitrary<PatternObject[] | undefined> =
    inner === null
      ? fc.constant(undefined)
      : fc.option(fc.array(inner, { minLength: 2, maxLength: 3 }), { freq: OR_ODDS, nil: undefined })
  return fc
    .tuple(fc.array(fc.tuple(field, node), { minLength: 1, maxLength: 3, size: 'small' }), or, fc.boolean())
    .map(([entries, branches, first]) => {
      const fields = Object.fromEntries(entries)
      if (branches === undefined) return fields
      return first ? { $or: branches, ...fields } : { ...fields, $or: branches }
    })
}

/** Well-formed patterns. */
export const anyPattern: fc.Arbitrary<PatternObject> = fc.oneof(
  { weight: 3, arbitrary: patternOf(0) },
  { weight: 3, arbitrary: patternOf(1) },
  { weight: 1, arbitrary: patternOf(2) },
)

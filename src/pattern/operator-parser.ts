/**
 * Parses one alternative of a field: a plain value, or an object with one operator. Whatever event-ruler refuses is
 * refused here too, with the path and what to write instead.
 */
import { LIMITS } from '../base/limits.ts'
import { addressBits, parseCidr } from './ip-address.ts'
import { type Matcher, type TextMatcher, textMatcher } from './matcher.ts'
import { fromBigint, NumberText } from './number-text.ts'
import { isPlainObject, refusePattern, shown } from './pattern-error.ts'
import { parseWildcard } from './wildcard.ts'

const OPERATORS = [
  'exactly',
  'prefix',
  'suffix',
  'equals-ignore-case',
  'wildcard',
  'anything-but',
  'numeric',
  'cidr',
  'exists',
] as const
type Operator = (typeof OPERATORS)[number]

/** Words that cannot name a field inside `$or`: operators, and words that event-ruler reserves. */
export const RESERVED_WORDS: ReadonlySet<string> = new Set([
  ...OPERATORS,
  ...['=', '<', '<=', '>', '>=', 'regex', 'not-wildcard', 'not-equals-ignore-case'],
  ...['date-after', 'date-on-or-after', 'date-before', 'date-on-or-before', 'in-date-range'],
  ...['ip-address-in-range', 'ip-address-not-in-range'],
])

/** Parse one alternative. @throws INVALID_PATTERN */
export function parseAlternative(value: unknown, path: string): Matcher {
  if (typeof value === 'string') return parseExact(checkText(value, path))
  if (typeof value === 'number' || typeof value === 'bigint' || value instanceof NumberText)
    return parseNumeral(value, path)
  if (typeof value === 'boolean' || value === null) return { kind: 'literal', value }
  if (!isPlainObject(value)) {
    return refusePattern(
      path,
      `an alternative is a string, a number, true, false, null or an operator such as { "prefix": "a" }, not ${shown(value)}`,
    )
  }
  const keys = Object.keys(value)
  const [name] = keys
  if (name === undefined || keys.length > 1) {
    return refusePattern(
      path,
      `an operator object has exactly one key, not ${keys.length}; write alternatives as separate objects`,
    )
  }
  if (!(OPERATORS as readonly string[]).includes(name)) return refuseOperator(name, path)
  return PARSERS[name as Operator](value[name], `${path}.${name}`)
}

function refuseOperator(name: string, path: string): never {
  const meant = OPERATORS.find((operator) => operator === name.toLowerCase().replaceAll('_', '-'))
  const advice = meant === undefined ? `the operators are ${OPERATORS.join(', ')}` : `did you mean "${meant}"`
  return refusePattern(path, `"${name}" is not an operator; ${advice}. Nested fields go in an object, not in an array`)
}

function checkText(text: string, path: string): string {
  if (text.length <= LIMITS.patternTextCharsMax) return text
  return refusePattern(
    path,
    `the text has ${text.length} characters; at most ${LIMITS.patternTextCharsMax} are allowed`,
  )
}

function needText(value: unknown, path: string): string {
  return typeof value === 'string'
    ? checkText(value, path)
    : refusePattern(path, `a string is needed, not ${shown(value)}`)
}

function parseExact(text: string): Matcher {
  const bits = addressBits(text)
  return bits === null ? { kind: 'string', text } : { kind: 'address', bits }
}

function parseNumeral(value: number | bigint | NumberText, path: string): Matcher {
  if (typeof value === 'number' && !Number.isFinite(value)) return refusePattern(path, `${value} is not a JSON number`)
  const number = typeof value === 'bigint' ? fromBigint(value) : value
  return number instanceof NumberText ? { kind: 'number-text', text: number.text } : { kind: 'number', value: number }
}

/** A number for a comparison. A double must hold it exactly. */
function needNumber(value: unknown, path: string): number {
  const number = typeof value === 'bigint' ? fromBigint(value) : value
  if (number instanceof NumberText) {
    return refusePattern(
      path,
      `${number.text} has more digits than a double holds and cannot be compared; match it exactly, as a plain value`,
    )
  }
  if (typeof number === 'number' && Number.isFinite(number)) return number
  return refusePattern(path, `a number is needed, not ${shown(value)}`)
}

/** A string, or `{ "equals-ignore-case": string }`. */
function parseAffix(kind: 'prefix' | 'suffix', value: unknown, path: string): Matcher {
  if (!isPlainObject(value)) return textMatcher(kind, needText(value, path))
  const keys = Object.keys(value)
  if (keys.length !== 1 || keys[0] !== 'equals-ignore-case') {
    return refusePattern(path, `"${kind}" takes a string or { "equals-ignore-case": string }, not ${shown(value)}`)
  }
  return textMatcher(`${kind}-ignore-case`, needText(value['equals-ignore-case'], `${path}.equals-ignore-case`))
}

function parseWildcardText(value: unknown, path: string): TextMatcher {
  const text = needText(value, path)
  const wildcard = parseWildcard(text)
  return typeof wildcard === 'string' ? refusePattern(path, wildcard) : { kind: 'wildcard', text, wildcard }
}

const NUMERIC_FORM =
  'write ["=", 1], ["<", 1], ["<=", 1], [">", 1], [">=", 1], or a lower and an upper bound such as [">", 0, "<=", 5]'

function parseNumericRange(value: unknown, path: string): Matcher {
  if (!Array.isArray(value) || (value.length !== 2 && value.length !== 4))
    return refusePattern(path, `${shown(value)} is not a comparison; ${NUMERIC_FORM}`)
  const [operator, operand, upperOperator, upperOperand] = value as readonly unknown[]
  if (typeof operator !== 'string' || !['=', '<', '<=', '>', '>='].includes(operator)) {
    return refusePattern(`${path}[0]`, `${shown(operator)} is not a comparison; ${NUMERIC_FORM}`)
  }
  const bound = needNumber(operand, `${path}[1]`)
  if (value.length === 2) {
    if (operator === '=') return { kind: 'number', value: bound }
    const open = operator === '<' || operator === '>'
    return operator.startsWith('<')
      ? { kind: 'range', low: Number.NEGATIVE_INFINITY, lowOpen: true, high: bound, highOpen: open }
      : { kind: 'range', low: bound, lowOpen: open, high: Number.POSITIVE_INFINITY, highOpen: true }
  }
  if (!operator.startsWith('>')) return refusePattern(path, `with two bounds the lower comes first; ${NUMERIC_FORM}`)
  if (upperOperator !== '<' && upperOperator !== '<=')
    return refusePattern(`${path}[2]`, `the upper bound needs "<" or "<="; ${NUMERIC_FORM}`)
  const upper = needNumber(upperOperand, `${path}[3]`)
  if (bound >= upper)
    return refusePattern(
      path,
      `the lower bound ${bound} must be less than the upper bound ${upper}; match one number as a plain value`,
    )
  return { kind: 'range', low: bound, lowOpen: operator === '>', high: upper, highOpen: upperOperator === '<' }
}

function parseCidrBlock(value: unknown, path: string): Matcher {
  const block = parseCidr(needText(value, path))
  return typeof block === 'string' ? refusePattern(path, block) : { kind: 'cidr', block }
}

function parseExists(value: unknown, path: string): Matcher {
  if (typeof value !== 'boolean') return refusePattern(path, `"exists" takes true or false, not ${shown(value)}`)
  return { kind: value ? 'exists' : 'absent' }
}

/** One value or a list of values, each with its path. */
function listed(value: unknown, path: string): readonly (readonly [unknown, string])[] {
  if (!Array.isArray(value)) return [[value, path]]
  if (value.length === 0) return refusePattern(path, 'the list is empty; name at least one value')
  return value.map((each: unknown, index) => [each, `${path}[${index}]`] as const)
}

function parseAnythingBut(value: unknown, path: string): Matcher {
  if (isPlainObject(value)) return parseAnythingButText(value, path)
  const items = listed(value, path)
  const isText = typeof items[0]?.[0] === 'string'
  for (const [item, at] of items) {
    const fits = isText
      ? typeof item === 'string'
      : typeof item === 'number' || typeof item === 'bigint' || item instanceof NumberText
    if (!fits)
      return refusePattern(
        at,
        `"anything-but" takes strings or numbers, all of one kind, not ${shown(item)}; for null or booleans list what may match instead`,
      )
  }
  return isText
    ? { kind: 'but-strings', texts: new Set(items.map(([item, at]) => needText(item, at))) }
    : { kind: 'but-numbers', values: new Set(items.map(([item, at]) => needNumber(item, at))) }
}

const ANYTHING_BUT_OPERATORS = ['prefix', 'suffix', 'equals-ignore-case', 'wildcard'] as const

function parseAnythingButText(value: Readonly<Record<string, unknown>>, path: string): Matcher {
  const keys = Object.keys(value)
  const name = ANYTHING_BUT_OPERATORS.find((operator) => operator === keys[0])
  if (name === undefined || keys.length !== 1) {
    return refusePattern(
      path,
      `inside "anything-but" exactly one of ${ANYTHING_BUT_OPERATORS.join(', ')} is allowed, not ${shown(value)}`,
    )
  }
  const matchers = listed(value[name], `${path}.${name}`).map(([item, at]): TextMatcher => {
    if (name === 'wildcard') return parseWildcardText(item, at)
    const text = needText(item, at)
    if (text === '' && name !== 'equals-ignore-case')
      return refusePattern(at, `an empty ${name} would exclude every string`)
    return textMatcher(name, text)
  })
  return { kind: 'but-text', matchers }
}

const PARSERS: Readonly<Record<Operator, (value: unknown, path: string) => Matcher>> = {
  exactly: (value, path) => ({ kind: 'string', text: needText(value, path) }),
  prefix: (value, path) => parseAffix('prefix', value, path),
  suffix: (value, path) => parseAffix('suffix', value, path),
  'equals-ignore-case': (value, path) => textMatcher('equals-ignore-case', needText(value, path)),
  wildcard: parseWildcardText,
  'anything-but': parseAnythingBut,
  numeric: parseNumericRange,
  cidr: parseCidrBlock,
  exists: parseExists,
}

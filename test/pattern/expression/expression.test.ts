import { isMillraceError, type MillraceError } from 'millrace'
import { compileExpression, type ExpressionResult } from 'millrace/pattern'
import { describe, expect, it } from 'vitest'

const EVENT = {
  specversion: '1.0',
  id: 'e-1',
  source: '/shop',
  type: 'cart.item.added',
  subject: 'c-1',
  hop: '5',
  count: 3,
  flag: true,
  text: 'a😀b',
}

function evaluate(cesql: string, event: object = EVENT): ExpressionResult {
  return compileExpression(cesql).evaluate(event)
}

/** The value, or the kind of error followed by the value. */
function outcome(cesql: string, event?: object): unknown {
  const { value, errors } = evaluate(cesql, event)
  return errors.length === 0 ? value : [errors.map(({ kind }) => kind).join(), value]
}

function refusal(cesql: string): MillraceError {
  try {
    compileExpression(cesql)
  } catch (error) {
    if (isMillraceError(error, 'INVALID_EXPRESSION')) return error
    throw error
  }
  throw new Error(`${cesql} compiles`)
}

describe('an expression', () => {
  it.each([
    // Precedence and grouping.
    ['NOT is closer than =', 'NOT false = true', true],
    ['minus is closer than LIKE', "-count LIKE '-3'", true],
    ['LIKE is closer than +', "1 + 'a' LIKE 'a'", 2],
    ['tests follow each other', "'a' LIKE 'a' IN (true)", true],
    ['AND and OR are equals, from the left', 'true OR false AND false', false],
    ['AND and OR are equals, from the left, the other way', 'false AND true OR true', true],
    ['subtraction goes from the left', '10 - 3 - 2', 5],
    ['division goes from the left', '100 / 10 * 2', 20],
    ['comparisons go from the left', '1 < 2 = true', true],
    ['NOT EXISTS', 'NOT EXISTS nothing', true],
    // Signs.
    ['a sign without space', '4-1', 3],
    ['signs in a row', '4 - -1 + +2', 7],
    ['minus before a name that begins with a digit', '-4x', ['missingAttribute', 0]],
    ['minus zero is zero', '-0', 0],
    ['the least integer', '-2147483648', -2147483648],
    // Arithmetic stays in 32 bits.
    ['a sum beyond 32 bits', '2147483647 + 1', ['math', 0]],
    ['a product beyond 32 bits', '65536 * 65536', ['math', 0]],
    ['a quotient beyond 32 bits', '-2147483648 / -1', ['math', 0]],
    ['a negation beyond 32 bits', '-(-2147483648)', ['math', 0]],
    ['a remainder has the sign of the left', '-7 % 3', -1],
    ['a remainder is never minus zero', '-4 % 2', 0],
    ['a quotient is cut towards zero', '-7 / 2', -3],
    // Casts.
    ['a text with a sign is an integer', "'+5' + 0", 5],
    ['a text of minus zero is zero', "INT('-0')", 0],
    ['a text with space is none', "' 5' + 0", ['cast', 0]],
    ['an empty text is none', "'' + 0", ['cast', 0]],
    ['a text beyond 32 bits is none', "INT('2147483648')", ['cast', 0]],
    ['an exponent is none', "INT('1e3')", ['cast', 0]],
    ['a number is a boolean', 'NOT 10', false],
    ['the right side decides', "1 = '01'", false],
    ['the right side decides, turned', "'01' = 1", true],
    ['a boolean compares as a number', 'true < 2', true],
    ['IN stops at the element that is equal', "1 IN ('1', 'x')", true],
    ['IN fails at an element that cannot be cast', "1 IN ('x', '1')", ['cast', false]],
    ['NOT IN of a failure is a failure', "1 NOT IN ('x', '1')", ['cast', false]],
    ['IN with attributes', 'id IN (subject, source, id)', true],
    ['IN evaluates no more than it needs', 'id IN (id, missing)', true],
    ['IN with a missing attribute', 'id IN (missing, id)', ['missingAttribute', false]],
    // Failures.
    ['a failure in the left operand', 'missing + (1 / 0)', ['missingAttribute', 0]],
    ['both operands come before casts', "'a' + missing", ['missingAttribute', 0]],
    ['XOR needs both', 'true XOR missing', ['missingAttribute', false]],
    ["a function's value in a failure is its own", "LEFT('abc', -1)", ['functionEvaluation', 'abc']],
    ["a function's value in a failure is not its caller's", "CONCAT(LEFT('abc', -1), 'd')", ['functionEvaluation', '']],
    ["a function's value in a failure is not the operator's", "LEFT('abc', -1) = 'abc'", ['functionEvaluation', false]],
    ['an unknown function does not evaluate its arguments', 'NO_SUCH(missing)', ['missingFunction', false]],
    ['a known function with too many arguments', "LENGTH('a', 'b')", ['missingFunction', false]],
    ['a function of Object.prototype is none', 'CONSTRUCTOR(1)', ['missingFunction', false]],
    // Characters.
    ['LENGTH counts characters', 'LENGTH(text)', 3],
    ['SUBSTRING counts characters', 'SUBSTRING(text, 2, 1)', '😀'],
    ['RIGHT counts characters', 'RIGHT(text, 2)', '😀b'],
    ['_ is a character', "text LIKE 'a_b'", true],
    ['SUBSTRING of a negative length', "SUBSTRING('abc', 1, -1)", ['functionEvaluation', '']],
    ['TRIM takes what Unicode calls white', "TRIM('\u0085\u3000a b\u2029')", 'a b'],
    ['TRIM leaves the byte order mark', "LENGTH(TRIM('\ufeffa'))", 2],
    // LIKE.
    ['a backslash before another character is itself', "'a\\b' LIKE 'a\\b'", true],
    ['% matches nothing', "'' LIKE '%'", true],
    ['% matches line breaks', "'a\nb' LIKE 'a%b'", true],
    ['the ends may not overlap', "'aba' LIKE 'ab%ba'", false],
    ['the middle may not overlap the end', "'xaby' LIKE 'x%ab%by'", false],
    ['the middle may not overlap the end, with _', "'xaby' LIKE 'x%_b%by'", false],
    ['an escaped percent beside one that is not', "'50% off' LIKE '%\\%%'", true],
    // Names.
    ['attributes without regard to case', 'SUBJECT', 'c-1'],
    ['functions and space', 'length ( id )', 3],
    ['names that begin with keywords', 'EXISTS android OR EXISTS notable OR EXISTS inn', false],
    ["the event's data is out of reach", 'EXISTS data', false],
    ['the prototype is out of reach', 'EXISTS constructor', false],
    ['what every event has', 'EXISTS specversion', true],
  ])('%s: %s', (_what, cesql, expected) => {
    expect(outcome(cesql)).toEqual(expected)
  })

  it('takes attributes of other types as texts', () => {
    const event = {
      time: new Date(0),
      bytes: new Uint8Array([1, 2]),
      uri: new URL('https://a.example/'),
      big: 4e9,
      part: 1.5,
      none: null,
      odd: { a: 1 },
    }
    expect(outcome('time', event)).toBe('1970-01-01T00:00:00.000Z')
    expect(outcome('bytes', event)).toBe('AQI=')
    expect(outcome('uri', event)).toBe('https://a.example/')
    expect(outcome('big', event)).toBe('4000000000')
    expect(outcome('part', event)).toBe('1.5')
    expect(outcome('EXISTS none', event)).toBe(false)
    expect(outcome('odd', event)).toEqual(['missingAttribute', false])
  })

  it('never throws, whatever the event', () => {
    const hostile = new Proxy(
      {},
      {
        getOwnPropertyDescriptor: () => {
          throw new Error('no')
        },
      },
    )
    for (const event of [null, undefined, 1, hostile] as unknown as object[]) {
      const expression = compileExpression('hop + 1')
      expect(expression.matches(event)).toBe(false)
      expect(expression.evaluate(event).value).toBe(0)
      expect(expression.evaluate(event).errors[0]?.kind).toBe(event === (1 as unknown) ? 'missingAttribute' : 'generic')
    }
  })

  it('leaves the event alone', () => {
    const event = Object.freeze({ ...EVENT })
    expect(evaluate("LOWER(subject) = 'c-1' AND hop > 1", event).value).toBe(true)
    expect(event).toEqual(EVENT)
  })

  it('matches only what is true without an error', () => {
    expect(compileExpression('true').matches(EVENT)).toBe(true)
    expect(compileExpression('1').matches(EVENT)).toBe(false)
    expect(compileExpression("'true'").matches(EVENT)).toBe(false)
    expect(compileExpression('missing').matches(EVENT)).toBe(false)
  })
})

describe('a refused expression', () => {
  it.each([
    ['', 0, 'line 1, column 1: expected an operand, found the end'],
    ['a = ', 4, 'column 5: expected an operand, found the end'],
    ['ABC(', 4, 'expected ")" or an operand, found the end'],
    ['x LIKE 123', 7, 'expected a string, found "123"'],
    ['x LIKE y', 7, 'expected a string, found "y"'],
    ['a IN ()', 6, 'expected an operand, found ")"'],
    ['a NOT = 1', 6, 'expected "IN" or "LIKE", found "="'],
    ['a\n  b', 4, 'line 2, column 3: expected an operator or the end, found "b"'],
    ['(a', 2, 'expected ")" or an operator'],
    ["a = 'b", 4, "the string that begins here has no closing '"],
    ["'it''s'", 4, "within a string, write \\'"],
    ['and', 0, 'expected an operand, found "and"'],
    ['EXISTS 5 6', 9, 'expected an operator or the end, found "6"'],
    ['F2(1)', 2, 'expected an operator or the end, found "("'],
    ['2147483648', 0, '2147483648 is not within 32 bits'],
    ['- 2147483648', 2, 'not within 32 bits'],
    ['a_b = 1', 1, 'found "_b"'],
    ['a = 😀', 4, 'found "😀"'],
  ])('%j', (cesql, position, message) => {
    const error = refusal(cesql)
    expect(error.message).toContain(message)
    expect(error.details['position']).toBe(position)
  })

  it('says what in its details', () => {
    expect(refusal('a = )').details).toEqual({ position: 4, line: 1, column: 5, expected: ['an operand'], found: ')' })
    expect(refusal(1 as unknown as string).message).toBe('an expression is a string, not number')
  })
})

describe('a hostile expression', () => {
  it('is refused beyond the limits of length and depth', () => {
    expect(refusal(' '.repeat(16_385)).message).toContain('16385 characters; at most 16384')
    expect(refusal('('.repeat(10_000)).message).toContain('nests deeper than 64')
    expect(refusal('-'.repeat(10_000)).message).toContain('nests deeper than 64')
    expect(refusal('NOT '.repeat(4000)).message).toContain('nests deeper than 64')
    expect(refusal('A('.repeat(8000)).message).toContain('nests deeper than 64')
    expect(refusal('1 IN ('.repeat(2000)).message).toContain('nests deeper than 64')
    expect(refusal(`x LIKE '${'_'.repeat(1025)}'`).message).toContain('longer than 1024')
    expect(refusal('9'.repeat(10_000)).message.length).toBeLessThan(200)
    expect(refusal('é'.repeat(10_000)).message.length).toBeLessThan(200)
  })

  it('may be long and flat', () => {
    expect(outcome(`0${' + 1'.repeat(4000)}`)).toBe(4000)
    expect(outcome(`false${' OR false'.repeat(1800)} OR true`)).toBe(true)
    expect(outcome(`7777 IN (${Array.from({ length: 2500 }, (_, index) => index).join(',')}, 7777)`)).toBe(true)
    expect(outcome(`${'('.repeat(64)}1${')'.repeat(64)}`)).toBe(1)
    expect(outcome(`1${' = 1'.repeat(1000)}`)).toBe(true)
  })

  it('cannot make LIKE try again and again, nor texts without end', () => {
    const long = 'a'.repeat(60_000)
    expect(outcome(`text LIKE '%${'a%'.repeat(500)}b'`, { text: long })).toBe(false)
    expect(outcome(`text LIKE '%${'a_'.repeat(500)}b%'`, { text: long })).toBe(false)
    expect(outcome(`text LIKE '%b${'a'.repeat(1000)}%'`, { text: long })).toBe(false)
    expect(outcome('LENGTH(TRIM(text))', { text: `a${' '.repeat(60_000)}a` })).toBe(60_002)
    expect(outcome('CONCAT(text, text)', { text: long })).toEqual(['functionEvaluation', ''])
    expect(outcome("LENGTH(CONCAT_WS(text, '', ''))", { text: long })).toBe(60_000)
    expect(outcome("CONCAT_WS(text, '', '', '')", { text: long })).toEqual(['functionEvaluation', ''])
  })
})

import { describe, expect, it } from 'vitest'
import { isMillraceError } from '../../src/base/errors.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { compilePattern } from '../../src/pattern/index.ts'
import { ALL_CASES, MALFORMED } from './pattern-cases.ts'

/** Whether `JSON.parse` keeps the whole content of the text. */
function survivesParsing(text: string): boolean {
  const repeated = /"(\w+)":[^,]*,"\1":/.test(text)
  return (
    !repeated &&
    (text.match(/-?\d[\d.eE+-]*/g) ?? []).every((number) => number.length < 16 && !/e\+?\d{3}/i.test(number))
  )
}

describe('compilePattern', () => {
  it.each(ALL_CASES)('%s over %s: %s', (pattern, event, matches) => {
    expect(compilePattern(pattern).matches(event)).toBe(matches)
    expect(compilePattern(pattern).matches(Buffer.from(` ${event} `))).toBe(matches)
    expect(compilePattern(pattern).matches(new TextEncoder().encode(event))).toBe(matches)
    if (!survivesParsing(pattern) || !survivesParsing(event)) return
    const parsed = JSON.parse(event) as object
    expect(compilePattern(JSON.parse(pattern)).matches(parsed)).toBe(matches)
    expect(compilePattern(pattern).matches(JSON.stringify(parsed, null, 2))).toBe(matches)
  })

  it.each(MALFORMED)('refuses %s at "%s"', (pattern, path) => {
    let error: unknown
    try {
      compilePattern(pattern)
    } catch (thrown) {
      error = thrown
    }
    expect(isMillraceError(error, 'INVALID_PATTERN')).toBe(true)
    expect(error).toMatchObject({ details: { path, reason: expect.any(String) as string } })
  })

  it('says what to write instead', () => {
    expect(() => compilePattern({ a: [{ Prefix: 'x' }] })).toThrow(
      'the pattern is malformed at "a[0]": "Prefix" is not an operator; did you mean "prefix"',
    )
    expect(() => compilePattern({ a: 1 } as never)).toThrow('write [1]')
  })

  it('takes bigints, and matches them as they are', () => {
    const pattern = compilePattern({ account: [9007199254740993n] })
    expect(pattern.matches('{"account":9007199254740993}')).toBe(true)
    expect(pattern.matches({ account: 9007199254740993n })).toBe(true)
    expect(pattern.matches({ account: 9007199254740992n })).toBe(false)
  })

  it('applies to attributes and data of a CloudEvent', () => {
    const pattern = compilePattern({ type: [{ prefix: 'cart.' }], data: { quantity: [{ numeric: ['>', 100] }] } })
    const event = { specversion: '1.0', id: '1', source: '/shop', type: 'cart.item.added', data: { quantity: 101 } }
    expect(pattern.matches(event)).toBe(true)
    expect(pattern.matches(JSON.stringify(event))).toBe(true)
    expect(pattern.matches({ ...event, type: 'order' })).toBe(false)
  })

  it.each([
    '',
    '[]',
    '1',
    'null',
    '{"a"',
    '{"a":',
    '{"a":}',
    '{"a":x}',
    '{"a":"x',
    '{"a":1',
    '{"a" 1}',
    '{a:1}',
    '{"b":[1,{',
    '{"a":[1',
    '{"a":1 "b":2}',
  ])('refuses the text %s as an event', (text) => {
    expect(() => compilePattern({ a: [1], z: [1] }).matches(text)).toThrow(
      expect.objectContaining({ code: 'INVALID_EVENT' }) as Error,
    )
  })

  it.each([null, undefined, 1, []])('refuses %s as an event', (event) => {
    expect(() => compilePattern({ a: [1] }).matches(event as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_EVENT' }) as Error,
    )
  })
})

describe('hostile patterns and events', () => {
  const refused = (pattern: object): void => {
    expect(() => compilePattern(pattern as never)).toThrow(/too complex|nests deeper|at most/)
  }

  it('bounds the product of $or', () => {
    const or = { $or: Array.from({ length: 10 }, (_, index) => ({ [`a${index}`]: [1] })) }
    refused({ x1: or, x2: or, x3: or, x4: or })
    let nested: object = { a: [1] }
    for (let depth = 0; depth < 40; depth++) nested = { $or: [{ ...nested }, { ...nested, b: [depth] }] }
    refused(nested)
    refused({ $or: Array.from({ length: LIMITS.patternCombinationsMax + 1 }, () => ({ a: [1] })) })
    expect(compilePattern({ x1: or, x2: or }).matches({ x1: { a3: 1 }, x2: { a9: 1 } })).toBe(true)
  })

  it('bounds alternatives, depth, text and wildcards', () => {
    refused({ a: Array.from({ length: LIMITS.patternAlternativesMax + 1 }, (_, index) => index) })
    let deep: object = { a: [1] }
    for (let depth = 0; depth <= LIMITS.patternDepthMax; depth++) deep = { a: deep }
    refused(deep)
    refused({ a: ['x'.repeat(LIMITS.patternTextCharsMax + 1)] })
    refused({ a: [{ wildcard: '*a*b*c*d*e*' }] })
  })

  it('takes time in proportion to the event, however its arrays are made', () => {
    const siblings = Object.fromEntries(
      Array.from({ length: 8 }, (_, index) => [`s${index}`, Array.from({ length: 300 }, () => ({ a: 1 }))]),
    )
    const pattern = compilePattern({
      ...Object.fromEntries(Object.keys(siblings).map((key) => [key, { a: [1] }])),
      z: { a: [1], b: [1] },
    })
    expect(pattern.matches({ ...siblings, z: [{ a: 1 }, { b: 1 }] })).toBe(false)
    const split = Array.from({ length: 20_000 }, (_, index) => (index % 2 === 0 ? { a: 1 } : { b: 2 }))
    expect(compilePattern({ d: { a: [1], b: [2] } }).matches({ d: split })).toBe(false)
    expect(compilePattern({ d: { a: [1], b: [2] } }).matches(JSON.stringify({ d: [...split, { b: 2, a: 1 }] }))).toBe(
      true,
    )
  })

  it('does not run out of stack on deep events', () => {
    const open = 100_000
    const deep = `{"a":${'['.repeat(open)}1${']'.repeat(open)}}`
    expect(() => compilePattern({ a: [1] }).matches(deep)).toThrow(/nests deeper/)
    expect(compilePattern({ b: [{ exists: false }] }).matches(deep)).toBe(true)
  })
})

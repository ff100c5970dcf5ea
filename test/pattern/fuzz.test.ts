/**
 * Every matcher compared with the reference matcher, over random patterns and events. `MILLRACE_FUZZ_RUNS` sets the
 * number of runs.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePattern, RuleIndex } from '../../src/pattern/index.ts'
import { anyEvent, anyPattern } from './arbitraries.ts'
import { type Json, type Obj, referenceMatches, toText } from './reference-matcher.ts'

const numRuns = Number(process.env.MILLRACE_FUZZ_RUNS ?? 1500)

/** Whether the parsed event is equal to its text: it has no number that a double changes. */
function survivesParsing(value: Json): boolean {
  if (typeof value !== 'object' || value === null) return true
  if ('num' in value) return !['0.10000000000000001', '9007199254740993', '1e400'].includes(value.num)
  return 'obj' in value ? value.obj.every(([, each]) => survivesParsing(each)) : value.every(survivesParsing)
}

/** The forms in which an event can be given. */
function formsOf(event: Obj): (object | string)[] {
  const text = toText(event)
  return [
    text,
    Buffer.from(text),
    toText(event, '\r\n\t '),
    ...(survivesParsing(event) ? [JSON.parse(text) as object] : []),
  ]
}

describe('against the reference matcher', () => {
  it('compilePattern', () => {
    fc.assert(
      fc.property(anyPattern, anyEvent, (pattern, event) => {
        const compiled = compilePattern(pattern as never)
        const expected = referenceMatches(pattern, event)
        for (const form of formsOf(event)) expect(compiled.matches(form)).toBe(expected)
      }),
      { numRuns },
    )
  })

  it('RuleIndex, while rules are added, replaced and removed', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.tuple(fc.nat(30).map(String), anyPattern) },
      { weight: 1, arbitrary: fc.tuple(fc.nat(30).map(String), fc.constant(null)) },
      { weight: 4, arbitrary: fc.tuple(fc.constant(null), anyEvent) },
    )
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
        const index = new RuleIndex()
        const rules = new Map<string, Readonly<Record<string, unknown>>>()
        for (const [name, subject] of steps) {
          if (name === null) {
            const expected = [...rules]
              .filter(([, pattern]) => referenceMatches(pattern, subject as Obj))
              .map(([each]) => each)
            for (const form of formsOf(subject as Obj)) expect(index.match(form).sort()).toEqual(expected.sort())
          } else if (subject === null) {
            expect(index.remove(name)).toBe(rules.delete(name))
          } else {
            index.add(name, subject as never)
            rules.set(name, subject as Readonly<Record<string, unknown>>)
          }
        }
        expect(index.size).toBe(rules.size)
        for (const name of rules.keys()) index.remove(name)
        expect(index.match('{"a":"x","b":[{"c":1}]}')).toEqual([])
      }),
      { numRuns: Math.ceil(numRuns / 8) },
    )
  })
})

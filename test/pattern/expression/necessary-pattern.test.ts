/**
 * If an expression is true for an event, its necessary pattern matches the event. Otherwise rules written in
 * CloudEvents SQL would miss events.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileExpression } from '../../../src/pattern/expression/expression.ts'
import { necessaryPattern } from '../../../src/pattern/expression/necessary-pattern.ts'
import { compilePattern } from '../../../src/pattern/pattern.ts'

describe('the necessary pattern of an expression', () => {
  it.each([
    ["type = 'a'", { type: ['a'] }],
    ["'a' = type AND hop > 2", { type: ['a'] }],
    ["type LIKE 'cart.%' AND source = '/s'", { type: [{ prefix: 'cart.' }], source: ['/s'] }],
    ["type LIKE 'cart'", { type: ['cart'] }],
    ["type IN ('a', 'b') OR type = 'c'", { type: ['a', 'b', 'c'] }],
    ["hop = 2 AND (type = 'a' OR type LIKE 'b%')", { type: ['a', { prefix: 'b' }] }],
    ['EXISTS subject', { subject: [{ exists: true }] }],
  ])('%s', (cesql, pattern) => expect(necessaryPattern(cesql)).toEqual(pattern))

  it.each([
    "type != 'a'",
    "hop = 'a'",
    "type = 'a' OR hop = 1",
    "type = 'a' XOR source = 'b'",
    "NOT type = 'a'",
    "type LIKE '%a'",
    "type NOT IN ('a')",
    'type = 1',
    "subject = '10.0.0.1'",
    'TRUE',
  ])('%s has none', (cesql) => expect(necessaryPattern(cesql)).toBeNull())

  const value = fc.constantFrom('a', 'b', 'ab', 'abc', '10.0.0.1', '1', 'true')
  const name = fc.constantFrom('type', 'source', 'subject', 'id', 'hop')
  const { condition } = fc.letrec<{ condition: string }>((tie) => ({
    condition: fc.oneof(
      { maxDepth: 4 },
      fc
        .tuple(name, fc.constantFrom('=', '!='), value)
        .map(([left, operator, right]) => `${left} ${operator} '${right}'`),
      fc.tuple(value, name).map(([left, right]) => `'${left}' = ${right}`),
      fc
        .tuple(name, fc.constantFrom('LIKE', 'NOT LIKE'), fc.constantFrom('a%', '%b', 'ab', '_b', 'a\\\\%'))
        .map((parts) => `${parts[0]} ${parts[1]} '${parts[2]}'`),
      fc
        .tuple(name, fc.constantFrom('IN', 'NOT IN'), value, value)
        .map(([left, test, one, two]) => `${left} ${test} ('${one}', '${two}')`),
      fc.tuple(name, fc.integer({ min: 0, max: 2 })).map(([left, right]) => `${left} = ${right}`),
      name.map((each) => `EXISTS ${each}`),
      fc
        .tuple(tie('condition'), fc.constantFrom('AND', 'OR', 'XOR'), tie('condition'))
        .map(([left, operator, right]) => `(${left}) ${operator} (${right})`),
      fc
        .tuple(
          tie('condition'),
          fc.constantFrom('AND', 'OR', 'XOR'),
          tie('condition'),
          fc.constantFrom('AND', 'OR'),
          tie('condition'),
        )
        .map((parts) => `(${parts[0]}) ${parts[1]} (${parts[2]}) ${parts[3]} (${parts[4]})`),
      tie('condition').map((inner) => `NOT (${inner})`),
    ),
  }))
  const event = fc.record({
    specversion: fc.constant('1.0'),
    type: value,
    source: value,
    id: value,
    subject: fc.option(value, { nil: undefined }),
    hop: fc.option(value, { nil: undefined }),
  })

  it('matches whatever the expression is true of', () => {
    let narrowed = 0
    fc.assert(
      fc.property(condition, fc.array(event, { minLength: 5, maxLength: 20 }), (cesql, events) => {
        const pattern = necessaryPattern(cesql)
        if (pattern === null) return
        narrowed++
        const expression = compileExpression(cesql)
        const necessary = compilePattern(pattern)
        for (const each of events)
          if (expression.matches(each)) expect(necessary.matches(JSON.stringify(each))).toBe(true)
      }),
      { numRuns: 2000 },
    )
    expect(narrowed).toBeGreaterThan(200)
  })
})

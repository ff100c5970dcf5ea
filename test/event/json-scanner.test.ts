/** The scanner accepts exactly what `JSON.parse` accepts, and stops at its limits. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { type JsonBounds, JsonRefusal, JsonScanner } from '../../src/event/json-scanner.ts'

const wide: JsonBounds = { depthMax: 1000, namesMax: 1e9, valuesMax: 1e9 }
function taken(text: string, bounds: JsonBounds = wide): boolean {
  try {
    new JsonScanner(text, bounds).whole()
    return true
  } catch (error) {
    if (error instanceof JsonRefusal) return false
    throw error
  }
}
function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** JSON with white space, in which some characters are changed, removed or inserted. */
const mutated = fc
  .record({
    value: fc.jsonValue({ maxDepth: 4 }),
    space: fc.constantFrom('', ' ', '\t\n\r '),
    edits: fc.array(
      fc.tuple(
        fc.nat(),
        fc.constantFrom(
          '',
          '"',
          '\\',
          '{',
          '}',
          '[',
          ']',
          ',',
          ':',
          '0',
          '-',
          '.',
          'e',
          '+',
          'u',
          ' ',
          '\u0000',
          '\n',
          'é',
          '\ufeff',
        ),
      ),
      { maxLength: 3 },
    ),
  })
  .map(({ value, space, edits }) => {
    let text = JSON.stringify(value).replace(/[,:{}[\]]/g, (mark) => `${space}${mark}${space}`)
    for (const [place, put] of edits) {
      const at = place % (text.length + 1)
      text = text.slice(0, at) + put + text.slice(at + (place % 2))
    }
    return text
  })

test('agrees with JSON.parse on whatever is nearly JSON', () => {
  fc.assert(
    fc.property(mutated, (text) => {
      expect([text, taken(text)]).toEqual([text, parses(text)])
    }),
    { numRuns: 3000 },
  )
})

test.each([
  '',
  ' ',
  '01',
  '-',
  '1.',
  '.5',
  '1e',
  '1e+',
  '+1',
  '"\\x"',
  '"\\u12g4"',
  '"\\u123',
  '"a\nb"',
  '{"a"}',
  '{"a":}',
  '{,}',
  '[1,]',
  '[1 2]',
  'nul',
  'true1',
  '{} {}',
  '\ufeff{}',
  '"',
  '[',
  '{"a":1',
  "{'a':1}",
])('%j is none', (text) => expect([taken(text), parses(text)]).toEqual([false, false]))
test.each([
  '0',
  '-0',
  '1e5',
  '1E-5',
  '-1.5e+10',
  '"\\u00e9\\/\\b"',
  ' [ ] ',
  '{ }',
  '{"":{"":[[]]}}',
  'null',
  '"\u2028"',
])('%j is', (text) => expect([taken(text), parses(text)]).toEqual([true, true]))

test('stops at its bounds', () => {
  const bounds: JsonBounds = { depthMax: 3, namesMax: 5, valuesMax: 10 }
  expect(taken('[[[1]]]', bounds)).toBe(true)
  expect(taken('[[[[1]]]]', bounds)).toBe(false)
  expect(taken('[[[[', bounds)).toBe(false)
  expect(taken('{"a":1,"b":1,"c":1,"d":1,"e":1}', bounds)).toBe(true)
  expect(taken('[{"a":1,"b":1,"c":1},{"d":1,"e":1,"f":1}]', bounds)).toBe(false)
  expect(taken('[1,1,1,1,1,1,1,1,1]', bounds)).toBe(true)
  expect(taken('[1,1,1,1,1,1,1,1,1,1]', bounds)).toBe(false)
})

import { isMillraceError, type MillraceError } from 'millrace'
import { compileFilter, type EventFilterDialect } from 'millrace/pattern'
import { describe, expect, it } from 'vitest'

const EVENT = {
  specversion: '1.0',
  id: '1',
  source: 'https://github.com/cloudevents/spec',
  type: 'com.github.push',
  subject: 'main',
  hop: 5,
  flag: true,
  data: 'push',
}

function refusal(filter: unknown): MillraceError {
  try {
    compileFilter(filter as EventFilterDialect)
  } catch (error) {
    if (isMillraceError(error)) return error
    throw error
  }
  throw new Error(`${JSON.stringify(filter)} compiles`)
}

describe("the Subscriptions API's filters", () => {
  it.each<[string, EventFilterDialect | EventFilterDialect[], boolean]>([
    ['exact', { exact: { type: 'com.github.push', subject: 'main' } }, true],
    ['exact, one attribute differs', { exact: { type: 'com.github.push', subject: 'Main' } }, false],
    ['exact, attribute missing', { exact: { nothing: 'x' } }, false],
    ['exact, an integer', { exact: { hop: '5' } }, true],
    ['exact, a boolean', { exact: { flag: 'true' } }, true],
    ['exact, never the data', { exact: { data: 'push' } }, false],
    ['prefix', { prefix: { type: 'com.github.', source: 'https://github.com/' } }, true],
    ['prefix, one differs', { prefix: { type: 'com.github.', source: 'http://' } }, false],
    ['suffix', { suffix: { type: '.push', source: '/spec' } }, true],
    ['suffix, case', { suffix: { type: '.Push' } }, false],
    ['all', { all: [{ exact: { type: 'com.github.push' } }, { prefix: { subject: 'm' } }] }, true],
    ['all, one not', { all: [{ exact: { type: 'com.github.push' } }, { prefix: { subject: 'x' } }] }, false],
    ['any', { any: [{ exact: { type: 'other' } }, { prefix: { subject: 'm' } }] }, true],
    ['any, none', { any: [{ exact: { type: 'other' } }, { prefix: { subject: 'x' } }] }, false],
    ['not', { not: { exact: { type: 'other' } } }, true],
    ['not, of a missing attribute', { not: { exact: { nothing: 'x' } } }, true],
    ['sql', { sql: "source LIKE '%cloudevents%'" }, true],
    ['sql, an error', { sql: 'missing = 1' }, false],
    ['sql, no boolean', { sql: '1' }, false],
    [
      'nested',
      { all: [{ any: [{ sql: 'hop > 4' }, { exact: { id: '2' } }] }, { not: { suffix: { type: '.pull' } } }] },
      true,
    ],
    ['an array: all of them', [{ exact: { id: '1' } }, { exact: { subject: 'dev' } }], false],
    ['an empty array', [], true],
  ])('%s', (_what, filter, expected) => {
    expect(compileFilter(filter).matches(EVENT)).toBe(expected)
  })

  it.each<[string, unknown, string, string]>([
    ['no object', 'exact', '', 'an object with one dialect'],
    ['an empty object', {}, '', 'an object with one dialect'],
    ['two dialects', { exact: { id: '1' }, prefix: { id: '1' } }, '', 'an object with one dialect'],
    ['an unknown dialect', { regex: { id: '1' } }, 'regex', 'not a dialect'],
    ['a dialect of another case', { EXACT: { id: '1' } }, 'EXACT', 'not a dialect'],
    ['no attributes', { exact: {} }, 'exact', 'attribute names and texts'],
    ['an empty text', { prefix: { id: '' } }, 'prefix.id', 'not empty'],
    ['a number', { exact: { id: 1 } }, 'exact.id', 'not empty'],
    ['a name that is none', { exact: { partitionKey: 'x' } }, 'exact', "not an attribute's name"],
    ['an empty all', { all: [] }, 'all', 'at least one filter'],
    ['an any that is no array', { any: { exact: { id: '1' } } }, 'any', 'at least one filter'],
    [
      'deep inside',
      { all: [{ not: { any: [{ exact: { id: '1' } }, { suffix: null }] } }] },
      'all[0].not.any[1].suffix',
      'attribute names and texts',
    ],
    ['in an array', [{ exact: { id: '1' } }, null], '[1]', 'an object with one dialect'],
    ['sql that is no text', { sql: true }, 'sql', 'CloudEvents SQL'],
  ])('refuse %s', (_what, filter, path, message) => {
    const error = refusal(filter)
    expect(error).toMatchObject({ code: 'INVALID_PATTERN', details: { path } })
    expect(error.message).toContain(message)
  })

  it('refuse SQL that does not parse, and say where in both', () => {
    const error = refusal({ all: [{ sql: 'a = ' }] })
    expect(error).toMatchObject({ code: 'INVALID_EXPRESSION', details: { path: 'all[0].sql', position: 4 } })
    expect(error.message).toContain('the filter at "all[0].sql": the expression does not parse')
  })

  it('nest no deeper than the limit', () => {
    const nested = (depth: number): unknown => (depth === 0 ? { exact: { id: '1' } } : { not: nested(depth - 1) })
    expect(compileFilter(nested(62) as EventFilterDialect).matches(EVENT)).toBe(true)
    expect(refusal(nested(5000)).message).toContain('at most 64 deep')
  })

  it('pass no event that cannot be read', () => {
    expect(compileFilter({ exact: { id: '1' } }).matches(null as unknown as object)).toBe(false)
  })
})

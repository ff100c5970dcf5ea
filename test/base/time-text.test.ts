/**
 * Times as text, and positions in a channel as users write them: each form has one meaning, and an ambiguous one is
 * refused.
 */
import { describe, expect, it } from 'vitest'
import { timeMsOf } from '../../src/base/time-text.ts'
import { position, positionInText } from '../../src/broker/position.ts'

const NOW = Date.UTC(2026, 0, 31)

describe('a moment as text', () => {
  it.each([
    ['2026-01-31T12:00:00Z', Date.UTC(2026, 0, 31, 12)],
    ['2026-01-31t12:00:00z', Date.UTC(2026, 0, 31, 12)],
    ['2026-01-31T13:00:00.25+01:00', Date.UTC(2026, 0, 31, 12, 0, 0, 250)],
  ])('%s is one', (text, ms) => {
    expect(timeMsOf(text)).toBe(ms)
  })

  it.each([
    '',
    '5',
    '2026',
    '2026-01-31',
    '2026-01-31T12:00',
    '2026-01-31T12:00:00',
    '2026-02-31T12:00:00Z',
    '2026-12-31T23:59:60Z',
    'today',
  ])('"%s" is none', (text) => {
    expect(timeMsOf(text)).toBeUndefined()
  })
})

describe('a place in a channel', () => {
  it.each([
    ['beginning', { at: 'beginning' }],
    ['end', { at: 'end' }],
    [{ offset: 7 }, { offset: 7 }],
    [new Date(5), { timeMs: 5 }],
    ['2026-01-31T12:00:00Z', { timeMs: Date.UTC(2026, 0, 31, 12) }],
    ['1h', { timeMs: NOW - 3_600_000 }],
  ] as const)('%j', (from, place) => {
    expect(position(from, NOW)).toEqual(place)
  })

  it.each([
    [7, 'did you mean { offset: 7 }?'],
    [0, 'did you mean { offset: 0 }?'],
    [1_790_000_000_000, 'did you mean new Date(1790000000000)?'],
    [-1, 'from is a position in a channel'],
    [Number.NaN, 'from is a position in a channel'],
    [7n, 'from is a position in a channel'],
    ['7', 'from must be'],
    ['2026-01-31', 'from is a position in a channel'],
    ['2026-01-31T12:00:00', 'from is a position in a channel'],
    [{ offset: -1 }, 'from.offset must be a whole number'],
    [{ offset: '7' }, 'from.offset must be a whole number'],
    [{ offset: 7, channel: 'orders' }, 'from has no option "channel"'],
    [{ timeMs: 7 }, 'from is a position in a channel'],
    [new Date(Number.NaN), 'from is a position in a channel'],
    [null, 'from is a position in a channel'],
  ])('%o is refused', (from, says) => {
    expect(() => position(from as never, NOW)).toThrow(says)
  })
})

describe('a place as text has it', () => {
  it.each([
    ['7', { offset: 7 }],
    ['beginning', 'beginning'],
    ['90s', '90s'],
    ['2026-01-31', new Date(NOW)],
    ['2026-01-31T12:00:00Z', new Date('2026-01-31T12:00:00Z')],
  ])('%s', (text, place) => {
    expect(positionInText(text)).toEqual(place)
  })

  it.each(['-1', '1.5', '7x', '2026-01-31 12:00', '2026-02-31', 'yesterday', ''])('"%s" is none', (text) => {
    expect(positionInText(text)).toBeUndefined()
  })
})

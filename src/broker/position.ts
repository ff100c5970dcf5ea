/** Positions in a channel: the form that users write, and the form of the port. */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import { type TimeText, timeMsOf } from '../base/time-text.ts'
import { type Duration, durationMs, knownOptions, wholeNumber } from '../base/units.ts'

/**
 * Where to read from: a word, an offset, a moment (a Date or RFC 3339 text: the first event stored then or later), or
 * an age (`'1h'` is "an hour ago"). A number alone is refused: it could be an offset or milliseconds.
 */
export type From = 'beginning' | 'end' | { readonly offset: number } | Date | TimeText | Exclude<Duration, number>

/** A position in a channel. A time means the first event stored at or after it. */
export type Position = { readonly at: 'beginning' | 'end' } | { readonly offset: number } | { readonly timeMs: number }

/** Numbers this large are milliseconds since the epoch (the year 1973 and later) that were meant as a time. */
const LIKELY_TIME_MS = 100_000_000_000
const DATE_TEXT = /^\d{4}-\d{2}-\d{2}$/
const AGE_TEXT = /^\d+(?:\.\d+)?(?:ms|s|m|h|d|w)$/

/** The port's position for a user's. `option` is its name in an error. @throws INVALID_OPTION when it is none */
export function position(from: From, nowMs: number, option = 'from'): Position {
  if (from === 'beginning' || from === 'end') return { at: from }
  if (from instanceof Date && Number.isFinite(from.getTime())) return { timeMs: from.getTime() }
  if (typeof from === 'string') {
    const timeMs = /^\d[^-]*$/.test(from) ? nowMs - durationMs(from, option) : timeMsOf(from)
    if (timeMs !== undefined) return { timeMs }
  }
  if (isOffset(from)) {
    knownOptions(from, ['offset'], option)
    return { offset: wholeNumber(from.offset, `${option}.offset`, 0, Number.MAX_SAFE_INTEGER) }
  }
  const meant = typeof from === 'number' ? numberMeant(from) : ''
  const forms = "'beginning', 'end', { offset }, a Date, RFC 3339 text, or an age such as '1h'"
  throw new MillraceError(
    'INVALID_OPTION',
    `${option} is a position in a channel: ${forms}; it is ${shown(from)}${meant}`,
    { option, value: shown(from) },
  )
}

/**
 * A position from the text of a query or a command line. Digits alone are an offset; a date alone is its midnight in
 * UTC.
 */
export function positionInText(text: string): From | undefined {
  if (/^\d{1,15}$/.test(text)) return { offset: Number(text) }
  if (text === 'beginning' || text === 'end' || AGE_TEXT.test(text)) return text as From
  const timeMs = timeMsOf(DATE_TEXT.test(text) ? `${text}T00:00:00Z` : text)
  return timeMs === undefined ? undefined : new Date(timeMs)
}

function isOffset(from: unknown): from is { readonly offset: number } {
  return typeof from === 'object' && from !== null && 'offset' in from
}

/** A hint for a number: it may have been meant as an offset or, if it is large, as a time. */
function numberMeant(from: number): string {
  if (!Number.isSafeInteger(from) || from < 0) return ''
  const isDate = from >= LIKELY_TIME_MS && Number.isFinite(new Date(from).getTime())
  return isDate ? `: did you mean new Date(${from})?` : `: did you mean { offset: ${from} }?`
}

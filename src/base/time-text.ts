/**
 * Moments as RFC 3339 text. Only this module parses them.
 *
 * A text without an offset from UTC is refused: it is a different moment on each machine.
 */

/** The latest moment that a `Date` can hold, in milliseconds since the epoch. */
export const TIME_MS_MAX = 8_640_000_000_000_000

/** A moment as RFC 3339 text: `'2026-01-31T12:00:00Z'` or `'2026-01-31T13:00:00+01:00'`. */
export type TimeText = `${number}-${number}-${number}T${string}`

const TIME =
  /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/

/** Whether it is RFC 3339 text, with seconds and offset, of a day that exists. */
export function isTime(text: string): boolean {
  if (!TIME.test(text)) return false
  const day = Number(text.slice(8, 10))
  return day <= 28 || day <= daysOf(Number(text.slice(0, 4)), Number(text.slice(5, 7)))
}

/**
 * Milliseconds since the epoch; `undefined` if the text is not a moment, or a moment that `Date` cannot represent (a
 * leap second).
 */
export function timeMsOf(text: string): number | undefined {
  const ms = isTime(text) ? Date.parse(text.toUpperCase()) : Number.NaN
  return Number.isFinite(ms) ? ms : undefined
}

function daysOf(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/**
 * Strings as sequences of Unicode characters, as the specification defines them; JavaScript's are sequences of UTF-16
 * units.
 */

const SURROGATE = /[\ud800-\udfff]/

/** The number of characters in the text. */
export function lengthOf(text: string): number {
  if (!SURROGATE.test(text)) return text.length
  let length = 0
  for (const _ of text) length++
  return length
}

/** The characters from `start` up to, but not including, `end`. Neither is negative. */
export function sliceOf(text: string, start: number, end: number): string {
  return SURROGATE.test(text) ? Array.from(text).slice(start, end).join('') : text.slice(start, end)
}

export function codePointsOf(text: string): number[] {
  const points: number[] = []
  for (let at = 0; at < text.length; at++) {
    const point = text.codePointAt(at) as number
    if (point > 0xffff) at++
    points.push(point)
  }
  return points
}

/** Unicode's White_Space. `trim()` differs: NEL is white space, the byte order mark is not. */
const WHITE = new Set(
  '\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000',
)

/** The text without white space at both ends. A regular expression with `+$` would take quadratic time. */
export function trimmed(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && WHITE.has(text[start] as string)) start++
  while (end > start && WHITE.has(text[end - 1] as string)) end--
  return text.slice(start, end)
}

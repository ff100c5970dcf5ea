/**
 * Numbers as they are written in JSON text.
 *
 * A number is *comparable* if a double holds it exactly as written (its shortest form has the same decimal value): `1`,
 * `1.0` and `1e0` are one number. Other numbers (integers beyond 2^53 with digits that a double drops, 18 digits of a
 * fraction, `1e400`) equal only the same text and are in no range, as in event-ruler's ComparableNumber. So nothing
 * ever matches because of rounding.
 */

/** A number that no double holds exactly, as it was written. */
export class NumberText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** The digits without sign, point, exponent, leading and trailing zeros, and the power of ten of the last digit. */
function decimal(text: string): { negative: boolean; digits: string; exponent: number } {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)
  if (parts === null) return { negative: false, digits: text, exponent: Number.NaN }
  const fraction = parts[3] ?? ''
  const all = (parts[2] ?? '') + fraction
  let first = 0
  while (first < all.length && all.charCodeAt(first) === 48) first++
  let last = all.length
  while (last > first && all.charCodeAt(last - 1) === 48) last--
  const digits = all.slice(first, last)
  const exponent = digits === '' ? 0 : Number(parts[4] ?? 0) - fraction.length + (all.length - last)
  return { negative: parts[1] === '-' && digits !== '', digits, exponent }
}

/** Whether two JSON numbers have the same decimal value. */
function sameDecimal(a: string, b: string): boolean {
  if (a === b) return true
  const left = decimal(a)
  const right = decimal(b)
  return left.digits === right.digits && left.exponent === right.exponent && left.negative === right.negative
}

/** This many characters contain at most 15 significant digits, which every double keeps. */
const SAFE_LENGTH = 15

/** Whether `value`, parsed from `text`, is exactly what was written. */
export function isComparable(text: string, value: number): boolean {
  if (!Number.isFinite(value)) return false
  if (text.length <= SAFE_LENGTH && !text.includes('e') && !text.includes('E')) return true
  return sameDecimal(text, String(value))
}

/** The double of a JSON number, or its text if no double holds it exactly. */
export function parseNumber(text: string): number | NumberText {
  const value = Number(text)
  return isComparable(text, value) ? value : new NumberText(text)
}

/** The same for an integer given as a bigint. */
export function fromBigint(value: bigint): number | NumberText {
  return parseNumber(String(value))
}

/**
 * Human forms of durations and sizes. They exist only at the public edge: inside, everything is milliseconds and bytes.
 */
import { MillraceError } from './errors.ts'

/** A span of time: milliseconds as a number, or text such as `'250ms'`, `'30s'`, `'10m'`, `'2h'`, `'30d'`, `'1w'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd' | 'w'}`

/** A size: bytes as a number, or text such as `'512B'`, `'64KiB'`, `'10MiB'`, `'2GiB'`. */
export type Size = number | `${number}${'B' | 'KiB' | 'MiB' | 'GiB'}`

const MS_PER_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }
const BYTES_PER_UNIT: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

function parse(value: unknown, units: Readonly<Record<string, number>>, option: string, example: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(value) : null
  const unit = match?.[2] === undefined ? undefined : units[match[2]]
  if (match?.[1] !== undefined && unit !== undefined) return Number(match[1]) * unit
  throw new MillraceError('INVALID_OPTION', `${option} must be a number of 0 or more, or text such as ${example}; it is ${String(value)}`, {
    option,
    value: String(value),
  })
}

/**
 * Milliseconds of a duration.
 * @throws INVALID_OPTION when it is negative, not finite, or of an unknown unit.
 */
export function durationMs(value: unknown, option: string): number {
  return parse(value, MS_PER_UNIT, option, "'30s', '10m', '7d'")
}

/**
 * Bytes of a size.
 * @throws INVALID_OPTION when it is negative, not finite, or of an unknown unit.
 */
export function sizeBytes(value: unknown, option: string): number {
  return Math.floor(parse(value, BYTES_PER_UNIT, option, "'64KiB', '10MiB'"))
}

/** A whole number within bounds, or the error that says what it must be. */
export function wholeNumber(value: unknown, option: string, min: number, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw new MillraceError('INVALID_OPTION', `${option} must be a whole number from ${min} to ${max}; it is ${String(value)}`, {
    option,
    value: String(value),
    min,
    max,
  })
}

/** Refuse option names that do not exist: a misspelt option must not be silently ignored. */
export function knownOptions(options: object, known: readonly string[], of: string): void {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    throw new MillraceError('INVALID_OPTION', `${of} has no option "${name}"; it takes ${known.join(', ')}`, { option: name, known })
  }
}

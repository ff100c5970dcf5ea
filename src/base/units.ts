/**
 * Human forms of durations and sizes. They exist only at the public edge: inside, everything is milliseconds and bytes.
 */
import { MillraceError } from './errors.ts'
import { didYouMean, shown } from './shown.ts'

/** A span of time: milliseconds as a number, or text such as `'250ms'`, `'30s'`, `'10m'`, `'2h'`, `'30d'`, `'1w'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd' | 'w'}`

/** A size: bytes as a number, or text such as `'512B'`, `'64KiB'`, `'10MiB'`, `'2GiB'`. */
export type Size = number | `${number}${'B' | 'KiB' | 'MiB' | 'GiB'}`

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}
const BYTES_PER_UNIT: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

function parse(value: unknown, units: Readonly<Record<string, number>>, option: string, example: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(value) : null
  const unit = match?.[2] === undefined || !Object.hasOwn(units, match[2]) ? undefined : units[match[2]]
  const parsed = match?.[1] !== undefined && unit !== undefined ? Number(match[1]) * unit : Number.NaN
  if (Number.isFinite(parsed)) return parsed
  throw new MillraceError(
    'INVALID_OPTION',
    `${option} must be a number of 0 or more, or text such as ${example}; it is ${shown(value)}`,
    {
      option,
      value: shown(value),
    },
  )
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

/** Text with a unit, for instance from an environment variable. A number without a unit is refused. */
function withUnit(text: unknown, name: string, example: string): string {
  if (typeof text === 'string' && Number.isNaN(Number(text))) return text.trim()
  throw new MillraceError(
    'INVALID_OPTION',
    `${name} must be text with a unit, such as ${example}; it is ${shown(text)}`,
    { option: name, value: shown(text) },
  )
}

/**
 * Milliseconds of a duration that comes as text, for instance from the environment. Units: ms, s, m, h, d, w.
 *
 * @param text such as `'250ms'` or `'1.5h'`; `undefined`, a number without a unit and everything else is refused
 * @param name what an error calls it. @default 'the duration'
 * @throws INVALID_OPTION when it is refused; the message names it and shows its value
 * @example
 * ```ts
 * import { duration } from 'millrace'
 *
 * duration('90s', 'HANDLER_TIMEOUT') // 90000
 * ```
 */
export function duration(text: string | undefined, name = 'the duration'): number {
  return durationMs(withUnit(text, name, "'30s', '10m', '7d'"), name)
}

/**
 * Bytes of a size that comes as text, for instance from the environment. Units: B, KiB, MiB, GiB.
 *
 * @param text such as `'512B'` or `'10MiB'`; `undefined`, a number without a unit and everything else is refused
 * @param name what an error calls it. @default 'the size'
 * @throws INVALID_OPTION when it is refused; the message names it and shows its value
 * @example
 * ```ts
 * import { bytes } from 'millrace'
 *
 * bytes('64KiB', 'EVENT_BYTES_MAX') // 65536
 * ```
 */
export function bytes(text: string | undefined, name = 'the size'): number {
  return sizeBytes(withUnit(text, name, "'64KiB', '10MiB'"), name)
}

/** The value, if it is a whole number within bounds. Otherwise the error names the bounds. */
export function wholeNumber(value: unknown, option: string, min: number, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw new MillraceError(
    'INVALID_OPTION',
    `${option} must be a whole number from ${min} to ${max}; it is ${shown(value)}`,
    {
      option,
      value: shown(value),
      min,
      max,
    },
  )
}

/** `true` or `false`. Other values are refused: `'false'` would count as true. */
export function trueOrFalse(value: unknown, option: string): boolean {
  if (typeof value === 'boolean') return value
  throw new MillraceError('INVALID_OPTION', `${option} must be true or false; it is ${shown(value)}`, {
    option,
    value: shown(value),
  })
}

/** Refuse a value that is no function. */
export function checkFunction(value: unknown, option: string): void {
  if (typeof value === 'function') return
  throw new MillraceError('INVALID_OPTION', `${option} must be a function; it is ${shown(value)}`, {
    option,
    value: shown(value),
  })
}

/**
 * Refuses options that are not an object, names that are not options (a misspelt option must not be ignored), and
 * values that cannot be read.
 *
 * @throws INVALID_OPTION when it refuses them
 */
export function knownOptions(options: unknown, known: readonly string[], of: string): void {
  if (!areOptions(options)) {
    throw new MillraceError('INVALID_OPTION', `the options of ${of} must be an object; they are ${shown(options)}`, {
      of,
      value: shown(options),
    })
  }
  for (const name in options) {
    if (!known.includes(name)) {
      const meant = didYouMean(name, known)
      throw new MillraceError(
        'INVALID_OPTION',
        `${of} has no option "${name}"${meant === undefined ? '' : ` (${meant})`}; it takes ${known.join(', ')}`,
        {
          option: name,
          known,
        },
      )
    }
    readable(options as Readonly<Record<string, unknown>>, name, of)
  }
}

/** Whether the value can hold options. A promise that was not awaited, a map, a date or a list cannot. */
function areOptions(options: unknown): options is object {
  try {
    if (typeof options !== 'object' || options === null) return false
    const prototype: unknown = Object.getPrototypeOf(options)
    return prototype === null || Object.prototype.toString.call(options) === '[object Object]'
  } catch {
    return false
  }
}

function readable(options: Readonly<Record<string, unknown>>, name: string, of: string): void {
  try {
    void options[name]
  } catch (cause) {
    throw new MillraceError(
      'INVALID_OPTION',
      `option "${name}" of ${of} cannot be read: its getter throws`,
      { option: name },
      { cause },
    )
  }
}

/** The only way to refuse a pattern: with the position, the reason, and what to write instead. */
import { MillraceError } from '../base/errors.ts'

/**
 * @param path where in the pattern, such as `data.quantity[0].numeric`
 * @param reason what is wrong and what to write instead, without a capital or a full stop
 * @throws INVALID_PATTERN always
 */
export function refusePattern(path: string, reason: string): never {
  throw new MillraceError(
    'INVALID_PATTERN',
    `the pattern is malformed${path === '' ? '' : ` at "${path}"`}: ${reason}`,
    { path, reason },
  )
}

/** The value as a user recognises it in a message. */
export function shown(value: unknown): string {
  let text: string | undefined
  if (typeof value === 'bigint') return String(value)
  try {
    text = JSON.stringify(value)
  } catch {
    text = undefined
  }
  text ??= typeof value
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** Whether the value is an object that is neither an array nor an instance of a class. */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

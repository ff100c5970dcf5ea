/**
 * How a handler's outcome is told: the signals of `reject` and `retryAfter`, and whatever was thrown as it is kept with an event.
 *
 * A handler may throw anything: a proxy whose traps throw, an object without a prototype, an error of another realm. Nothing here trusts what it reads,
 * and nothing here throws.
 */
import { inspect, types } from 'node:util'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import type { Failure } from '../broker/engine.ts'

const STACK_CHARS_MAX = 2000
const MESSAGE_CHARS_MAX = 2000
const NAME_CHARS_MAX = 200

/** Thrown by `ctx.reject`. */
export class Rejected extends Error {
  override readonly name = 'Rejected'

  constructor(reason: unknown) {
    super(reason === undefined || reason === null ? 'the handler rejected the event and gave no reason' : messageOf(reason), { cause: reason })
  }
}

/** Thrown by `ctx.retryAfter`. */
export class RetryAfter extends Error {
  override readonly name = 'RetryAfter'
  readonly delayMs: number

  constructor(delayMs: number, reason: unknown) {
    super(reason === undefined || reason === null ? 'the handler asked for another attempt' : messageOf(reason), { cause: reason })
    this.delayMs = delayMs
  }
}

/** Thrown by a handler that cannot take the event now: it is handed back, and no attempt is counted. */
export class Released extends Error {
  override readonly name = 'Released'
}

/** Whether a value is an error, of this realm or another. */
export function isError(value: unknown): value is Error {
  return types.isNativeError(value) || is(value, Error)
}

/** `instanceof`, also of a value whose traps throw. */
export function is<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type
  } catch {
    return false
  }
}

/** What an attempt that failed with this counts as. */
export function kindOf(error: unknown): Failure['kind'] {
  if (is(error, Rejected)) return 'rejected'
  if (!is(error, MillraceError)) return 'error'
  const code = read(error, 'code')
  if (code === 'HANDLER_TIMEOUT') return 'timeout'
  const undecodable = code === 'SCHEMA_MISMATCH' || code === 'INVALID_EVENT'
  return undecodable && read(read(error, 'details'), 'handled') === true ? 'poison' : 'error'
}

/** An error as data, cut to a sensible length. */
export function failureOf(error: unknown, kind: Failure['kind'] = kindOf(error)): Failure {
  const cause = is(error, Rejected) || is(error, RetryAfter) ? error.cause : undefined
  const shown = isError(cause) ? cause : error
  ignoreRejection(error)
  ignoreRejection(cause)
  if (!isError(shown)) return { name: 'Error', message: messageOf(shown), kind }
  const name = read(shown, 'name')
  const stack = read(shown, 'stack')
  const code = isMillrace(shown) ? shown.code : read(shown, 'code')
  return {
    name: typeof name === 'string' && name !== '' ? name.slice(0, NAME_CHARS_MAX) : 'Error',
    message: messageOf(shown),
    ...(typeof stack === 'string' && { stack: stack.slice(0, STACK_CHARS_MAX) }),
    ...(typeof code === 'string' && { code: code.slice(0, NAME_CHARS_MAX) }),
    kind,
  }
}

/** A text for whatever was thrown, of at most 2,000 characters. */
export function messageOf(error: unknown): string {
  const message = isError(error) ? (read(error, 'message') ?? 'an error without a message') : error
  return (typeof message === 'string' ? message : shownAs(message)).slice(0, MESSAGE_CHARS_MAX)
}

function shownAs(value: unknown): string {
  try {
    // An object's own methods of being shown are not called: they may throw, or be slow.
    return inspect(value, { depth: 2, breakLength: Number.POSITIVE_INFINITY, maxArrayLength: 20, maxStringLength: 500, customInspect: false })
  } catch {
    return `${typeof value} that cannot be shown`
  }
}

function isMillrace(error: Error): error is MillraceError {
  try {
    return isMillraceError(error)
  } catch {
    return false
  }
}

function read(object: unknown, name: string): unknown {
  try {
    return (object as Readonly<Record<string, unknown>>)[name]
  } catch {
    return undefined
  }
}

/** A promise that was thrown may reject, and nobody else waits for it. */
function ignoreRejection(error: unknown): void {
  if (types.isPromise(error)) void Promise.prototype.then.call(error, undefined, () => undefined)
}

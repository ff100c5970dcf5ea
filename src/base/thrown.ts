/**
 * Values that an application's functions throw and return. They may throw anything: a proxy whose traps throw, an
 * object without a prototype, an error of another realm. Nothing here trusts these values, and nothing here throws.
 */
import { inspect, types } from 'node:util'

const MESSAGE_CHARS_MAX = 2000

/** Whether a value is an error, of this realm or another. */
export function isError(value: unknown): value is Error {
  return types.isNativeError(value) || is(value, Error)
}

/** `instanceof` that also works for a value whose traps throw. */
export function is<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type
  } catch {
    return false
  }
}

/** A text for any thrown value, of at most 2,000 characters. */
export function messageOf(error: unknown): string {
  const message = isError(error) ? (memberOf(error, 'message') ?? 'an error without a message') : error
  return (typeof message === 'string' ? message : shownAs(message)).slice(0, MESSAGE_CHARS_MAX)
}

/** A text for any thrown value, with the error's name before its message, as `String(error)` shows it. */
export function namedMessageOf(error: unknown): string {
  const name = isError(error) ? memberOf(error, 'name') : undefined
  return typeof name === 'string' ? `${name}: ${messageOf(error)}` : messageOf(error)
}

/** A member's value; undefined if it cannot be read. */
export function memberOf(object: unknown, name: string): unknown {
  try {
    return (object as Readonly<Record<string, unknown>>)[name]
  } catch {
    return undefined
  }
}

/** The promise that a function returned; another thenable is wrapped in a promise. Null for all other values. */
export function promiseOf(answer: unknown): Promise<unknown> | null {
  if (answer instanceof Promise) return answer
  if (
    (typeof answer !== 'object' && typeof answer !== 'function') ||
    answer === null ||
    !('then' in answer) ||
    typeof answer.then !== 'function'
  )
    return null
  return new Promise((resolve) => resolve(answer))
}

/**
 * Handle the result of a function that is not awaited: `failed` gets its error, because an unhandled rejection would
 * end the process. The result may be a promise of another realm, or any object with a `then`, which may start its work
 * only when `then` is called.
 */
export function watchAnswer(answer: unknown, failed: (error: unknown) => void = () => undefined): void {
  if ((typeof answer !== 'object' && typeof answer !== 'function') || answer === null) return
  new Promise((resolve) => resolve(answer)).then(undefined, failed)
}

function shownAs(value: unknown): string {
  try {
    // Custom inspection methods of the object are not called: they may throw or be slow.
    return inspect(value, {
      depth: 2,
      breakLength: Number.POSITIVE_INFINITY,
      maxArrayLength: 20,
      maxStringLength: 500,
      customInspect: false,
    })
  } catch {
    return `${typeof value} that cannot be shown`
  }
}

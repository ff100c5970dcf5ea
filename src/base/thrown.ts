/**
 * What an application's functions throw and answer. They may throw anything: a proxy whose traps throw, an object without a prototype, an error of another
 * realm. Nothing here trusts what it reads, and nothing here throws.
 */
import { inspect, types } from 'node:util'

const MESSAGE_CHARS_MAX = 2000

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

/** A text for whatever was thrown, of at most 2,000 characters. */
export function messageOf(error: unknown): string {
  const message = isError(error) ? (memberOf(error, 'message') ?? 'an error without a message') : error
  return (typeof message === 'string' ? message : shownAs(message)).slice(0, MESSAGE_CHARS_MAX)
}

/** The same behind the error's name, as `String(error)` shows it. */
export function namedMessageOf(error: unknown): string {
  const name = isError(error) ? memberOf(error, 'name') : undefined
  return typeof name === 'string' ? `${name}: ${messageOf(error)}` : messageOf(error)
}

/** A member's value; undefined where it cannot be read. */
export function memberOf(object: unknown, name: string): unknown {
  try {
    return (object as Readonly<Record<string, unknown>>)[name]
  } catch {
    return undefined
  }
}

/** The promise that a function answered; of another thenable, one that keeps to the rules of promises. Null when it answered something else. */
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
 * Wait for what a function answered that nobody awaits, and pass on why it failed. A rejection that nobody handles would end the process. It may be a promise
 * of another realm, or any object with a `then`, which may begin its work only when that is called.
 */
export function watchAnswer(answer: unknown, failed: (error: unknown) => void = () => undefined): void {
  if ((typeof answer !== 'object' && typeof answer !== 'function') || answer === null) return
  new Promise((resolve) => resolve(answer)).then(undefined, failed)
}

function shownAs(value: unknown): string {
  try {
    // An object's own methods of being shown are not called: they may throw, or be slow.
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

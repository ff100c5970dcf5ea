/** How a handler's outcome is told: the signals of `reject` and `retryAfter`, and an error as it is kept with an event. */
import { isMillraceError } from '../base/errors.ts'
import type { Failure } from '../broker/engine.ts'

const STACK_CHARS_MAX = 2000
const MESSAGE_CHARS_MAX = 2000

/** Thrown by `ctx.reject`. */
export class Rejected extends Error {
  override readonly name = 'Rejected'
}

/** Thrown by `ctx.retryAfter`. */
export class RetryAfter extends Error {
  override readonly name = 'RetryAfter'
  readonly delayMs: number

  constructor(message: string, delayMs: number, cause: unknown) {
    super(message, { cause })
    this.delayMs = delayMs
  }
}

/** Thrown by a handler that cannot take the event now: it is handed back, and no attempt is counted. */
export class Released extends Error {
  override readonly name = 'Released'
}

/** An error as data, cut to a sensible length. */
export function failureOf(error: unknown, kind: Failure['kind']): Failure {
  const shown = (error instanceof Rejected || error instanceof RetryAfter) && error.cause instanceof Error ? error.cause : error
  if (!(shown instanceof Error)) return { name: 'Error', message: String(shown).slice(0, MESSAGE_CHARS_MAX), kind }
  const code = isMillraceError(shown) ? shown.code : (shown as { readonly code?: unknown }).code
  return {
    name: shown.name,
    message: shown.message.slice(0, MESSAGE_CHARS_MAX),
    ...(shown.stack !== undefined && { stack: shown.stack.slice(0, STACK_CHARS_MAX) }),
    ...(typeof code === 'string' && { code }),
    kind,
  }
}

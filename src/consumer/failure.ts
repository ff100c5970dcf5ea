/**
 * How a handler ends without success: the errors of `reject`, `retryAfter` and release, and any thrown value as plain
 * data that is kept with the event. Nothing here throws.
 */
import { types } from 'node:util'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { is, isError, memberOf, messageOf, watchAnswer } from '../base/thrown.ts'
import type { Failure } from '../broker/failure.ts'

const STACK_CHARS_MAX = 2000
const NAME_CHARS_MAX = 200

/** Thrown by `ctx.reject`. */
export class Rejected extends Error {
  override readonly name = 'Rejected'

  constructor(reason: unknown) {
    super(
      reason === undefined || reason === null ? 'the handler rejected the event and gave no reason' : messageOf(reason),
      { cause: reason },
    )
  }
}

/** Thrown by `ctx.retryAfter`. */
export class RetryAfter extends Error {
  override readonly name = 'RetryAfter'
  readonly delayMs: number

  constructor(delayMs: number, reason: unknown) {
    super(reason === undefined || reason === null ? 'the handler asked for another attempt' : messageOf(reason), {
      cause: reason,
    })
    this.delayMs = delayMs
  }
}

/** Thrown by a handler that cannot take the event now. The event is handed back, and no attempt is counted. */
export class Released extends Error {
  override readonly name = 'Released'
}

/** The kind of failure that a thrown value is. */
export function kindOf(error: unknown): Failure['kind'] {
  if (is(error, Rejected)) return 'rejected'
  if (!is(error, MillraceError)) return 'error'
  const code = memberOf(error, 'code')
  if (code === 'HANDLER_TIMEOUT') return 'timeout'
  const undecodable = code === 'SCHEMA_MISMATCH' || code === 'INVALID_EVENT' || code === 'UNKNOWN_VERSION'
  return undecodable && memberOf(memberOf(error, 'details'), 'handled') === true ? 'poison' : 'error'
}

/** A thrown value as data. Long texts are cut. */
export function failureOf(error: unknown, kind: Failure['kind'] = kindOf(error)): Failure {
  const cause = is(error, Rejected) || is(error, RetryAfter) ? error.cause : undefined
  const shown = isError(cause) ? cause : error
  // A thrown promise may reject, and nothing else waits for it.
  for (const thrown of [error, cause]) if (types.isPromise(thrown)) watchAnswer(thrown)
  if (!isError(shown)) return { name: 'Error', message: messageOf(shown), kind }
  const name = memberOf(shown, 'name')
  const stack = memberOf(shown, 'stack')
  const code = isMillrace(shown) ? shown.code : memberOf(shown, 'code')
  return {
    name: typeof name === 'string' && name !== '' ? name.slice(0, NAME_CHARS_MAX) : 'Error',
    message: messageOf(shown),
    ...(typeof stack === 'string' && { stack: stack.slice(0, STACK_CHARS_MAX) }),
    ...(typeof code === 'string' && { code: code.slice(0, NAME_CHARS_MAX) }),
    kind,
  }
}

function isMillrace(error: Error): error is MillraceError {
  try {
    return isMillraceError(error)
  } catch {
    return false
  }
}

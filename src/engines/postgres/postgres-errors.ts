/** Errors of Postgres and its client library, as Millrace errors. */
import { type ErrorCode, isMillraceError, MillraceError } from '../../base/errors.ts'
import { NO_CHANNEL } from './functions/constants.ts'

/** The beginnings of SQLSTATEs, with the Millrace code and what to do. */
const STATES: readonly (readonly [begin: string, code: ErrorCode, advice: string])[] = [
  ['28', 'UNAUTHENTICATED', 'give the user and password in the URL, as in postgres://user:password@host:5432/database'],
  ['3D000', 'INVALID_OPTION', 'there is no such database: create it, or name another one in the URL'],
  ['42501', 'FORBIDDEN', 'the role lacks this permission: see docs/engines/postgres.md for what Millrace needs'],
  ['53100', 'DISK_FULL', "the server's disk is full: nothing was stored. Free some space"],
  ['53', 'UNAVAILABLE', 'the server has no room for this now: try again in a moment'],
  ['25006', 'UNAVAILABLE', 'the server takes no writes now: it is a replica, or read-only by its settings'],
  ['40', 'UNAVAILABLE', 'another transaction was in the way: try again'],
  ['55P03', 'UNAVAILABLE', 'another transaction holds what is needed: try again in a moment'],
  ['57', 'UNAVAILABLE', 'the server is stopping or starting: try again in a moment'],
  ['58', 'UNAVAILABLE', 'the server had an error of its system: see its log'],
  ['08', 'UNAVAILABLE', 'try again in a moment'],
]

export function sqlState(error: unknown): string | null {
  const { code } = (error ?? {}) as { readonly code?: unknown }
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : null
}

/** Whether the connection is gone or cannot be used any more. */
export function isConnectionFault(error: unknown): boolean {
  const state = sqlState(error)
  return state === null || /^(08|57P0|57000|25006|58)/.test(state)
}

/**
 * Whether the same call may succeed soon. `sent`: whether the server may have received it. What was sent may have taken
 * effect, unless the server says that it was rolled back.
 */
export function mayPass(error: unknown, sent: boolean, again: boolean): boolean {
  if (isMillraceError(error)) return false
  const state = sqlState(error)
  if (state !== null && /^(40|55P03|53300|57P03|25006)/.test(state)) return true
  if (state !== null && !/^(08|57|53)/.test(state)) return false
  return (again || !sent) && !isLasting(error)
}

/** A failure to connect that a repetition does not mend, while the client connects for the first time. */
function isLasting(error: unknown): boolean {
  return /does not support SSL|self.signed|certificate|SASL|password must be a string/i.test((error as Error).message)
}

function hintOf(message: string): string {
  if (/does not support SSL/i.test(message)) return ': leave out sslmode, or let the server speak TLS'
  if (/self.signed|unable to (get|verify)|certificate/i.test(message))
    return ": give the authority's certificate with ?sslrootcert=FILE"
  return ''
}

/** The `MillraceError` for an error of the Postgres client. `doing` says what failed. */
export function postgresError(error: unknown, doing: string): MillraceError {
  if (isMillraceError(error)) return error
  const { message } = error as Error
  const state = sqlState(error)
  const details = { engine: 'postgres', doing, answer: message }
  if (state === null) {
    const code = /SASL|password must be a string/i.test(message) ? 'UNAUTHENTICATED' : 'UNAVAILABLE'
    const text = `postgres: the connection failed while ${doing}: ${message}${hintOf(message)}`
    return new MillraceError(code, text, details, { cause: error })
  }
  const known = STATES.find(([begin]) => state.startsWith(begin))
  if (known !== undefined) {
    const text = `postgres: the server refused while ${doing}: ${message} (${state}): ${known[2]}`
    return new MillraceError(known[1], text, details, { cause: error })
  }
  const text = `postgres: the server failed while ${doing}: ${message} (${state})`
  return new MillraceError('STORE_FAILED', text, details, { cause: error })
}

/** The error of a call about a channel. The function's own error becomes UNKNOWN_CHANNEL. */
export function channelError(error: unknown, channel: string): unknown {
  if (!(error instanceof MillraceError) || sqlState(error.cause) !== NO_CHANNEL) return error
  const message = `channel "${channel}" is not there: it was removed, or never declared`
  return new MillraceError('UNKNOWN_CHANNEL', message, { channel })
}

/**
 * Errors as HTTP answers: problem documents (RFC 9457) that carry the `MillraceError` code.
 * @see https://www.rfc-editor.org/rfc/rfc9457
 */
import { STATUS_CODES } from 'node:http'
import { type ErrorCode, type ErrorDetails, isMillraceError, MillraceError } from '../base/errors.ts'

/** What each code is over HTTP. */
const STATUS: Readonly<Record<ErrorCode, number>> = {
  INVALID_OPTION: 400,
  INVALID_NAME: 400,
  INVALID_EVENT: 400,
  SCHEMA_MISMATCH: 422,
  EVENT_TOO_LARGE: 413,
  TYPE_NOT_CARRIED: 422,
  INVALID_PATTERN: 400,
  INVALID_EXPRESSION: 400,
  UNKNOWN_CHANNEL: 404,
  UNKNOWN_CONSUMER: 404,
  CHANNEL_CONFLICT: 409,
  UNKNOWN_DEAD_LETTER: 404,
  UNKNOWN_ENGINE: 500,
  CLAUSE_REFUSED: 501,
  MISSING_DEPENDENCY: 500,
  CLOSED: 503,
  DIRECTORY_IN_USE: 503,
  DATA_DAMAGED: 500,
  DATA_FOREIGN: 500,
  DATA_MISSING: 500,
  DISK_FULL: 507,
  STORE_FAILED: 500,
  BACKPRESSURE: 503,
  LEASE_LOST: 409,
  HANDLER_TIMEOUT: 504,
  OFFSET_OUT_OF_RANGE: 416,
  INVALID_REQUEST: 400,
  REQUEST_TOO_LARGE: 413,
  FORBIDDEN: 403,
  UNAVAILABLE: 503,
}

/** A request that cannot be understood, with its own status. */
export function badRequest(status: 400 | 404 | 405 | 415, message: string, details: ErrorDetails = {}): MillraceError {
  return new MillraceError('INVALID_REQUEST', message, { status, ...details })
}

/** The answer that says what went wrong. What is not a `MillraceError` is ours, and tells nothing of the inside. */
export function problem(error: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  const known = isMillraceError(error) ? error : null
  const own = known?.code === 'INVALID_REQUEST' ? known.details['status'] : undefined
  const status = typeof own === 'number' ? own : known === null ? 500 : STATUS[known.code]
  const body = {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: known?.message ?? 'the gateway failed; its log says why',
    ...(known !== null && { code: known.code, retryable: known.retryable, details: known.details }),
  }
  const retry = known?.retryable === true && status >= 500 ? { 'retry-after': '1' } : {}
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', ...retry, ...headers },
  })
}

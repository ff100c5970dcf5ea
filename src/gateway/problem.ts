/**
 * Errors as HTTP responses: problem documents (RFC 9457) that carry the `MillraceError` code.
 * @see https://www.rfc-editor.org/rfc/rfc9457
 */
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import {
  type ErrorCode,
  type ErrorDetails,
  isMillraceError,
  MillraceError,
  outwardDetails,
  outwardMessage,
} from '../base/errors.ts'

/** The HTTP status of each code. */
export const STATUS: Readonly<Record<ErrorCode, number>> = {
  INVALID_OPTION: 400,
  INVALID_NAME: 400,
  INVALID_EVENT: 400,
  SCHEMA_MISMATCH: 422,
  UNKNOWN_VERSION: 422,
  UPCAST_FAILED: 422,
  EVENT_TOO_LARGE: 413,
  TYPE_NOT_CARRIED: 422,
  INVALID_PATTERN: 400,
  INVALID_EXPRESSION: 400,
  INVALID_RULE: 400,
  UNKNOWN_CHANNEL: 404,
  UNKNOWN_CONSUMER: 404,
  CHANNEL_CONFLICT: 409,
  INCOMPATIBLE_SCHEMA: 409,
  UNKNOWN_DEAD_LETTER: 404,
  UNKNOWN_RULE: 404,
  UNKNOWN_SCHEDULE: 404,
  REQUEST_TIMEOUT: 504,
  REQUEST_FAILED: 502,
  UNKNOWN_SUBSCRIPTION: 404,
  UNKNOWN_LIMIT: 404,
  UNKNOWN_ENGINE: 500,
  CLAUSE_REFUSED: 501,
  NO_TRANSACTION: 500,
  MIGRATION_NEEDED: 500,
  MISSING_DEPENDENCY: 500,
  CLOSED: 503,
  DIRECTORY_IN_USE: 503,
  DIRECTORY_UNUSABLE: 500,
  DATA_DAMAGED: 500,
  DATA_FOREIGN: 500,
  DATA_MISSING: 500,
  DISK_FULL: 507,
  TOO_MANY_FILES: 503,
  RETENTION_FAILED: 500,
  STORE_FAILED: 500,
  BACKPRESSURE: 503,
  LEASE_LOST: 409,
  HANDLER_TIMEOUT: 504,
  COPY_DIFFERS: 409,
  OFFSET_OUT_OF_RANGE: 416,
  INVALID_REQUEST: 400,
  REQUEST_TOO_LARGE: 413,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  INVALID_SIGNATURE: 403,
  RATE_LIMITED: 429,
  UNAVAILABLE: 503,
}

/** The error for a request that the gateway does not understand. `status` is the HTTP status. */
export function badRequest(
  status: 400 | 404 | 405 | 408 | 409 | 415 | 426 | 431,
  message: string,
  details: ErrorDetails = {},
): MillraceError {
  return new MillraceError('INVALID_REQUEST', message, { status, ...details })
}

/** A problem document with its status and headers. */
export interface Problem {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * An error as a problem document. An error that is not a `MillraceError` is a bug of ours, and the document reveals
 * nothing about it.
 */
export function problemOf(error: unknown): Problem {
  const known = isMillraceError(error) ? error : null
  const own = known?.code === 'INVALID_REQUEST' ? known.details['status'] : undefined
  const status = typeof own === 'number' ? own : known === null ? 500 : STATUS[known.code]
  const body = {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: known === null ? 'the gateway failed; its log says why' : outwardMessage(known.code, known.message),
    ...(known !== null && { code: known.code, retryable: known.retryable, details: outwardDetails(known.details) }),
  }
  const headers: Record<string, string> = { 'content-type': 'application/problem+json', 'cache-control': 'no-store' }
  if (status === 401) headers['www-authenticate'] = 'Bearer realm="millrace"'
  if (known?.retryable === true)
    headers['retry-after'] = String(Math.max(1, Math.ceil(Number(known.details['retryAfterMs'] ?? 0) / 1000)))
  return { status, headers, body: JSON.stringify(body) }
}

/** The response for an error. */
export function problem(error: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  const { status, headers: own, body } = problemOf(error)
  return new Response(body, { status, headers: { ...own, ...headers } })
}

/** Refuse an upgrade, or a request that Node could not parse: write the response to the socket and end it. */
export function refuseOnSocket(socket: Duplex, error: unknown): void {
  const { status, headers, body } = problemOf(error)
  const lines = Object.entries({
    ...headers,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }).map(([name, value]) => `${name}: ${value}`)
  if (socket.writable)
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\n${lines.join('\r\n')}\r\n\r\n${body}`)
  else socket.destroy()
}

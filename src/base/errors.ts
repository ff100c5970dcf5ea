/**
 * The one error class of Millrace and its closed list of codes.
 *
 * Every mistake of a user and every failure below is a `MillraceError`. Programs decide by its `code`. `docs/errors.md`
 * lists the same codes; a test compares the two both ways.
 */

import type { DetailsByCode } from './error-details.ts'
import { LIMITS } from './limits.ts'

/** Each code, and whether trying again can help. Add a new code here and in `docs/errors.md`. */
export const ERROR_CODES = {
  /** An option has a wrong type, an unknown name or a value out of range. */
  INVALID_OPTION: { retryable: false },
  /** The name of a channel, consumer or event type is too long, or has characters that no engine can carry. */
  INVALID_NAME: { retryable: false },
  /** The event is not a valid CloudEvent, or its data cannot be carried as JSON. */
  INVALID_EVENT: { retryable: false },
  /** The event's data does not satisfy its schema; `details.issues` are the schema library's own. */
  SCHEMA_MISMATCH: { retryable: false },
  /** The event is in a version of its type that the definition does not have. */
  UNKNOWN_VERSION: { retryable: false },
  /** An upcast threw, or made data that the schema of the next version refuses. */
  UPCAST_FAILED: { retryable: false },
  /** The event is larger than the channel's limit. */
  EVENT_TOO_LARGE: { retryable: false },
  /** The channel does not carry this event type. */
  TYPE_NOT_CARRIED: { retryable: false },
  /** A pattern is malformed or too complex; `details.path` says where. */
  INVALID_PATTERN: { retryable: false },
  /** A CloudEvents SQL expression does not parse. */
  INVALID_EXPRESSION: { retryable: false },
  /** A rule is malformed: as data, in its condition, template or action. */
  INVALID_RULE: { retryable: false },
  /** No channel of that name has been declared. */
  UNKNOWN_CHANNEL: { retryable: false },
  /** No consumer of that name has been started. */
  UNKNOWN_CONSUMER: { retryable: false },
  /** The channel is already declared in a way that cannot be reconciled. */
  CHANNEL_CONFLICT: { retryable: false },
  /** The declared schema of an event is proven to break what the channel's schema before it could read or write. */
  INCOMPATIBLE_SCHEMA: { retryable: false },
  /** No such dead letter. */
  UNKNOWN_DEAD_LETTER: { retryable: false },
  /** There is no rule of that name. */
  UNKNOWN_RULE: { retryable: false },
  /** No reply to a request came in time. */
  REQUEST_TIMEOUT: { retryable: true },
  /** The consumer gave up on a request: `details.problem` says why. */
  REQUEST_FAILED: { retryable: false },
  /** There is no schedule of that name. */
  UNKNOWN_SCHEDULE: { retryable: false },
  /** There is no push subscription of that name. */
  UNKNOWN_SUBSCRIPTION: { retryable: false },
  /** No consumer with a limit of that name has been started. */
  UNKNOWN_LIMIT: { retryable: false },
  /** The connection URL names no engine. */
  UNKNOWN_ENGINE: { retryable: false },
  /** An engine cannot hold a clause of the contract that was asked for. */
  CLAUSE_REFUSED: { retryable: false },
  /** An object of a database library has no open transaction: it is a pool, or none has begun, or it has ended. */
  NO_TRANSACTION: { retryable: false },
  /** The tables of millrace are not in the user's database. */
  MIGRATION_NEEDED: { retryable: false },
  /** A library that an engine needs is missing or of an unsupported version. */
  MISSING_DEPENDENCY: { retryable: false },
  /** The broker, reader or consumer has been closed. */
  CLOSED: { retryable: false },
  /** Another process owns the data directory. */
  DIRECTORY_IN_USE: { retryable: true },
  /** The operating system refuses the data directory: permissions, a file in its place, a read-only disk. */
  DIRECTORY_UNUSABLE: { retryable: false },
  /** A data file is damaged; nothing was opened and nothing was changed. */
  DATA_DAMAGED: { retryable: false },
  /** The directory holds files that Millrace did not write, or that a newer version wrote. */
  DATA_FOREIGN: { retryable: false },
  /** There is no Millrace data in the directory. */
  DATA_MISSING: { retryable: false },
  /** The disk is full: nothing was acknowledged, nothing was lost, publishing works again when there is space. */
  DISK_FULL: { retryable: true },
  /**
   * Too many files are open: nothing was acknowledged, nothing was lost, publishing works again when there are file
   * descriptors.
   */
  TOO_MANY_FILES: { retryable: true },
  /** An alarm: old events of a channel cannot be deleted. Millrace tries again by itself. */
  RETENTION_FAILED: { retryable: true },
  /**
   * The store failed. A data directory (also behind a Millrace server) takes no writes until it is opened again. On
   * NATS, Kafka, Redis and Postgres only this operation failed.
   */
  STORE_FAILED: { retryable: false },
  /** More is waiting to be written than the limit allows; await earlier publishes first. */
  BACKPRESSURE: { retryable: true },
  /** The delivery's lease passed to another worker; its completion and emissions were refused. */
  LEASE_LOST: { retryable: false },
  /** A handler took longer than the consumer's `timeout`. */
  HANDLER_TIMEOUT: { retryable: true },
  /** The copy on another broker differs from its source, or the source changed during the copy. */
  COPY_DIFFERS: { retryable: false },
  /** An offset lies beyond the end of the channel, or (for causes and effects) there is no event at it. */
  OFFSET_OUT_OF_RANGE: { retryable: false },
  /**
   * The gateway does not understand an HTTP request: no such route, method or query parameter, or an unsupported
   * content type.
   */
  INVALID_REQUEST: { retryable: false },
  /** The body of an HTTP request is larger than the gateway accepts. */
  REQUEST_TOO_LARGE: { retryable: false },
  /** The server asks for credentials, or the given ones are not valid. */
  UNAUTHENTICATED: { retryable: false },
  /** The server knows the caller, and the caller may not do this. */
  FORBIDDEN: { retryable: false },
  /** A webhook is unsigned, signed with another secret, or too old. */
  INVALID_SIGNATURE: { retryable: false },
  /** The caller, or all callers together, have more requests, streams or sockets than the limit allows. */
  RATE_LIMITED: { retryable: true },
  /** A server or peer did not answer in time. */
  UNAVAILABLE: { retryable: true },
} as const

export type ErrorCode = keyof typeof ERROR_CODES

/** Facts about the failure, for programs: which event, channel, option, file, limit. Always JSON-serialisable. */
export type ErrorDetails = Readonly<Record<string, unknown>>

/** The members of `details` for an error with this code. `docs/errors.md` lists them. */
export type ErrorDetailsOf<Code extends ErrorCode> = ErrorDetails & DetailsByCode[Code]

/**
 * The error every Millrace call rejects with or throws.
 *
 * `message` says what was wrong with which event, channel or option, and what to do about it.
 *
 * @example
 * ```ts
 * import { MillraceError } from 'millrace'
 *
 * const text = 'channel "cart" is not declared; did you mean "carts"?'
 * const error = new MillraceError('UNKNOWN_CHANNEL', text, { channel: 'cart' })
 * error.code // 'UNKNOWN_CHANNEL'
 * error.retryable // false
 * ```
 */
export class MillraceError extends Error {
  /** One of the closed list of codes; stable across versions. */
  readonly code: ErrorCode
  /** Whether the same call can succeed later without being changed. */
  readonly retryable: boolean
  readonly details: ErrorDetails

  constructor(
    code: ErrorCode,
    message: string,
    details: ErrorDetails = {},
    options: { readonly cause?: unknown } = {},
  ) {
    super(clipped(message, LIMITS.errorTextCharsMax), options)
    this.name = 'MillraceError'
    this.code = code
    this.retryable = ERROR_CODES[code].retryable
    this.details = details
    for (const name in details)
      if (isLong(details[name]))
        this.details = { ...this.details, [name]: clipped(details[name] as string, LIMITS.errorTextCharsMax) }
  }

  toJSON(): { code: ErrorCode; message: string; retryable: boolean; details: ErrorDetails } {
    return { code: this.code, message: this.message, retryable: this.retryable, details: this.details }
  }
}

/**
 * Whether `error` is a `MillraceError` and, if `code` is given, has that code. `details` then has the type of that
 * code. Works across copies of the package.
 *
 * @example
 * ```ts
 * import { isMillraceError } from 'millrace'
 *
 * try {
 *   throw new Error('something else')
 * } catch (error) {
 *   isMillraceError(error, 'DISK_FULL') // false
 * }
 * ```
 */
export function isMillraceError(error: unknown): error is MillraceError
export function isMillraceError<Code extends ErrorCode>(
  error: unknown,
  code: Code | undefined,
): error is MillraceError & { readonly code: Code; readonly details: ErrorDetailsOf<Code> }
export function isMillraceError(error: unknown, code?: ErrorCode): boolean {
  if (!(error instanceof Error) || error.name !== 'MillraceError') return false
  const found = (error as Partial<MillraceError>).code
  return found !== undefined && found in ERROR_CODES && (code === undefined || found === code)
}

function isLong(value: unknown): boolean {
  return typeof value === 'string' && value.length > LIMITS.errorTextCharsMax
}

/** The text; of a long text only the beginning and the end, so that an error does not repeat megabytes. */
function clipped(text: string, charsMax: number): string {
  if (text.length <= charsMax) return text
  const half = charsMax >> 1
  return `${text.slice(0, half)}…${text.slice(1 - half)}`
}

const DETAIL_ITEMS_MAX = 100
const DETAIL_DEPTH_MAX = 6

/** Details as they leave the process: bounded in every direction. */
export function outwardDetails(details: ErrorDetails): ErrorDetails {
  return outward(details, 0) as ErrorDetails
}

function outward(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return clipped(value, LIMITS.errorTextCharsMax)
  if (typeof value === 'bigint' || typeof value === 'function' || typeof value === 'symbol')
    return clipped(value.toString(), LIMITS.errorTextCharsMax)
  if (typeof value !== 'object' || value === null) return value
  if (depth > DETAIL_DEPTH_MAX) return '…'
  if (Array.isArray(value)) return value.slice(0, DETAIL_ITEMS_MAX).map((item) => outward(item, depth + 1))
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function')
    return clipped(String(JSON.stringify(value)), LIMITS.errorTextCharsMax)
  const members = Object.entries(value).slice(0, DETAIL_ITEMS_MAX)
  return Object.fromEntries(
    members.map(([name, each]) => [clipped(name, LIMITS.errorTextCharsMax), outward(each, depth + 1)]),
  )
}

/** The message for a client: for an unknown channel it does not list the existing ones. */
export function outwardMessage(code: string, message: string): string {
  return code === 'UNKNOWN_CHANNEL'
    ? message.replace(/: (?:there are|did you mean|no channel) .*$/, ': declare it first, or correct the name')
    : message
}

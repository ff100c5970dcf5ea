/** The errors of JetStream's servers, by their numbers, and the Millrace error that each becomes. */
import { MillraceError } from '../../base/errors.ts'
import { Unanswered } from './requests.ts'

/** The body of an error, as the API of JetStream answers it. */
export interface ApiErrorBody {
  readonly code: number
  readonly err_code?: number
  readonly description?: string
}

export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly number: number

  constructor({ code, err_code, description }: ApiErrorBody) {
    super(`${description ?? 'refused'} (${err_code ?? code})`)
    this.number = err_code ?? code
  }
}

export const API = {
  streamNotFound: 10059,
  streamExists: 10058,
  noMessage: 10037,
  wrongLastSequence: 10071,
  wrongLastSequenceInProcess: 10164,
  rollupNotPermitted: 10111,
  batchHasDuplicate: 10201,
  batchIncomplete: 10176,
} as const

/** There is no leader now, an election runs, or the server is overloaded: a later attempt may succeed. */
const PASSING = new Set([
  10008,
  10009,
  10118,
  10119,
  10158,
  10167,
  10194,
  10195,
  10208,
  10210,
  10211,
  API.batchIncomplete,
])
/** The server has no room. */
const FULL = new Set([10002, 10023, 10028, 10047, 10122, 10123])
const TOO_LARGE = new Set([10054, 10097])
const STORE_FAILED = 10077

export function isApiError(error: unknown, number: number): boolean {
  return error instanceof ApiError && error.number === number
}

/** Whether a later attempt may succeed. */
export function isPassing(error: unknown): boolean {
  if (error instanceof Unanswered) return true
  return error instanceof ApiError && (PASSING.has(error.number) || (error.number === STORE_FAILED && !isFull(error)))
}

function isFull({ number, message }: ApiError): boolean {
  return FULL.has(number) || (number === STORE_FAILED && /no space|resource limits/.test(message))
}

/** The `MillraceError` for an error of NATS. `what` says what failed. */
export function millraceError(error: unknown, what: string, channel?: string): Error {
  if (error instanceof MillraceError) return error
  const details = channel === undefined ? {} : { channel }
  if (error instanceof ApiError) {
    if (error.number === API.streamNotFound && channel !== undefined) {
      return new MillraceError(
        'UNKNOWN_CHANNEL',
        `channel "${channel}" is not on the servers`,
        { channel },
        { cause: error },
      )
    }
    if (isFull(error))
      return new MillraceError('DISK_FULL', `nats: ${what}: ${error.message}: nothing was stored`, details, {
        cause: error,
      })
    if (TOO_LARGE.has(error.number))
      return new MillraceError('EVENT_TOO_LARGE', `nats: ${what}: ${error.message}`, details, { cause: error })
    if (!isPassing(error))
      return new MillraceError('STORE_FAILED', `nats: ${what}: ${error.message}`, details, { cause: error })
  }
  const why = error instanceof Error ? error.message : String(error)
  return new MillraceError('UNAVAILABLE', `nats: ${what}: ${why}`, details, { cause: error })
}

/** Errors of Kafka and its client library, as one class and as Millrace errors. */
import { MillraceError } from '../../base/errors.ts'

/** The error codes of the protocol that this engine handles one by one. `TRY_AGAIN` has further codes. */
export const CODES = {
  OFFSET_OUT_OF_RANGE: 1,
  CORRUPT_MESSAGE: 2,
  UNKNOWN_TOPIC_OR_PARTITION: 3,
  LEADER_NOT_AVAILABLE: 5,
  MESSAGE_TOO_LARGE: 10,
  RECORD_LIST_TOO_LARGE: 18,
  TOPIC_AUTHORIZATION_FAILED: 29,
  GROUP_AUTHORIZATION_FAILED: 30,
  CLUSTER_AUTHORIZATION_FAILED: 31,
  TOPIC_ALREADY_EXISTS: 36,
  INVALID_REPLICATION_FACTOR: 38,
  OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
  INVALID_PRODUCER_EPOCH: 47,
  SASL_AUTHENTICATION_FAILED: 58,
  UNKNOWN_PRODUCER_ID: 59,
} as const

/** Leaders move, coordinators load, or replicas are missing: a later attempt may succeed. */
const TRY_AGAIN: ReadonlySet<number> = new Set([
  3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 72, 74, 75, 76, 78, 89, 100,
])
const FORBIDDEN: ReadonlySet<number> = new Set([
  CODES.TOPIC_AUTHORIZATION_FAILED,
  CODES.GROUP_AUTHORIZATION_FAILED,
  CODES.CLUSTER_AUTHORIZATION_FAILED,
])

export class KafkaError extends Error {
  override readonly name = 'KafkaError'
  /** The protocol's code; 0 if the connection failed. */
  readonly code: number
  /** The connection cannot be used any more. */
  readonly broken: boolean

  constructor(code: number, message: string, options?: { readonly cause?: unknown; readonly broken?: boolean }) {
    super(message, options)
    this.code = code
    this.broken = options?.broken ?? false
  }

  get retryable(): boolean {
    return this.broken || TRY_AGAIN.has(this.code)
  }
}

interface LibraryError extends Error {
  readonly code?: string
  readonly apiCode?: number
  readonly errors?: readonly LibraryError[]
}

/** The error of the client library, as one class. */
export function kafkaError(error: unknown): KafkaError | MillraceError {
  if (error instanceof KafkaError || error instanceof MillraceError) return error
  const { message } = error as LibraryError
  const all = [...within(error as LibraryError)]
  const refused = all.some(
    ({ code, apiCode }) => code === 'PLT_KFK_AUTHENTICATION' || apiCode === CODES.SASL_AUTHENTICATION_FAILED,
  )
  if (refused) return new KafkaError(CODES.SASL_AUTHENTICATION_FAILED, message, { cause: error })
  const [told] = all.filter(({ apiCode }) => typeof apiCode === 'number')
  if (told !== undefined) return new KafkaError(told.apiCode as number, told.message, { cause: error })
  // A request without an answer leaves its connection unusable.
  const deepest = all.at(-1)?.message ?? message
  return new KafkaError(0, deepest === message ? message : `${message} (${deepest})`, { cause: error, broken: true })
}

/** An error, the errors that it gathers, and their causes. */
function* within(error: LibraryError): Generator<LibraryError> {
  yield error
  for (const each of error.errors ?? []) yield* within(each)
  if (error.cause instanceof Error) yield* within(error.cause as LibraryError)
}

/** The error that a caller gets: what was tried, and why it failed. */
export function millraceError(what: string, error: unknown): MillraceError {
  const cause = kafkaError(error)
  if (cause instanceof MillraceError) return cause
  const details = { what, kafkaCode: cause.code }
  const say = `kafka: ${what}: ${cause.message}`
  if (cause.code === CODES.SASL_AUTHENTICATION_FAILED)
    return new MillraceError('UNAUTHENTICATED', `${say}: check user, password and mechanism in the URL`, details, {
      cause,
    })
  if (FORBIDDEN.has(cause.code))
    return new MillraceError(
      'FORBIDDEN',
      `${say}: the account may not do this; docs/engines/kafka.md lists what it needs`,
      details,
      { cause },
    )
  if (cause.code === CODES.MESSAGE_TOO_LARGE || cause.code === CODES.RECORD_LIST_TOO_LARGE) {
    return new MillraceError(
      'EVENT_TOO_LARGE',
      `${say}: raise max.message.bytes of the topic and message.max.bytes of the brokers, or publish less at once`,
      details,
      { cause },
    )
  }
  if (cause.retryable) return new MillraceError('UNAVAILABLE', say, details, { cause })
  return new MillraceError('STORE_FAILED', say, details, { cause })
}

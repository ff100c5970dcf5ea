/** What `isMillraceError` makes of an error: its code, and the details of that code. */
import { type ErrorCode, type ErrorDetailsOf, isMillraceError, MillraceError } from 'millrace'

declare const error: unknown

if (isMillraceError(error)) {
  error.code satisfies ErrorCode
  error.details['channel'] satisfies unknown
  // @ts-expect-error without its code, what the details have is not known
  error.details['channel'] satisfies string
}
if (isMillraceError(error, 'UNKNOWN_CHANNEL')) {
  error.code satisfies 'UNKNOWN_CHANNEL'
  error.details.channel satisfies string
  error.retryable satisfies boolean
  // @ts-expect-error no such code
  error.code satisfies 'CLOSED'
  // @ts-expect-error it is text
  error.details.channel satisfies number
}
if (isMillraceError(error, 'RATE_LIMITED')) {
  error.details.retryAfterMs satisfies number | undefined
  // @ts-expect-error it may be absent
  error.details.retryAfterMs satisfies number
}
if (isMillraceError(error, 'SCHEMA_MISMATCH')) for (const issue of error.details.issues) issue.message satisfies string

export const known: ErrorDetailsOf<'OFFSET_OUT_OF_RANGE'> = { channel: 'orders', offset: 7, first: 10, next: 20 }
// @ts-expect-error the channel is missing
export const incomplete: ErrorDetailsOf<'OFFSET_OUT_OF_RANGE'> = { offset: 7 }
// @ts-expect-error no such code
isMillraceError(error, 'UNKNOWN_CHANEL')
// @ts-expect-error no such code
new MillraceError('UNKNOWN_CHANEL', 'x')

/** Failures that another attempt cannot mend: the event, or the configured action, is the cause. */
import { isMillraceError } from '../base/errors.ts'

const CODES = [
  'SCHEMA_MISMATCH',
  'UNKNOWN_VERSION',
  'INVALID_EVENT',
  'EVENT_TOO_LARGE',
  'TYPE_NOT_CARRIED',
  'UNKNOWN_CHANNEL',
  'CHANNEL_CONFLICT',
  'INVALID_RULE',
] as const

export function isPermanentFailure(error: unknown): boolean {
  return CODES.some((code) => isMillraceError(error, code))
}

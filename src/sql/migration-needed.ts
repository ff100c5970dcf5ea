/** Recognises that a statement failed because the tables of this package are missing. */
import { MillraceError } from '../base/errors.ts'

/** The error to throw instead; undefined for other errors, which are the library's own. */
export function migrationNeeded(error: unknown, part: 'outbox' | 'inbox'): MillraceError | undefined {
  if (!isMissing(error)) return undefined
  const message = `the tables of millrace are not in this database, or are older than this version: call migrate() once, or run \`millrace data migrate\``
  return new MillraceError('MIGRATION_NEEDED', message, { part }, { cause: error })
}

/** Libraries may wrap the server's error. */
function isMissing(error: unknown): boolean {
  const { code, message, cause } = (error ?? {}) as { code?: unknown; message?: unknown; cause?: unknown }
  const text = String(message)
  // Undefined table, schema, function and column.
  if (typeof code === 'string' && ['42P01', '3F000', '42883', '42703'].includes(code) && text.includes('millrace'))
    return true
  if (text.includes('no such table: millrace_')) return true
  return cause !== undefined && cause !== error && isMissing(cause)
}

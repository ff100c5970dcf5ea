/** A dead letter from a row of the database. */
import type { SqlRow } from '../../sql/sql-handle.ts'
import type { OutboxDeadLetter } from './outbox-facts.ts'

export function letterOf(row: SqlRow): OutboxDeadLetter {
  const { channel, id, type, key, event, attempts, put_ms, failed_ms, code, message } = row
  return {
    channel: String(channel),
    id: String(id),
    type: String(type),
    key: typeof key === 'string' ? key : null,
    event: String(event),
    attempts: Number(attempts),
    putAt: new Date(Number(put_ms)),
    failedAt: new Date(Number(failed_ms)),
    code: String(code),
    message: String(message),
  }
}

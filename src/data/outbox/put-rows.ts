/** Puts encoded events into the outbox's table, with one statement for each call. */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { messageOf } from '../../base/thrown.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import { noOpenTransaction } from '../../sql/handle-of.ts'
import { migrationNeeded } from '../../sql/migration-needed.ts'
import type { SqlHandle, SyncSqlHandle } from '../../sql/sql-handle.ts'

/** Events for one channel, in order. */
export interface OutboxRows {
  readonly channel: string
  readonly events: readonly EncodedEvent[]
  readonly dueAtMs: number | null
}

/**
 * The rows come as one JSON text, so that every library binds it alike. The trigger of the table refuses the statement
 * if it commits by itself; for this, it gets the time of the statement.
 */
const POSTGRES = `with put as (
  insert into millrace.outbox (slot, channel, id, type, key, due_ms, event)
  select (select millrace.outbox_slot()), r.channel, r.id, r.type, r.key, r.due_ms, r.event
  from json_to_recordset($1::text::json) as r(channel text, id text, type text, key text, due_ms bigint, event text)
  returning 1
) select count(*)::int as stored,
  set_config('millrace.outbox_put', extract(epoch from statement_timestamp())::text, true) as at
from put`

const SQLITE = `insert into millrace_outbox (channel, id, type, key, due_ms, event)
select r.value ->> 'channel', r.value ->> 'id', r.value ->> 'type', r.value ->> 'key', r.value ->> 'due_ms', r.value ->> 'event'
from json_each(?) as r where true order by r.key`

/** @throws NO_TRANSACTION · MIGRATION_NEEDED · any error of the library */
export async function putRows(handle: SqlHandle, rows: OutboxRows, call: string): Promise<void> {
  if (handle.sync) return putRowsNow(handle, rows, call)
  const text = textOf(rows)
  try {
    await handle.run(POSTGRES, [text])
  } catch (error) {
    throw committedAlone(error) ? noOpenTransaction(call, handle) : (migrationNeeded(error, 'outbox') ?? error)
  }
}

/** The trigger's refusal. Libraries may wrap the server's error. */
function committedAlone(error: unknown): boolean {
  return messageOf(error).includes('millrace: no transaction is open')
}

/** The same at once. */
export function putRowsNow(handle: SyncSqlHandle, rows: OutboxRows, call: string): void {
  if (handle.inTransaction?.() === false) throw noOpenTransaction(call, handle)
  const text = textOf(rows)
  try {
    handle.run(SQLITE, [text])
  } catch (error) {
    throw migrationNeeded(error, 'outbox') ?? error
  }
}

/** @throws EVENT_TOO_LARGE */
function textOf({ channel, events, dueAtMs }: OutboxRows): string {
  const bytes = events.reduce((sum, { text }) => sum + text.length, 0)
  if (events.length > 1 && bytes > LIMITS.batchBytesMax) {
    throw new MillraceError(
      'EVENT_TOO_LARGE',
      `a batch holds at most ${LIMITS.batchBytesMax} bytes of events; this one has ${bytes}: publish several`,
      { bytes, bytesMax: LIMITS.batchBytesMax },
    )
  }
  return JSON.stringify(
    events.map(({ id, type, key, text }) => ({ channel, id, type, key, due_ms: dueAtMs, event: text })),
  )
}

/**
 * The inbox: which consumer has handled which event, in the user's own database, written in the same transaction as the
 * handler's own rows.
 *
 * The row is inserted first. Two attempts at one event at the same time: the second insert waits for the end of the
 * first transaction, and finds the row if it committed. Rows are remembered for a window, and then deleted.
 */
import { LIMITS } from '../base/limits.ts'
import { databaseOf } from './handle-of.ts'
import { inTransaction, type Worked } from './in-transaction.ts'
import { migrationNeeded } from './migration-needed.ts'

/** What was handled. `name` tells several works on one event apart. */
export interface InboxEntry {
  readonly consumer: string
  readonly channel: string
  readonly id: string
  readonly name: string
}

/** The completion of the event is durable, and so must be the work: also where the server does not sync by default. */
const POSTGRES = `insert into millrace.inbox (consumer, channel, id, name)
values ($1::text, $2::text, $3::text, $4::text) on conflict do nothing
returning 1 as first, case when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', true) end as sync`
const SQLITE = `insert into millrace_inbox (consumer, channel, id, name, at_ms)
values (?, ?, ?, ?, ?) on conflict do nothing returning 1 as first`

/** The work in a transaction, unless it was done before. @throws MIGRATION_NEEDED · any error of the library */
export async function once<T>(
  database: object,
  { consumer, channel, id, name }: InboxEntry,
  work: (tx: object) => T | PromiseLike<T>,
): Promise<Worked<T>> {
  const values = [consumer, channel, id, name]
  try {
    return await inTransaction(database, 'ctx.tx()', {
      before: async (handle) => (await handle.run(POSTGRES, values)).length > 0,
      beforeNow: (handle) => handle.run(SQLITE, [...values, Date.now()]).length > 0,
      work,
    })
  } catch (error) {
    throw migrationNeeded(error, 'inbox') ?? error
  }
}

/** When rows were last deleted here, by database. */
const forgotAt = new WeakMap<object, number>()

/** Deletes some rows that are older than the window, if this was not done here lately. */
export async function forgetOld(database: object): Promise<void> {
  const last = forgotAt.get(database)
  const now = performance.now()
  if (last !== undefined && now - last < LIMITS.inboxForgetMs) return
  forgotAt.set(database, now)
  if (await forgetSome(database)) forgotAt.delete(database)
}

/** Whether there may be more. */
async function forgetSome(database: object): Promise<boolean> {
  const handle = databaseOf(database, 'ctx.tx()')
  const { inboxWindowMs: windowMs, inboxForgetRows: rows } = LIMITS
  const gone = handle.sync
    ? handle.run(
        `delete from millrace_inbox where at_ms < ? and (consumer, channel, id, name) in (
          select consumer, channel, id, name from millrace_inbox where at_ms < ? limit ?) returning 1 as gone`,
        [Date.now() - windowMs, Date.now() - windowMs, rows],
      )
    : await handle.run(
        `with gone as (
          delete from millrace.inbox where ctid = any (array(
            select ctid from millrace.inbox where at < now() - $1::bigint * interval '1 millisecond' limit $2::integer
          )) returning 1
        ) select 1 as gone from gone`,
        [windowMs, rows],
      )
  return gone.length >= rows
}

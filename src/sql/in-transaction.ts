/** Runs work in a transaction of a user's database, opened by its own library. */
import { MillraceError } from '../base/errors.ts'
import { promiseOf } from '../base/thrown.ts'
import { type DrizzleLike, fromDrizzle, isDrizzle } from './adapters/drizzle.ts'
import { fromKnex, isKnex, type KnexLike } from './adapters/knex.ts'
import { fromKysely, isKysely, type KyselyLike } from './adapters/kysely.ts'
import { fromPgClient, isPgPool, type PgClientLike, type PgPoolLike } from './adapters/node-postgres.ts'
import { fromPostgresJs, isPostgresJs, type PostgresJsLike } from './adapters/postgres-js.ts'
import { fromSqlite, isSqlite } from './adapters/sqlite.ts'
import { databaseOf } from './handle-of.ts'
import type { AsyncSqlHandle, SyncSqlHandle } from './sql-handle.ts'

/** The work, and what is done before it. `tx` is the library's own object. */
export interface TransactionWork<T> {
  /** False: the work is not done, and the transaction ends without a change. */
  before(handle: AsyncSqlHandle): Promise<boolean>
  /** The same for a synchronous database. */
  beforeNow(handle: SyncSqlHandle): boolean
  work(tx: object): T | PromiseLike<T>
}

export type Worked<T> = { readonly done: true; readonly value: T } | { readonly done: false }

/**
 * Commits if the work succeeds, rolls back if it fails. Every failure, also that of the commit, is thrown.
 * @throws INVALID_OPTION when it is not a database of a known library
 */
export async function inTransaction<T>(database: object, call: string, work: TransactionWork<T>): Promise<Worked<T>> {
  if (isPgPool(database)) return inPg(database, work)
  if (isPostgresJs(database) && 'begin' in database)
    return within(work, fromPostgresJs, (run) => beginOf(database, run))
  if (isDrizzle(database) && !('rollback' in database))
    return within(work, fromDrizzle as From, (run) => (database as DrizzleLike).transaction(run as never))
  if (isKysely(database) && !database.isTransaction)
    return within(work, fromKysely as From, (run) => kyselyOf(database).transaction().execute(run))
  if (isKnex(database) && database.isTransaction !== true)
    return within(work, fromKnex as From, (run) => knexOf(database).transaction(run))
  if (isSqlite(database)) return inSqlite(fromSqlite(database), database, work)
  // It says what it takes.
  databaseOf(database, call)
  throw new MillraceError(
    'INVALID_OPTION',
    `${call} cannot begin a transaction on this object: give the database itself`,
    {
      option: 'database',
    },
  )
}

type From = (tx: never) => AsyncSqlHandle
type Run = (tx: object) => Promise<void>

/** The library begins and ends the transaction around a function. */
async function within<T>(work: TransactionWork<T>, from: From, begin: (run: Run) => unknown): Promise<Worked<T>> {
  let worked: Worked<T> = { done: false }
  await begin(async (tx) => {
    const handle = from(tx as never)
    worked = await workedOn(handle, tx, work)
    // After a statement that failed and whose error was caught, a commit would be a rollback, and say nothing of it.
    await handle.run('select 1 as alive', [])
  })
  return worked
}

async function workedOn<T>(handle: AsyncSqlHandle, tx: object, work: TransactionWork<T>): Promise<Worked<T>> {
  if (!(await work.before(handle))) return { done: false }
  return { done: true, value: await work.work(tx) }
}

interface PgClient extends PgClientLike {
  release(destroy?: boolean): void
  on?(event: 'error', listener: () => void): unknown
  removeListener?(event: 'error', listener: () => void): unknown
}

/** The statement that runs, or the next one, fails with the same error. */
function lostConnection(): void {}

async function inPg<T>(pool: PgPoolLike, work: TransactionWork<T>): Promise<Worked<T>> {
  const client = (await pool.connect()) as PgClient
  // Without a listener, a lost connection would end the process.
  client.on?.('error', lostConnection)
  let isBroken = true
  try {
    await client.query('begin', [])
    const worked = await workedOn(fromPgClient(client), client, work)
    const { command } = (await client.query('commit', [])) as { readonly command?: string }
    isBroken = false
    if (command === 'ROLLBACK')
      throw new Error('the transaction was rolled back, because one of its statements had failed')
    return worked
  } catch (error) {
    if (isBroken)
      await client.query('rollback', []).then(
        () => {
          isBroken = false
        },
        () => undefined,
      )
    throw error
  } finally {
    client.removeListener?.('error', lostConnection)
    client.release(isBroken)
  }
}

/** @throws INVALID_OPTION when the work returns a promise: the transaction would end before it */
function inSqlite<T>(handle: SyncSqlHandle, database: object, work: TransactionWork<T>): Worked<T> {
  handle.run('begin immediate', [])
  try {
    let worked: Worked<T> = { done: false }
    if (work.beforeNow(handle)) {
      const value = work.work(database)
      const pending = promiseOf(value)
      if (pending !== null) {
        pending.catch(() => undefined)
        const message = `the work on ${handle.what} must not be asynchronous: the transaction ends when the function returns`
        throw new MillraceError('INVALID_OPTION', message, { option: 'work' })
      }
      worked = { done: true, value: value as T }
    }
    handle.run('commit', [])
    return worked
  } catch (error) {
    if (handle.inTransaction?.() !== false) handle.run('rollback', [])
    throw error
  }
}

function beginOf(sql: PostgresJsLike, run: Run): unknown {
  return (sql as unknown as { begin(work: Run): unknown }).begin(run)
}

function kyselyOf(database: KyselyLike): { transaction(): { execute(run: Run): unknown } } {
  return database as never
}

function knexOf(database: KnexLike): { transaction(run: Run): unknown } {
  return database as never
}

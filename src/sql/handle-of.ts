/** Recognises the objects of database libraries by their members. */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import { fromDrizzle, isDrizzle } from './adapters/drizzle.ts'
import { fromKnex, isKnex } from './adapters/knex.ts'
import { fromKysely, isKysely } from './adapters/kysely.ts'
import { fromPgClient, fromPgPool, isPgClient, isPgPool } from './adapters/node-postgres.ts'
import { fromPostgresJs, isPostgresJs } from './adapters/postgres-js.ts'
import { fromSqlite, isSqlite } from './adapters/sqlite.ts'
import { isSqlHandle, type SqlHandle } from './sql-handle.ts'

interface Library {
  readonly is: (value: object) => boolean
  readonly from: (value: never) => SqlHandle
}

const LIBRARIES: readonly Library[] = [
  { is: isPgPool, from: fromPgPool },
  { is: isPgClient, from: fromPgClient },
  { is: isPostgresJs, from: fromPostgresJs },
  { is: isDrizzle, from: fromDrizzle },
  { is: isKysely, from: fromKysely },
  { is: isKnex, from: fromKnex },
  { is: isSqlite, from: fromSqlite },
]

const KNOWN =
  'pg, postgres, drizzle-orm, kysely, knex, better-sqlite3, node:sqlite and libsql; fromFunction() is for others'

/** @throws INVALID_OPTION when it is an object of no known library */
function handleOf(given: unknown, call: string): SqlHandle {
  if (typeof given === 'object' || typeof given === 'function') {
    if (given !== null) {
      if (isSqlHandle(given)) return given
      for (const { is, from } of LIBRARIES) if (is(given)) return from(given as never)
    }
  }
  throw new MillraceError(
    'INVALID_OPTION',
    `${call} does not know this object of a database: it is ${shown(given)}. The libraries that are recognised: ${KNOWN}`,
    { option: 'database' },
  )
}

/**
 * A handle for statements in the caller's transaction.
 * @throws INVALID_OPTION when it is an object of no known library · NO_TRANSACTION when it is a pool, or says that no
 * transaction is open
 */
export function transactionOf(given: unknown, call: string): SqlHandle {
  const handle = handleOf(given, call)
  if (handle.role === 'database')
    throw noTransaction(
      `${call} takes the object of your transaction; this is ${handle.what}, where each statement commits by itself`,
      handle,
    )
  if (handle.inTransaction?.() === false) throw noOpenTransaction(call, handle)
  return handle
}

/** A handle for statements that commit by themselves. @throws INVALID_OPTION */
export function databaseOf(given: unknown, call: string): SqlHandle {
  const handle = handleOf(given, call)
  // A connection to SQLite is both.
  if (handle.role === 'database' || handle.sync) return handle
  throw new MillraceError(
    'INVALID_OPTION',
    `${call} takes the database or its pool, because it works outside of your transactions; this is ${handle.what}`,
    { option: 'database' },
  )
}

export function noOpenTransaction(call: string, handle: SqlHandle): MillraceError {
  const message = `${call}: no transaction is open on this object (${handle.what}): begin one, or use it before its end`
  return noTransaction(message, handle)
}

function noTransaction(message: string, { what }: SqlHandle): MillraceError {
  return new MillraceError('NO_TRANSACTION', `${message}. Nothing was stored`, { what })
}

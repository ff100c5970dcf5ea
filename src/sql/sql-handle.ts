/**
 * The port to a user's database: run a statement. Each library's object is behind one adapter (`adapters/`), which
 * needs nothing of the library itself.
 *
 * Statements are written for their dialect: `$1`, `$2` … for Postgres, `?` for the others. Each value is used once, in
 * order. A value is text, a number or null: other types differ between the libraries.
 */

export type SqlDialect = 'postgres' | 'sqlite'
export type SqlValue = string | number | null
export type SqlRow = Readonly<Record<string, unknown>>

interface SqlBase {
  readonly dialect: SqlDialect
  /** The library and its object, for messages: `a client of pg`. */
  readonly what: string
  /** `transaction`: one session, which may be in a transaction. `database`: each statement commits by itself. */
  readonly role: 'transaction' | 'database'
  /** Whether a transaction is open now. Absent: only the database knows. */
  readonly inTransaction?: () => boolean
}

/** A handle whose statements have run when the call returns. */
export interface SyncSqlHandle extends SqlBase {
  readonly sync: true
  run(text: string, values: readonly SqlValue[]): readonly SqlRow[]
}

export interface AsyncSqlHandle extends SqlBase {
  readonly sync: false
  run(text: string, values: readonly SqlValue[]): Promise<readonly SqlRow[]>
}

/** An object of a database library, as this package uses it. */
export type SqlHandle = SyncSqlHandle | AsyncSqlHandle

const handles = new WeakSet<object>()

/** Marks a handle, so that it is accepted wherever an object of a library is. */
export function sqlHandle<Handle extends SqlHandle>(handle: Handle): Handle {
  handles.add(handle)
  return handle
}

export function isSqlHandle(value: object): value is SqlHandle {
  return handles.has(value)
}

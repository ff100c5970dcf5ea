/**
 * SQLite in this process, synchronous: `better-sqlite3`, `node:sqlite` and `libsql` (the package with the interface of
 * better-sqlite3). One object is the connection, its transaction and the database.
 */
import { type SqlRow, type SqlValue, type SyncSqlHandle, sqlHandle } from '../sql-handle.ts'

interface StatementLike {
  readonly reader?: boolean
  all(...values: SqlValue[]): readonly unknown[]
  run(...values: SqlValue[]): unknown
}

/** A database of `better-sqlite3`, `node:sqlite` or `libsql`. */
export interface SqliteLike {
  prepare(text: string): StatementLike
  exec(text: string): unknown
  /** better-sqlite3 and libsql. */
  readonly inTransaction?: boolean
  /** node:sqlite, from Node 22.16. */
  readonly isTransaction?: boolean
}

export function isSqlite(value: object): value is SqliteLike {
  const { prepare, exec } = value as Partial<SqliteLike>
  return typeof prepare === 'function' && typeof exec === 'function'
}

export function fromSqlite(database: SqliteLike): SyncSqlHandle {
  return sqlHandle({
    dialect: 'sqlite',
    sync: true,
    what: 'a SQLite database',
    role: 'transaction',
    inTransaction: () => inTransaction(database),
    run: (text, values) => {
      const statement = database.prepare(text)
      // better-sqlite3 refuses all() for statements without rows.
      if (statement.reader ?? RETURNS.test(text)) return statement.all(...values) as readonly SqlRow[]
      statement.run(...values)
      return []
    },
  })
}

const RETURNS = /^\s*(?:select|with|pragma)\b|\breturning\b/i

function inTransaction(database: SqliteLike): boolean {
  const known = database.inTransaction ?? database.isTransaction
  if (known !== undefined) return known
  // Node 22.5 to 22.15 do not say it. A transaction cannot begin within another one.
  try {
    database.exec('begin')
  } catch {
    return true
  }
  database.exec('rollback')
  return false
}

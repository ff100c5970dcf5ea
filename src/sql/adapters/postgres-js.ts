/** `postgres` (postgres.js): the function that `sql.begin` gives runs in its transaction; `sql` itself is a pool. */
import { type AsyncSqlHandle, type SqlRow, sqlHandle } from '../sql-handle.ts'

/** A function of postgres.js. */
export interface PostgresJsLike {
  unsafe(text: string, values: never[]): PromiseLike<readonly unknown[]>
}

export function isPostgresJs(value: object): value is PostgresJsLike {
  return typeof value === 'function' && typeof (value as Partial<PostgresJsLike>).unsafe === 'function'
}

/** The function that `sql.begin` or `sql.reserve` gives, or `sql` itself. */
export function fromPostgresJs(sql: PostgresJsLike): AsyncSqlHandle {
  const isPool = typeof (sql as { readonly begin?: unknown }).begin === 'function'
  return sqlHandle({
    dialect: 'postgres',
    sync: false,
    what: isPool ? 'the sql function of postgres.js' : 'a transaction of postgres.js',
    role: isPool ? 'database' : 'transaction',
    run: async (text, values) => [...(await sql.unsafe(text, [...values] as never[]))] as SqlRow[],
  })
}

/** `pg`: a client runs statements in its transaction; a pool runs each on any of its connections. */
import { type AsyncSqlHandle, type SqlRow, sqlHandle } from '../sql-handle.ts'

/** A client of `pg`, as `pool.connect()` or `new Client()` gives it. */
export interface PgClientLike {
  query(text: string, values: unknown[]): Promise<{ readonly rows: readonly unknown[] }>
}

/** A pool of `pg`. */
export interface PgPoolLike extends PgClientLike {
  readonly totalCount: number
  connect(): Promise<unknown>
}

export function isPgPool(value: object): value is PgPoolLike {
  return isFunction(value, 'query') && isFunction(value, 'connect') && 'totalCount' in value && 'idleCount' in value
}

/** A client that was checked out of a pool has `release`; one of its own has the id of its server process. */
export function isPgClient(value: object): value is PgClientLike {
  return isFunction(value, 'query') && (isFunction(value, 'release') || 'processID' in value) && !isPgPool(value)
}

/** A client of `pg` with an open transaction. */
export function fromPgClient(client: PgClientLike): AsyncSqlHandle {
  return handleOf(client, 'a client of pg', 'transaction')
}

/** A pool of `pg`. */
export function fromPgPool(pool: PgPoolLike): AsyncSqlHandle {
  return handleOf(pool, 'a pool of pg', 'database')
}

function handleOf(given: PgClientLike, what: string, role: AsyncSqlHandle['role']): AsyncSqlHandle {
  return sqlHandle({
    dialect: 'postgres',
    sync: false,
    what,
    role,
    run: async (text, values) => (await given.query(text, [...values])).rows as readonly SqlRow[],
  })
}

function isFunction(value: object, name: string): boolean {
  return typeof (value as Readonly<Record<string, unknown>>)[name] === 'function'
}

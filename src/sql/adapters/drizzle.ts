/**
 * `drizzle-orm` on Postgres, over `pg` or `postgres`. A statement is given as drizzle's `SQLWrapper`, which answers the
 * text and the values; so the `sql` function of the user's copy is not needed.
 */
import { MillraceError } from '../../base/errors.ts'
import { type AsyncSqlHandle, type SqlRow, sqlHandle } from '../sql-handle.ts'

/** A database of drizzle, or a transaction of one. */
export interface DrizzleLike {
  execute(query: never): PromiseLike<unknown>
  transaction(work: never, config?: never): unknown
}

export function isDrizzle(value: object): value is DrizzleLike {
  const { execute, transaction, select, dialect } = value as Readonly<Record<string, unknown>>
  return [execute, transaction, select].every((each) => typeof each === 'function') && typeof dialect === 'object'
}

/** @throws INVALID_OPTION when the database is not Postgres */
export function fromDrizzle(database: DrizzleLike): AsyncSqlHandle {
  const { dialect } = database as unknown as { readonly dialect: object }
  const kind = (dialect.constructor as { readonly [ENTITY_KIND]?: string })[ENTITY_KIND]
  if (kind !== 'PgDialect') {
    const message = `drizzle is supported on Postgres only; this is ${kind ?? 'an unknown dialect'}: give the connection of the database's own library`
    throw new MillraceError('INVALID_OPTION', message, { option: 'database' })
  }
  const isTransaction = typeof (database as { readonly rollback?: unknown }).rollback === 'function'
  return sqlHandle({
    dialect: 'postgres',
    sync: false,
    what: isTransaction ? 'a transaction of drizzle' : 'a database of drizzle',
    role: isTransaction ? 'transaction' : 'database',
    run: async (text, values) => {
      const statement = { getSQL: () => ({ toQuery: () => ({ sql: text, params: [...values] }) }) }
      const answer = (await database.execute(statement as never)) as { readonly rows?: unknown }
      // Over `pg` it is the result of `pg`, over `postgres` an array.
      return (Array.isArray(answer) ? answer : answer.rows) as readonly SqlRow[]
    },
  })
}

/** How drizzle names its classes, across copies of the package. */
const ENTITY_KIND = Symbol.for('drizzle:entityKind')

/** `kysely` on Postgres. */
import { MillraceError } from '../../base/errors.ts'
import { type AsyncSqlHandle, type SqlRow, sqlHandle } from '../sql-handle.ts'

interface Adapter {
  readonly supportsReturning?: boolean
  readonly supportsTransactionalDdl?: boolean
}

/** A Kysely instance, or a transaction of one. */
export interface KyselyLike {
  readonly isTransaction: boolean
  executeQuery(query: never): Promise<{ readonly rows: readonly unknown[] }>
  getExecutor(): { readonly adapter: Adapter }
}

export function isKysely(value: object): value is KyselyLike {
  const { executeQuery, getExecutor } = value as Partial<KyselyLike>
  return typeof executeQuery === 'function' && typeof getExecutor === 'function'
}

/** @throws INVALID_OPTION when the database is not Postgres */
export function fromKysely(kysely: KyselyLike): AsyncSqlHandle {
  const { adapter } = kysely.getExecutor()
  // Of the dialects that kysely has, only Postgres has both.
  if (adapter.supportsReturning !== true || adapter.supportsTransactionalDdl !== true) {
    const message =
      "kysely is supported on Postgres only: for another database, give the connection of the database's own library"
    throw new MillraceError('INVALID_OPTION', message, { option: 'database' })
  }
  return sqlHandle({
    dialect: 'postgres',
    sync: false,
    what: kysely.isTransaction ? 'a transaction of kysely' : 'a Kysely instance',
    role: kysely.isTransaction ? 'transaction' : 'database',
    run: async (text, values) => {
      const query = { kind: 'RawNode', sqlFragments: [text], parameters: [] }
      const compiled = { sql: text, parameters: values, query, queryId: { queryId: 'millrace' } }
      return (await kysely.executeQuery(compiled as never)).rows as readonly SqlRow[]
    },
  })
}

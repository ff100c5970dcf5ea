/** `knex` on Postgres. Its placeholder is `?`. */
import { MillraceError } from '../../base/errors.ts'
import { type AsyncSqlHandle, type SqlRow, sqlHandle } from '../sql-handle.ts'

/** A knex instance, or a transaction of one. */
export interface KnexLike {
  raw(text: string, values: never[]): PromiseLike<unknown>
  readonly isTransaction?: boolean
  isCompleted?(): boolean
  readonly client: { readonly dialect?: string }
}

export function isKnex(value: object): value is KnexLike {
  const { raw, client } = value as Partial<KnexLike>
  return typeof value === 'function' && typeof raw === 'function' && typeof client === 'object'
}

/** @throws INVALID_OPTION when the database is not Postgres */
export function fromKnex(knex: KnexLike): AsyncSqlHandle {
  if (knex.client.dialect !== 'postgresql') {
    const message = `knex with the dialect ${knex.client.dialect ?? 'of an unknown database'} is not supported: use Postgres, or give the connection of the database's own library`
    throw new MillraceError('INVALID_OPTION', message, { option: 'database' })
  }
  const isTransaction = knex.isTransaction === true
  return sqlHandle({
    dialect: 'postgres',
    sync: false,
    what: isTransaction ? 'a transaction of knex' : 'a knex instance',
    role: isTransaction ? 'transaction' : 'database',
    ...(isTransaction && { inTransaction: () => knex.isCompleted?.() !== true }),
    run: async (text, values) => {
      const bound = values.length === 0 ? text : text.replace(/\$\d+/g, '?')
      const { rows } = (await knex.raw(bound, [...values] as never[])) as { readonly rows?: readonly unknown[] }
      return (rows ?? []) as readonly SqlRow[]
    },
  })
}

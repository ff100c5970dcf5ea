/** A function of the application that runs a statement: for libraries that are not recognised. */
import { checkFunction, knownOptions } from '../../base/units.ts'
import { type AsyncSqlHandle, type SqlRow, type SqlValue, sqlHandle } from '../sql-handle.ts'

/** Runs one statement of Postgres, with `$1`, `$2` … for the values, and answers its rows as objects. */
export type RunStatement = (text: string, values: SqlValue[]) => PromiseLike<readonly unknown[]>

/**
 * A handle for a library that is not recognised, on Postgres: a function that runs a statement with it.
 *
 * @param options.role `transaction` for `outbox()`: the function runs in your transaction. `database` for
 * `outboxRelay()` and `migrate()`: each statement commits by itself. @default 'transaction'
 * @throws INVALID_OPTION when it is not a function, or an option is wrong
 * @example
 * ```ts no-run
 * import { event, stream } from 'millrace'
 * import { fromFunction, outbox } from 'millrace/data'
 *
 * interface Tx {
 *   $queryRawUnsafe(text: string, ...values: unknown[]): Promise<unknown[]>
 * }
 * declare const prisma: { $transaction(work: (tx: Tx) => Promise<void>): Promise<void> }
 * const orders = stream('orders')
 * await prisma.$transaction(async (tx) => {
 *   const handle = fromFunction((text, values) => tx.$queryRawUnsafe(text, ...values))
 *   await outbox(handle).publish(orders, event('order.placed')({ order: 'o-1' }))
 * })
 * ```
 */
export function fromFunction(
  run: RunStatement,
  options: { readonly role?: 'transaction' | 'database' } = {},
): AsyncSqlHandle {
  checkFunction(run, 'the function of fromFunction()')
  knownOptions(options, ['role'], 'fromFunction()')
  const { role = 'transaction' } = options
  return sqlHandle({
    dialect: 'postgres',
    sync: false,
    what: 'a function of the application',
    role,
    run: async (text, values) => (await run(text, [...values])) as readonly SqlRow[],
  })
}

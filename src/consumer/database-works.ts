/** The works of one attempt at an event in databases of the application (`ctx.tx`), each once. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { knownOptions } from '../base/units.ts'
import type { InboxEntry } from '../sql/inbox.ts'
import type { TransactionOf } from '../sql/transaction-of.ts'
import type { Cause } from './cause.ts'
import type { ContextLog, TxOutcome } from './consumer-types.ts'
import { withCause } from './transaction-cause.ts'

export interface WorksHost {
  readonly entry: Omit<InboxEntry, 'name'>
  readonly cause: Cause
  readonly log: ContextLog
  /** @throws LEASE_LOST · CLOSED when the event no longer belongs to the handler */
  stillMine(): void
}

export class DatabaseWorks {
  readonly #host: WorksHost
  /** The names of the works that were begun, by database. */
  readonly #begun = new Map<object, Set<string>>()

  constructor(host: WorksHost) {
    this.#host = host
  }

  async run<Database extends object, T>(
    database: Database,
    work: (tx: TransactionOf<Database>) => T | Promise<T>,
    options: { readonly name?: string },
  ): Promise<TxOutcome<T>> {
    const name = this.#begin(database, options)
    const { forgetOld, once } = await import('../sql/inbox.ts')
    const { entry, cause, log } = this.#host
    const worked = await once(database, { ...entry, name }, (tx) => {
      this.#host.stillMine()
      return this.#checked(withCause(tx, cause, () => work(tx as TransactionOf<Database>)))
    })
    await forgetOld(database).catch((error: unknown) =>
      log.warn('old rows of the inbox could not be deleted', { error }),
    )
    return worked.done ? { done: 'now', value: worked.value } : { done: 'before' }
  }

  /** The result; an error, so that the transaction is rolled back, if the event was taken away meanwhile. */
  #checked<T>(result: T | Promise<T>): T | Promise<T> {
    if (result instanceof Promise) return result.then((value: T) => this.#checked(value) as T)
    this.#host.stillMine()
    return result
  }

  /** @throws INVALID_OPTION */
  #begin(database: object, options: { readonly name?: string }): string {
    knownOptions(options, ['name'], 'ctx.tx')
    const { name = '' } = options
    const refuse = (message: string, option: string): never => {
      throw new MillraceError('INVALID_OPTION', message, { option })
    }
    if ((typeof database !== 'object' && typeof database !== 'function') || database === null)
      refuse(`ctx.tx takes a database; this is ${shown(database)}`, 'database')
    if (typeof name !== 'string' || name.length > LIMITS.nameCharsMax)
      refuse(
        `the name of ctx.tx must be text of at most ${LIMITS.nameCharsMax} characters; it is ${shown(name)}`,
        'name',
      )
    const names = this.#begun.get(database) ?? new Set()
    if (names.has(name))
      refuse(
        `ctx.tx was called twice for one event and database${name === '' ? '' : `, as ${shown(name)}`}: the second work would never be done; put both in one, or give each a name`,
        'name',
      )
    this.#begun.set(database, names.add(name))
    return name
  }
}

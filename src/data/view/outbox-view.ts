/** `outboxOf()`: what is in an outbox, and what became of the events that could not be published. */
import { MillraceError } from '../../base/errors.ts'
import { shown } from '../../base/shown.ts'
import { knownOptions, wholeNumber } from '../../base/units.ts'
import { databaseOf } from '../../sql/handle-of.ts'
import { migrationNeeded } from '../../sql/migration-needed.ts'
import type { DeadQuery, OutboxDeadLetter, OutboxDescription } from './outbox-facts.ts'
import { postgresFacts } from './postgres-facts.ts'
import { sqliteFacts } from './sqlite-facts.ts'

/** Which dead letters; without a member: all. */
export interface OutboxDeadLetterQuery {
  readonly channel?: string
  readonly key?: string
  readonly id?: string
  /** At most this many, the oldest first, 1 to 10,000. @default 1000 for `list`; all for the others */
  readonly limit?: number
}

/** The dead letters of an outbox. */
export interface OutboxDeadLetters {
  /** Oldest first. @throws INVALID_OPTION when the query is wrong · MIGRATION_NEEDED when the tables are missing */
  list(query?: OutboxDeadLetterQuery): Promise<OutboxDeadLetter[]>
  /** Give them back to the relay, with all attempts. Resolves with how many. @throws as `list` */
  redrive(query?: OutboxDeadLetterQuery): Promise<number>
  /** Delete them; what waits behind them is published. Resolves with how many. @throws as `list` */
  drop(query?: OutboxDeadLetterQuery): Promise<number>
}

/** An outbox, as people look at it and change it. */
export interface OutboxView {
  /** @throws MIGRATION_NEEDED when the tables are missing · any error of the library */
  describe(): Promise<OutboxDescription>
  readonly deadLetters: OutboxDeadLetters
}

/**
 * The outbox of a database, to look at it and to deal with its dead letters.
 *
 * @throws INVALID_OPTION when it is not a database of a known library
 * @example
 * ```ts no-run
 * import { outboxOf } from 'millrace/data'
 * import { Pool } from 'pg'
 *
 * const orders = outboxOf(new Pool())
 * console.log(await orders.describe())
 * await orders.deadLetters.redrive({ channel: 'orders' })
 * ```
 */
export function outboxOf(database: object): OutboxView {
  const handle = databaseOf(database, 'outboxOf()')
  const facts = handle.sync ? sqliteFacts(handle) : postgresFacts(handle)
  return {
    describe: () => asked(() => facts.describe()),
    deadLetters: {
      list: (query = {}) => asked(() => facts.list(checkedQuery(query, 1000))),
      redrive: (query = {}) => asked(() => facts.change(true, checkedQuery(query, Number.MAX_SAFE_INTEGER))),
      drop: (query = {}) => asked(() => facts.change(false, checkedQuery(query, Number.MAX_SAFE_INTEGER))),
    },
  }
}

async function asked<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    throw migrationNeeded(error, 'outbox') ?? error
  }
}

/** A member that is `undefined` comes from a mistake, and would select everything. @throws INVALID_OPTION */
function checkedQuery(query: OutboxDeadLetterQuery, limitDefault: number): DeadQuery {
  knownOptions(query, ['channel', 'key', 'id', 'limit'], 'the query of dead letters')
  for (const [member, value] of Object.entries(query)) {
    if (member === 'limit' ? value !== undefined : typeof value === 'string') continue
    const message = `"${member}" of a query of dead letters is ${shown(value)}: give a value, or leave it out`
    throw new MillraceError('INVALID_OPTION', message, { option: member })
  }
  const { channel = null, key = null, id = null, limit } = query
  return { channel, key, id, limit: limit === undefined ? limitDefault : wholeNumber(limit, 'limit', 1, 10_000) }
}

/**
 * Publishing in the transaction itself, into the tables of a broker that is in the same database. Rolled back means
 * never published; committed means stored, in the order of commits.
 */
import { MillraceError } from '../../base/errors.ts'
import { messageOf } from '../../base/thrown.ts'
import type { Broker } from '../../broker/broker.ts'
import type { InTransaction } from '../../broker/engine.ts'
import { checkBroker, engineOf } from '../../broker/engine-of.ts'
import type { Channel } from '../../channel/channel.ts'
import type { AsyncSqlHandle, SqlHandle } from '../../sql/sql-handle.ts'
import type { OutboxRows } from './put-rows.ts'

/** What Postgres says when the tables are not there: the schema, the function. */
const ELSEWHERE = new Set(['3F000', '42883'])

export class DirectPublishing {
  readonly #broker: Broker
  readonly #handle: AsyncSqlHandle
  readonly #into: InTransaction

  /** @throws INVALID_OPTION when the broker's engine is not in a database of this kind · CLOSED */
  constructor(broker: Broker, handle: SqlHandle) {
    checkBroker(broker, 'outbox()')
    const { name, inTransaction } = engineOf(broker)
    if (inTransaction === undefined || handle.sync || handle.dialect !== inTransaction.dialect) {
      const message = `outbox(): a transaction of ${handle.what} cannot publish to a broker on ${name}: leave out the broker, and run outboxRelay() with it`
      throw new MillraceError('INVALID_OPTION', message, { option: 'broker', engine: name })
    }
    this.#broker = broker
    this.#handle = handle
    this.#into = inTransaction
  }

  /** @throws INVALID_OPTION when the events are delayed, or the tables of the broker are in another database */
  async publish(channel: Channel, { events, dueAtMs }: OutboxRows): Promise<void> {
    if (dueAtMs !== null) {
      const message =
        'outbox().publish: delay and at are not for events that are published in the transaction itself: leave out the broker'
      throw new MillraceError('INVALID_OPTION', message, { option: 'delay' })
    }
    await this.#broker.declare(channel)
    if (events.length === 0) return
    const text = JSON.stringify(events.map(({ key, text: event }) => ({ key: key ?? '', event })))
    try {
      await this.#handle.run(this.#into.statement, [channel.name, text])
    } catch (error) {
      if (!isElsewhere(error) && !isElsewhere((error as { readonly cause?: unknown }).cause)) throw error
      const message = `outbox().publish: the tables of the broker are not in the database of this transaction (${messageOf(error)}): leave out the broker, and run outboxRelay() with it`
      throw new MillraceError('INVALID_OPTION', message, { option: 'broker' }, { cause: error })
    }
  }
}

/** Libraries may wrap the server's error. */
function isElsewhere(error: unknown): boolean {
  return ELSEWHERE.has(String((error as { readonly code?: unknown } | undefined)?.code))
}

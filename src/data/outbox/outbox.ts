/**
 * `outbox(tx)`: events that are published if, and only if, the caller's own database transaction commits.
 *
 * Events are validated and encoded when they are put in. A relay (`../relay/`) publishes them after the commit.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { knownOptions } from '../../base/units.ts'
import type { Broker, Publishable, PublishOptions } from '../../broker/broker.ts'
import { dueAt } from '../../broker/due-at.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import { TargetEncoder } from '../../broker/target-encoder.ts'
import { type Channel, checkChannel } from '../../channel/channel.ts'
import { type Cause, caused } from '../../consumer/cause.ts'
import { causeOfTransaction } from '../../consumer/transaction-cause.ts'
import type { Encodable } from '../../event/encode.ts'
import { checkAttributes } from '../../event/event.ts'
import { transactionOf } from '../../sql/handle-of.ts'
import type { SqlHandle } from '../../sql/sql-handle.ts'
import { DirectPublishing } from './direct-publishing.ts'
import { putHint } from './hints.ts'
import { type OutboxRows, putRows, putRowsNow } from './put-rows.ts'

/** An event in the outbox. It is in its channel after its transaction has committed and a relay has published it. */
export interface OutboxReceipt {
  readonly channel: string
  readonly id: string
  /** Not known: the event has no offset before it is in its channel. */
  readonly offset: null
}

/** One receipt for one event; for an array, an array of receipts in the same order. */
export type OutboxReceiptOf<E> = E extends readonly unknown[] ? OutboxReceipt[] : OutboxReceipt

export interface OutboxOptions {
  /** The CloudEvents `source` of events without one. @default '/millrace' */
  readonly source?: string
  /**
   * A broker whose engine is in the database of the transaction: `postgres:`. Its events are in their channels with the
   * commit: no table of the outbox and no relay is needed. `delay` and `at` are refused.
   * @default none: a relay publishes the events after the commit
   */
  readonly broker?: Broker
}

/** The outbox of one transaction. */
export interface Outbox {
  /**
   * Put an event (or several, all or none) into the outbox, within the transaction. Resolves when the statement has
   * run; what the statement costs is one round trip to the database. With a synchronous database it has run when the
   * call returns.
   *
   * The channel is given as its definition: a name alone says neither the schemas nor the key.
   *
   * @throws NO_TRANSACTION when no transaction is open · MIGRATION_NEEDED when the tables are missing · INVALID_OPTION
   * when an option is wrong, the channel is not a definition, or there are more than 65,536 events · INVALID_EVENT ·
   * SCHEMA_MISMATCH · EVENT_TOO_LARGE · TYPE_NOT_CARRIED as `publish` of a broker · any error of the database library
   */
  publish<C extends Channel, E extends Publishable<C> | readonly Publishable<C>[]>(
    channel: C,
    event: E,
    options?: PublishOptions,
  ): Promise<OutboxReceiptOf<E>>
  /**
   * The same for synchronous databases, whose transactions are functions without `await`.
   * @throws as `publish` · INVALID_OPTION when the database is not synchronous, or a schema of the channel is not
   */
  enqueue<C extends Channel, E extends Publishable<C> | readonly Publishable<C>[]>(
    channel: C,
    event: E,
    options?: PublishOptions,
  ): OutboxReceiptOf<E>
}

/**
 * The outbox of a transaction: `tx` is the object with which your own statements run in it.
 *
 * - `pg`: a client, after `begin`
 * - `better-sqlite3`, `node:sqlite`, `libsql`: the database, within a transaction
 *
 * Rolled back means never published. Committed means published at least once, in the order of the commits for each key,
 * and stored once in the channel's window of ids. The event is in the channel soon after the commit, not with it.
 *
 * @throws NO_TRANSACTION when it is a pool, or no transaction is open · INVALID_OPTION when it is an object of no known
 * library, or an option is wrong
 * @example
 * ```ts no-run
 * import { event, stream } from 'millrace'
 * import { outbox } from 'millrace/data'
 * import { Pool } from 'pg'
 *
 * const OrderPlaced = event('order.placed')
 * const orders = stream('orders', { events: [OrderPlaced], key: 'data.order' })
 * const client = await new Pool().connect()
 * await client.query('begin')
 * await client.query('insert into orders (id) values ($1)', ['o-1'])
 * await outbox(client).publish(orders, OrderPlaced({ order: 'o-1' }))
 * await client.query('commit')
 * client.release()
 * ```
 */
export function outbox(tx: object, options: OutboxOptions = {}): Outbox {
  knownOptions(options, ['source', 'broker'], 'outbox()')
  const { source = '/millrace', broker } = options
  checkAttributes({ source }, 'of outbox()')
  const handle = transactionOf(tx, 'outbox()')
  const direct = broker === undefined ? null : new DirectPublishing(broker, handle)
  return new TransactionOutbox(handle, new TargetEncoder(source), causeOfTransaction(tx), direct)
}

class TransactionOutbox implements Outbox {
  readonly #handle: SqlHandle
  readonly #encoder: TargetEncoder
  /** The event whose handler began the transaction by `ctx.tx`. */
  readonly #cause: Cause | undefined
  readonly #direct: DirectPublishing | null

  constructor(handle: SqlHandle, encoder: TargetEncoder, cause: Cause | undefined, direct: DirectPublishing | null) {
    this.#handle = handle
    this.#encoder = encoder
    this.#cause = cause
    this.#direct = direct
  }

  async publish<C extends Channel, E extends Publishable<C> | readonly Publishable<C>[]>(
    channel: C,
    event: E,
    options: PublishOptions = {},
  ): Promise<OutboxReceiptOf<E>> {
    const { made, dueAtMs } = this.#made(channel, event, options, 'outbox().publish')
    const isWaiting = made.some((one) => one instanceof Promise)
    // Without anything to wait for, a synchronous database has the rows before its transaction's function returns.
    const events = isWaiting ? await Promise.all(made.map((one) => Promise.resolve(one))) : (made as EncodedEvent[])
    const rows = { channel: channel.name, events, dueAtMs }
    if (this.#direct !== null) await this.#direct.publish(channel, rows)
    else if (events.length > 0) {
      if (this.#handle.sync) putRowsNow(this.#handle, rows, 'outbox().publish')
      else await putRows(this.#handle, rows, 'outbox().publish')
      putHint()
    }
    return receiptsOf(rows, event)
  }

  enqueue<C extends Channel, E extends Publishable<C> | readonly Publishable<C>[]>(
    channel: C,
    event: E,
    options: PublishOptions = {},
  ): OutboxReceiptOf<E> {
    const call = 'outbox().enqueue'
    if (!this.#handle.sync)
      throw new MillraceError(
        'INVALID_OPTION',
        `${call} is for synchronous databases: use publish() for ${this.#handle.what}`,
        {
          function: 'enqueue',
        },
      )
    const { made, dueAtMs } = this.#made(channel, event, options, call)
    const events = made.map((one) => {
      if (!(one instanceof Promise)) return one
      one.catch(() => undefined)
      const message = `a schema of channel "${channel.name}" validates asynchronously: ${call} cannot wait for it`
      throw new MillraceError('INVALID_OPTION', message, { channel: channel.name, function: 'enqueue' })
    })
    const rows = { channel: channel.name, events, dueAtMs }
    if (events.length > 0) {
      putRowsNow(this.#handle, rows, call)
      putHint()
    }
    return receiptsOf(rows, event)
  }

  #made(
    channel: Channel,
    event: unknown,
    options: PublishOptions,
    call: string,
  ): { made: (EncodedEvent | Promise<EncodedEvent>)[]; dueAtMs: number | null } {
    if (typeof channel === 'string') {
      const message = `${call} takes the channel's definition, as stream() or queue() returns it: the name "${channel as string}" says neither its schemas nor its key`
      throw new MillraceError('INVALID_OPTION', message, { option: 'channel', channel })
    }
    checkChannel(channel)
    const dueAtMs = dueAt(options, Date.now(), call)
    const given = (Array.isArray(event) ? event : [event]) as readonly Encodable[]
    if (given.length > LIMITS.batchEventsMax) {
      throw new MillraceError(
        'INVALID_OPTION',
        `a batch holds at most ${LIMITS.batchEventsMax} events; this one has ${given.length}: publish several`,
        { events: given.length, batchEventsMax: LIMITS.batchEventsMax },
      )
    }
    const made: (EncodedEvent | Promise<EncodedEvent>)[] = []
    try {
      for (const one of given) {
        const event = this.#cause === undefined ? one : caused(one, this.#cause)
        made.push(this.#encoder.encode(channel, event))
      }
    } catch (error) {
      for (const one of made) if (one instanceof Promise) one.catch(() => undefined)
      throw error
    }
    return { made, dueAtMs }
  }
}

function receiptsOf<E>({ channel, events }: OutboxRows, event: E): OutboxReceiptOf<E> {
  const receipts = events.map(({ id }): OutboxReceipt => ({ channel, id, offset: null }))
  return (Array.isArray(event) ? receipts : receipts[0]) as OutboxReceiptOf<E>
}

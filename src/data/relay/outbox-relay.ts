/** `outboxRelay()`: publishes what committed transactions put into the outbox of a database. */
import { type Duration, durationMs, knownOptions, wholeNumber } from '../../base/units.ts'
import type { BrokerHost, Startable } from '../../broker/broker.ts'
import { type Channel, checkChannel } from '../../channel/channel.ts'
import type { RetryOptions } from '../../consumer/consumer-types.ts'
import { retryPolicy } from '../../consumer/retry-policy.ts'
import { databaseOf } from '../../sql/handle-of.ts'
import type { SqlHandle } from '../../sql/sql-handle.ts'
import type { OutboxStore } from './outbox-store.ts'
import { PostgresStore } from './postgres-store.ts'
import { RelayLoop } from './relay-loop.ts'
import type { RunningRelay } from './running-relay.ts'
import { Sender } from './sender.ts'
import { SqliteStore } from './sqlite-store.ts'

export interface OutboxRelayOptions {
  /**
   * Channels that the relay declares when it starts. A channel that is not declared anywhere takes no events, and its
   * events are held.
   * @default none: all channels are declared elsewhere
   */
  readonly channels?: readonly Channel[]
  /**
   * How often, and after which delays, an event is tried again that its channel refuses. While the broker takes no
   * events at all, nothing counts as an attempt.
   * @default 8 attempts with exponential backoff
   */
  readonly retry?: RetryOptions
  /**
   * How long a relay may be silent before a relay of another process takes over. At least 1 s.
   * @default '5s'
   */
  readonly lease?: Duration
  /**
   * The longest wait before the relay looks for new events that other processes put in. After a `publish` of this
   * process it looks at once.
   * @default '250ms'
   */
  readonly poll?: Duration
  /** Events that are published together. @default 1000 */
  readonly batch?: number
}

/**
 * A relay for `broker.start`: it publishes the events of an outbox after their transactions have committed.
 *
 * - Events of one key are published in the order of the commits of their transactions.
 * - At least once, and stored once within the window of ids of their channel: a relay that starts again after a crash
 *   publishes its last batch again.
 * - An event that its channel refuses is tried again, and is a dead letter after the last attempt. Later events of its
 *   key wait behind it. Other keys go on.
 * - Relays may run in any number of processes. One at a time publishes; another takes over when it is silent.
 *
 * The relay uses the database outside of your transactions: give it a pool, or for SQLite a connection.
 *
 * @throws INVALID_OPTION when it is not a database of a known library, or an option is wrong
 * @example
 * ```ts no-run
 * import { connect, event, stream } from 'millrace'
 * import { outboxRelay } from 'millrace/data'
 * import { Pool } from 'pg'
 *
 * const orders = stream('orders', { events: [event('order.placed')], key: 'data.order' })
 * const broker = await connect('file:./data')
 * const relay = await broker.start(outboxRelay(new Pool(), { channels: [orders] }))
 * // …
 * await relay.stop()
 * await broker.close()
 * ```
 */
export function outboxRelay(database: object, options: OutboxRelayOptions = {}): Startable<RunningRelay> {
  knownOptions(options, ['channels', 'retry', 'lease', 'poll', 'batch'], 'outboxRelay()')
  const { channels = [], lease = '5s', poll = '250ms', batch = 1000 } = options
  for (const channel of channels) checkChannel(channel)
  const handle = databaseOf(database, 'outboxRelay()')
  const plan = {
    retry: retryPolicy(options.retry),
    leaseMs: wholeNumber(durationMs(lease, 'lease'), 'lease', 1000, 3_600_000),
    pollMs: wholeNumber(durationMs(poll, 'poll'), 'poll', 5, 60_000),
    batch: wholeNumber(batch, 'batch', 1, 10_000),
  }
  return {
    start: async (host: BrokerHost) => {
      for (const channel of channels) await host.encoder.declare(channel)
      const loop = new RelayLoop(storeOf(handle), new Sender(host, channels), plan, host)
      await loop.begin()
      return loop
    },
  }
}

function storeOf(handle: SqlHandle): OutboxStore {
  return handle.sync ? new SqliteStore(handle) : new PostgresStore(handle)
}

/** The types of a consumer's API: handlers, contexts, options. */

import type { Duration } from '../base/units.ts'
import type { Publishable, PublishOptions, UntypedEvent } from '../broker/broker.ts'
import type { OnDead } from '../broker/engine.ts'
import type { Failure } from '../broker/failure.ts'
import type { From } from '../broker/position.ts'
import type { Channel } from '../channel/channel.ts'
import type { NewEvent, StoredEvent } from '../event/cloud-event.ts'
import type { OutputOf, TypeOf } from '../event/event.ts'
import type { TransactionOf } from '../sql/transaction-of.ts'
import type { ConcurrencyLimit, RateLimit } from './limit-types.ts'
import type { StateOptions } from './state/state-types.ts'

/** How often, and after which delays, a failed event is tried again. */
export interface RetryOptions {
  /**
   * The number of attempts at an event in total, 1 to 1,000. After the last one the event is a dead letter.
   * @default 8
   */
  readonly attempts?: number
  /**
   * The delay after a failed attempt. `exponential`: a random time (full jitter) up to a bound that doubles from `min`
   * to `max`. `fixed`: `min` each time. A function returns the delay after the given attempt, up to ten years; if it
   * throws, the delay is that of `exponential`.
   * @default 'exponential'
   */
  readonly backoff?: 'exponential' | 'fixed' | ((attempt: number, error: unknown) => Duration)
  /**
   * The first bound of `exponential`, and the delay of `fixed`.
   * @default '1s'
   */
  readonly min?: Duration
  /**
   * The last bound of `exponential`, at least `min` and up to ten years.
   * @default '10m', or `min` if that is longer
   */
  readonly max?: Duration
}

/**
 * When a consumer stops taking events because its handlers fail. While the circuit is open, no event uses an attempt.
 * After `wait`, one event is tried. If it is handled, the circuit closes. If it fails, the circuit stays open for twice
 * the time, up to `max`.
 */
export interface BreakerOptions {
  /**
   * The circuit opens after so many failed attempts in a row, 1 to 10,000.
   * @default 5; with `rate`: any number
   */
  readonly failures?: number
  /** It also opens when this share (more than 0, up to 1) of the last `of` attempts failed. `of` is 1 to 10,000. */
  readonly rate?: { readonly share: number; readonly of: number }
  /**
   * How long it is open before an event is tried.
   * @default '30s'
   */
  readonly wait?: Duration
  /**
   * The longest such time.
   * @default '5m', or `wait` if that is longer
   */
  readonly max?: Duration
}

/** The options of a consumer. They hold for every instance that is started from the definition. */
export interface ConsumerOptions<Event = StoredEvent> {
  /**
   * The consumer's own key: of the events for which it returns the same text, one is handled at a time, over all
   * channels of the consumer, and in publish order within each channel (clause 4). It replaces the channels' keys for
   * this consumer, also for dead letters and `ctx.key`. `undefined` is no key. It gets the event as a handler does, and
   * has to return the same text for the same event each time. An event for which it throws becomes a dead letter.
   *
   * Engines that decide about deliveries in another process refuse it when the consumer is started (CLAUSE_REFUSED). A
   * queue has no other consumer beside one with its own key.
   * @default none: the key of the event's channel
   */
  readonly key?: (event: Event) => string | undefined
  /**
   * How many handlers run at the same time in this instance, 1 to 10,000. Events of one key are still handled one at a
   * time.
   * @default 16
   */
  readonly concurrency?: number
  /**
   * How many handlers of the consumer run at once over all of its instances, for each key, or together with other
   * consumers (clause 21). One limit, or up to three: all must have room. Engines that cannot hold it refuse it when
   * the consumer is started (CLAUSE_REFUSED).
   * @default none
   */
  readonly limit?: ConcurrencyLimit<Event> | readonly ConcurrencyLimit<Event>[]
  /**
   * How many attempts begin in a span of time; the other events wait. Otherwise as `limit`.
   * @default none
   */
  readonly rate?: RateLimit<Event> | readonly RateLimit<Event>[]
  /**
   * How often, and after which delays, a failed event is tried again.
   * @default 8 attempts with exponential backoff
   */
  readonly retry?: RetryOptions
  /**
   * What happens to later events when an event becomes a dead letter. `park`: later events of its key wait behind it.
   * `skip`: they are handled. `block`: all events of the consumer in the channel wait.
   * @default `park` for an event with a key, `skip` for one without
   */
  readonly onDead?: OnDead
  /**
   * Where the consumer begins in a channel that it has never consumed. It has no effect in a queue.
   * @default 'beginning'
   */
  readonly from?: From
  /**
   * The time limit of a handler, from its call. When it passes, `ctx.signal` aborts, and the attempt has failed with
   * HANDLER_TIMEOUT, whatever the handler does then. The next attempt waits until the handler has ended. Until then the
   * handler keeps its key and its slot of `concurrency`. A schema that validates asynchronously has the same limit.
   * @default none: handlers may run for hours
   */
  readonly timeout?: Duration
  /**
   * How long an instance may be silent. An instance that does not renew its lease for this time loses its events to
   * other instances. Handlers that still run get an aborted signal. In the same process, the next handler of their keys
   * waits until they have ended; another process begins at once. At least 50 ms.
   * @default '30s'
   */
  readonly lease?: Duration
  /**
   * How long `stop()` waits for running handlers before it hands their events back.
   * @default '30s'
   */
  readonly drain?: Duration
  /**
   * A consumer that has work and settles nothing for this time is reported as stalled.
   * @default '30s'
   */
  readonly stall?: Duration
  /**
   * State that the consumer keeps for each key (clause 19): handlers get it in `ctx.state`, and set the next one with
   * `ctx.setState`. It is stored in the same commit as the completion of the event. Every event needs a key.
   * @default none
   */
  readonly state?: StateOptions
  /**
   * A circuit breaker: after too many failed attempts the instance takes no events for a while. Each instance has its
   * own circuit. It is not stored: an instance begins with a closed circuit.
   * @default none
   */
  readonly breaker?: BreakerOptions
  /** Functions that are called after failed attempts, retries, dead letters and stalls of this instance. */
  readonly on?: ConsumerHooks
}

/** A failed attempt, as hooks get it. */
export interface FailedAttempt {
  /** The consumer's name. */
  readonly consumer: string
  /** The name of the event's channel. */
  readonly channel: string
  /** The event's offset in its channel. */
  readonly offset: number
  /** The event's key; `null` if it has none. */
  readonly key: string | null
  /** The event's id. */
  readonly id: string
  /** The event's type. */
  readonly type: string
  /** The number of the attempt, from 1. */
  readonly attempt: number
  /** The value that was thrown. */
  readonly error: unknown
  /** The same error as plain data, as it is stored with the event. */
  readonly failure: Failure
}

/** A failed attempt after which the event is tried again. */
export interface RetriedAttempt extends FailedAttempt {
  /** The delay before the next attempt, in milliseconds. */
  readonly delayMs: number
  /** When the next attempt is due. */
  readonly nextAttemptAt: Date
}

/** A consumer that has work and makes no progress. */
export interface ConsumerStall {
  /** The consumer's name. */
  readonly consumer: string
  /** Since when nothing was settled. */
  readonly since: Date
  /** Why there is no progress, in words for the person on call. */
  readonly reason: string
}

/**
 * The application's functions for events of a consumer's life. A hook is called in the instance that had the event,
 * after the decision. Nothing waits for an asynchronous hook. A hook that throws or rejects causes a line in the log,
 * and changes nothing.
 */
export interface ConsumerHooks {
  /** Called after each failed attempt; an attempt that exceeds its time limit is one. */
  readonly failed?: (attempt: FailedAttempt) => unknown
  /** Called when the event will be tried again. */
  readonly retried?: (attempt: RetriedAttempt) => unknown
  /** Called when the event has become a dead letter. */
  readonly dead?: (attempt: FailedAttempt) => unknown
  /** Called when the consumer has work and has settled nothing for its `stall`. Called again as long as this lasts. */
  readonly stalled?: (stall: ConsumerStall) => unknown
}

/**
 * Writes lines to the broker's `logger`, with the consumer, the event and the attempt as fields. Each line is written:
 * equal lines are not counted together.
 */
export interface ContextLog {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** The type of `ctx.emit`, for functions that take it as an argument. */
export type Emit = <C extends Channel | string>(
  channel: C,
  event: Publishable<C> | readonly Publishable<C>[],
  options?: PublishOptions,
) => Promise<void>

/** `ctx.reply`. */
export type Reply = (event: UntypedEvent | NewEvent) => Promise<void>

/** What a handler knows of its event and can do with it. Each attempt at an event has its own context. */
export interface HandlerContext {
  /** The consumer's name. */
  readonly consumer: string
  /** The name of the event's channel. */
  readonly channel: string
  /** The event's offset in its channel. */
  readonly offset: number
  /** The event's key; `null` if it has none. */
  readonly key: string | null
  /** The number of the attempt, from 1. */
  readonly attempt: number
  /** Whether the event was a dead letter and was redriven. */
  readonly redriven: boolean
  /** Writes lines about this event to the broker's logger. */
  readonly log: ContextLog
  /**
   * Aborts when the handler no longer has its event: after the time limit, after a lost lease, or when `stop()` has
   * waited for `drain`.
   */
  readonly signal: AbortSignal
  /**
   * Publish events together with this event's completion, or not at all: emissions of a failed attempt are dropped. The
   * promise resolves when the emission is accepted; it is stored with the completion. If an emission is refused and the
   * handler does not await it, the attempt fails.
   * @throws as `publish` · LEASE_LOST when the event no longer belongs to this handler · CLOSED when the handler has
   * finished
   */
  readonly emit: Emit
  /**
   * Work in a transaction of your own database, once for this consumer and event: "this consumer has handled this
   * event" is written in the same transaction, so a redelivery of the event does not do the work again. Events that the
   * work puts in by `outbox(tx)` belong to it, too, and say what caused them.
   *
   * `database` is a pool of `pg`, the `sql` of postgres.js, a Drizzle, Kysely or Knex instance on Postgres, or a SQLite
   * database, whose work must not be asynchronous. The tables are made by `migrate()` of `millrace/data`. An event is
   * remembered for 7 days after it was handled. A rewind within this time does not do the work again.
   *
   * @param options.name Tells several works on one event and database apart. @default ''
   * @throws MIGRATION_NEEDED when the tables are missing · INVALID_OPTION when it is not such a database, or handlers
   * of the event begin two works with one name · LEASE_LOST when the event no longer belongs to this handler: the
   * transaction is rolled back · CLOSED when the handler has finished · what the work throws, after a rollback
   */
  tx<Database extends object, T>(
    database: Database,
    work: (tx: TransactionOf<Database>) => T | Promise<T>,
    options?: { readonly name?: string },
  ): Promise<TxOutcome<T>>
  /**
   * Reply to a request: to the broker that published this event by `request` or `requestMany`. The reply is stored with
   * this event's completion, or not at all. If nobody asked, nothing happens. One reply for each attempt.
   * @throws INVALID_OPTION when the handler has replied already · as `emit`
   */
  readonly reply: Reply
  /**
   * Give up on this event now: it becomes a dead letter. `reason` can be any value that a `catch` clause gets. Never
   * returns.
   */
  reject(reason: unknown): never
  /**
   * Fail this attempt, and try again after this delay, up to ten years. Never returns.
   * @throws INVALID_OPTION when the delay is not a duration: the attempt fails with it
   */
  retryAfter(delay: Duration, reason?: unknown): never
}

/** Whether the work of `ctx.tx` was done now, with what it returned, or by an earlier delivery of the event. */
export type TxOutcome<T> = { readonly done: 'now'; readonly value: T } | { readonly done: 'before' }

/** What a handler of a consumer with state knows and can do. */
export interface StateContext<State = unknown, Next = State> extends HandlerContext {
  /**
   * The state of the event's key, as the last event of this key that was done has left it, or as this attempt has set
   * it. Changing the object changes nothing: call `setState`. In a batch, an event sees what earlier events of its key
   * have set.
   */
  readonly state: State
  /**
   * Set the state of the event's key. It is stored in the same commit as the completion of the event, or not at all: a
   * failed attempt changes nothing. The last call counts.
   * @throws SCHEMA_MISMATCH when the schema refuses it · INVALID_EVENT when JSON cannot carry it · EVENT_TOO_LARGE when
   * it is larger than `maxBytes` · INVALID_OPTION when it is undefined · LEASE_LOST when the event no longer belongs to
   * this handler · CLOSED when the handler has finished
   */
  setState(next: Next): void
  /** Delete the state of the event's key, in the same way. */
  deleteState(): void
}

/** The event that a handler of this event type gets. */
export type EventOf<Definition> = StoredEvent<TypeOf<Definition>, OutputOf<Definition>>
/**
 * Handles an event. The event is done when the handler returns, or when its promise resolves. If it throws or rejects,
 * the attempt has failed.
 */
export type Handler<Event = StoredEvent, Context extends HandlerContext = HandlerContext> = (
  event: Event,
  ctx: Context,
) => unknown

/** An event of a batch, with its context. */
export interface BatchItem {
  /** The event. */
  readonly event: StoredEvent
  /** The context of the event. */
  readonly ctx: HandlerContext
}

/** The context that a middleware gets: a handler's context, and the batch. */
export interface MiddlewareContext extends HandlerContext {
  /** Around a batch handler: all events of the batch. Around other handlers: `null`. */
  readonly batch: readonly BatchItem[] | null
}

/**
 * A function around the handlers of an event, or around a batch handler. For a batch, `event` and `ctx` are those of
 * its first event, and `ctx.batch` has all events.
 *
 * `next` runs the following middleware and the handlers, once. Its promise rejects if they fail. If the middleware
 * throws, the attempt fails. If it neither throws nor calls `next`, the event is done without its handlers. If it
 * catches the error of `next`, the event is done as well.
 */
export type Middleware<Event = StoredEvent> = (
  event: Event,
  ctx: MiddlewareContext,
  next: () => Promise<void>,
) => unknown

/** The outcome for one event of a batch: nothing or `'done'` if it is done, an `Error` if the attempt failed. */
export type BatchOutcome = undefined | null | 'done' | Error
/**
 * Handles a batch of events. It returns nothing if all events are done, or one outcome for each event, in order. If it
 * throws, all attempts of the batch fail.
 */
export type BatchHandler<Event = StoredEvent, Context extends HandlerContext = HandlerContext> = (
  events: readonly Event[],
  contexts: readonly Context[],
) => undefined | readonly BatchOutcome[] | Promise<undefined | readonly BatchOutcome[]> | Promise<void> | void

/** The options of a batch handler. */
export interface BatchOptions {
  /** The largest number of events in a batch, 1 to 10,000. */
  readonly size: number
  /**
   * How long to wait until a batch is full, from its first event.
   * @default 0: a batch takes the events that are available
   */
  readonly wait?: Duration
  /**
   * `'key'`: a batch has events of one key only (`ctx.key`), and each key waits for itself. Batches of different keys
   * run side by side, those of one key one after the other. Events without a key make batches together. `concurrency`
   * is how many events all batches have together.
   * @default none: a batch has events of any keys
   */
  readonly by?: 'key'
}

/** A running instance of a consumer. `await using` stops it. */
export interface Running extends AsyncDisposable {
  /** The consumer's name. */
  readonly name: string
  /**
   * Stop: take no more events, wait up to `drain` for running handlers, and hand back the other events. Resolves with a
   * summary of the time since the start. A handler may call it. The call then does not wait for that handler, and its
   * event is done when the handler returns. `done` resolves when the consumer has stopped.
   */
  stop(): Promise<RunSummary>
  /** Take no more events until `resume`. Running handlers end normally. */
  pause(): void
  /** Take events again after `pause`. */
  resume(): void
  /**
   * Resolves when the consumer has stopped, by `stop` or with its broker. Rejects if its completions could not be made
   * durable.
   */
  readonly done: Promise<RunSummary>
}

/** How many deliveries an instance has settled since it started, by outcome. */
export interface RunSummary {
  /** Events that were handled. */
  readonly completed: number
  /** Failed attempts after which the event is tried again. */
  readonly retried: number
  /** Events that became dead letters. */
  readonly deadLettered: number
  /** Events that were handed back without using an attempt. */
  readonly released: number
}

/** The types of a consumer's API: handlers, contexts, options. */

import type { Duration } from '../base/units.ts'
import type { From, Publishable, PublishOptions } from '../broker/broker.ts'
import type { OnDead } from '../broker/engine.ts'
import type { Channel } from '../channel/channel.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { OutputOf, TypeOf } from '../event/event.ts'

export interface RetryOptions {
  /** Times an event is tried in all, 1 to 1,000. @default 8 */
  readonly attempts?: number
  /** `exponential`: doubles from `min` to `max`, with full jitter. `fixed`: `min` each time. A function gives milliseconds for the attempt that failed. @default 'exponential' */
  readonly backoff?: 'exponential' | 'fixed' | ((attempt: number, error: unknown) => Duration)
  /** @default '1s' */
  readonly min?: Duration
  /** @default '10m' */
  readonly max?: Duration
}

export interface ConsumerOptions {
  /** Handlers that run at once in this instance, 1 to 10,000; events of one key still go one at a time. @default 16 */
  readonly concurrency?: number
  readonly retry?: RetryOptions
  /** After a dead letter: `park` the later events of its key behind it, `skip` to them, or `block` everything. @default park with a key, skip without */
  readonly onDead?: OnDead
  /** Where a consumer that is new to a channel begins. @default 'beginning' */
  readonly from?: From
  /**
   * A handler's time limit, from when it is called. After it, `ctx.signal` aborts and the attempt has failed with HANDLER_TIMEOUT, whatever the handler does.
   * The next attempt waits until the handler has ended: up to then it keeps its key and its slot of `concurrency`.
   * @default none: handlers may run for hours
   */
  readonly timeout?: Duration
  /** An instance that was not heard of for so long loses its events to others. At least 50 ms. @default '30s' */
  readonly lease?: Duration
  /** How long `stop()` waits for running handlers before it hands their events back. @default '30s' */
  readonly drain?: Duration
  /** It is reported as stalled when it has work and makes no progress for so long. @default '30s' */
  readonly stall?: Duration
}

/** `ctx.emit`, for functions that take it. */
export type Emit = <C extends Channel | string>(channel: C, event: Publishable<C> | readonly Publishable<C>[], options?: PublishOptions) => Promise<void>

/** What a handler can do besides returning. One per event and attempt. */
export interface HandlerContext {
  readonly consumer: string
  readonly channel: string
  readonly offset: number
  readonly key: string | null
  /** 1 for the first. */
  readonly attempt: number
  /** The event comes back from the dead letters. */
  readonly redriven: boolean
  /** Aborts when the event is no longer this handler's: time limit, lost lease, or stop without drain. */
  readonly signal: AbortSignal
  /**
   * Publish with this event's completion, or not at all: what a failed attempt emitted never existed. An emission that is refused, and that
   * the handler does not await, fails the attempt. @throws as `publish`, LEASE_LOST
   */
  readonly emit: Emit
  /** Give up on this event now: it goes to the dead letters. Takes whatever a `catch` clause gives. Never returns. */
  reject(reason: unknown): never
  /** Fail this attempt and try again after a time of your own, of up to ten years. Never returns. */
  retryAfter(delay: Duration, reason?: unknown): never
}

/** The event that a handler of this definition gets. */
export type EventOf<Definition> = StoredEvent<TypeOf<Definition>, OutputOf<Definition>>
export type Handler<Event = StoredEvent> = (event: Event, ctx: HandlerContext) => unknown

/** What became of one event of a batch: nothing or `'done'`, or an `Error` for a failed attempt. */
export type BatchOutcome = undefined | null | 'done' | Error
/** Returns nothing when all are done, or one outcome per event, in order. Throwing fails them all. */
export type BatchHandler<Event = StoredEvent> = (
  events: readonly Event[],
  contexts: readonly HandlerContext[],
) => undefined | readonly BatchOutcome[] | Promise<undefined | readonly BatchOutcome[]> | Promise<void> | void

export interface BatchOptions {
  /** Most events of a batch, 1 to 10,000. */
  readonly size: number
  /** How long to wait for a batch to fill. @default '0ms': take what is there */
  readonly wait?: Duration
}

/** A consumer that runs. `await using` stops it. */
export interface Running extends AsyncDisposable {
  readonly name: string
  /**
   * Take no more, wait for handlers that run (up to `drain`), hand back the rest; resolves with what was done since the start. A handler may call it:
   * then it does not wait for that handler, whose event is done when the handler is. `done` tells when the consumer has stopped.
   */
  stop(): Promise<RunSummary>
  /** No new events until `resume`; handlers that run go on. */
  pause(): void
  resume(): void
  /** Resolves when the consumer has stopped, by `stop` or with its broker; rejects if what it had done could not be made durable. */
  readonly done: Promise<RunSummary>
}

/** What an instance did since it started. */
export interface RunSummary {
  readonly completed: number
  readonly retried: number
  readonly deadLettered: number
  readonly released: number
}

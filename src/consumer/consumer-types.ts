/** The types of a consumer's API: handlers, contexts, options. */

import type { Duration } from '../base/units.ts'
import type { Publishable, PublishOptions } from '../broker/broker.ts'
import type { OnDead } from '../broker/engine.ts'
import type { Failure } from '../broker/failure.ts'
import type { From } from '../broker/position.ts'
import type { Channel } from '../channel/channel.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { OutputOf, TypeOf } from '../event/event.ts'

export interface RetryOptions {
  /** Attempts at an event in total, 1 to 1,000. @default 8 */
  readonly attempts?: number
  /**
   * `exponential`: doubles from `min` to `max`, with full jitter. `fixed`: `min` each time. A function gives
   * milliseconds for the attempt that failed. @default 'exponential'
   */
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
  /**
   * After a dead letter: `park` the later events of its key behind it, `skip` to them, or `block` everything. @default
   * `park` with a key, `skip` without
   */
  readonly onDead?: OnDead
  /** Where a consumer that is new to a channel begins. @default 'beginning' */
  readonly from?: From
  /**
   * A handler's time limit, from its call. After it, `ctx.signal` aborts and the attempt has failed with
   * HANDLER_TIMEOUT, whatever the handler does. The next attempt waits until the handler has ended. Until then the
   * handler keeps its key and its slot of `concurrency`.
   * @default none: handlers may run for hours
   */
  readonly timeout?: Duration
  /**
   * An instance that does not renew its lease for this time loses its events to others. At least 50 ms. Its handlers
   * run on with an aborted signal: in the same process the next handler of their keys waits until they have ended;
   * another process begins at once.
   * @default '30s'
   */
  readonly lease?: Duration
  /** How long `stop()` waits for running handlers before it hands their events back. @default '30s' */
  readonly drain?: Duration
  /** It is reported as stalled when it has work and makes no progress for this time. @default '30s' */
  readonly stall?: Duration
  /** Functions that are called for failed attempts, retries, dead letters and stalls of this instance. */
  readonly on?: ConsumerHooks
}

/** A failed attempt, as hooks get it. */
export interface FailedAttempt {
  readonly consumer: string
  readonly channel: string
  readonly offset: number
  readonly key: string | null
  /** The event's id. */
  readonly id: string
  readonly type: string
  /** 1 for the first. */
  readonly attempt: number
  /** The value that was thrown. */
  readonly error: unknown
  /** The same as plain text, as it is kept with the event. */
  readonly failure: Failure
}

/** A failed attempt that is followed by another. */
export interface RetriedAttempt extends FailedAttempt {
  readonly delayMs: number
  readonly nextAttemptAt: Date
}

/** A consumer that has work and makes no progress. */
export interface ConsumerStall {
  readonly consumer: string
  readonly since: Date
  readonly reason: string
}

/**
 * Functions of the application for events of a consumer's life. Hooks run in the instance that had the event, after the
 * decision; they may be asynchronous and nothing waits for them. A hook that throws or rejects causes a line in the
 * log, and changes nothing.
 */
export interface ConsumerHooks {
  /** Each attempt that failed, and each that passed its time limit. */
  readonly failed?: (attempt: FailedAttempt) => unknown
  /** The event is tried again. */
  readonly retried?: (attempt: RetriedAttempt) => unknown
  /** The event is a dead letter. */
  readonly dead?: (attempt: FailedAttempt) => unknown
  /** There is work, and nothing was settled for the consumer's `stall`. Called again while this lasts. */
  readonly stalled?: (stall: ConsumerStall) => unknown
}

/** Writes lines with the consumer, the event and the attempt to the broker's `logger`. They are not grouped. */
export interface ContextLog {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** `ctx.emit`, for functions that take it. */
export type Emit = <C extends Channel | string>(
  channel: C,
  event: Publishable<C> | readonly Publishable<C>[],
  options?: PublishOptions,
) => Promise<void>

/** What a handler can do besides returning. One per event and attempt. */
export interface HandlerContext {
  /** The consumer's name. */
  readonly consumer: string
  readonly channel: string
  readonly offset: number
  readonly key: string | null
  /** 1 for the first. */
  readonly attempt: number
  /** The event comes back from the dead letters. */
  readonly redriven: boolean
  /** Writes lines about this event to the broker's logger. */
  readonly log: ContextLog
  /** Aborts when the handler has lost its event: time limit, lost lease, or stop after `drain`. */
  readonly signal: AbortSignal
  /**
   * Publish together with this event's completion, or not at all: emissions of a failed attempt are dropped. An
   * emission that is refused, and that the handler does not await, fails the attempt. @throws as `publish`, LEASE_LOST
   */
  readonly emit: Emit
  /**
   * Give up on this event now: it goes to the dead letters. Takes any value that a `catch` clause gives. Never returns.
   */
  reject(reason: unknown): never
  /** Fail this attempt and try again after this time, up to ten years. Never returns. */
  retryAfter(delay: Duration, reason?: unknown): never
}

/** The event that a handler of this definition gets. */
export type EventOf<Definition> = StoredEvent<TypeOf<Definition>, OutputOf<Definition>>
export type Handler<Event = StoredEvent> = (event: Event, ctx: HandlerContext) => unknown

/** An event of a batch with its context. */
export interface BatchItem {
  readonly event: StoredEvent
  readonly ctx: HandlerContext
}

/** What a middleware gets: a handler's context. */
export interface MiddlewareContext extends HandlerContext {
  /** Around a batch handler, all events of the batch; `null` around other handlers. */
  readonly batch: readonly BatchItem[] | null
}

/**
 * Runs around the handlers of an event, or around a batch's handler: then `event` and `ctx` are those of the batch's
 * first event, and `ctx.batch` has all. `next` runs the middleware after it and the handlers, once; its promise rejects
 * when they fail. Throwing fails the attempt. An attempt whose middleware neither throws nor calls `next` is done
 * without its handlers. If a middleware catches the error of `next`, the attempt is done as well.
 */
export type Middleware<Event = StoredEvent> = (
  event: Event,
  ctx: MiddlewareContext,
  next: () => Promise<void>,
) => unknown

/** What became of one event of a batch: nothing or `'done'`, or an `Error` for a failed attempt. */
export type BatchOutcome = undefined | null | 'done' | Error
/** Returns nothing when all are done, or one outcome for each event, in order. Throwing fails them all. */
export type BatchHandler<Event = StoredEvent> = (
  events: readonly Event[],
  contexts: readonly HandlerContext[],
) => undefined | readonly BatchOutcome[] | Promise<undefined | readonly BatchOutcome[]> | Promise<void> | void

export interface BatchOptions {
  /** Most events of a batch, 1 to 10,000. */
  readonly size: number
  /** How long to wait until a batch is full. @default '0ms': take the events that are available */
  readonly wait?: Duration
}

/** A running instance of a consumer. `await using` stops it. */
export interface Running extends AsyncDisposable {
  readonly name: string
  /**
   * Take no more events, wait for running handlers (up to `drain`), hand back the rest. Resolves with a summary since
   * the start. A handler may call it: then it does not wait for that handler, whose event is done when the handler
   * returns. `done` resolves when the consumer has stopped.
   */
  stop(): Promise<RunSummary>
  /** No new events until `resume`; running handlers end normally. */
  pause(): void
  resume(): void
  /**
   * Resolves when the consumer has stopped, by `stop` or with its broker; rejects if its completions could not be made
   * durable.
   */
  readonly done: Promise<RunSummary>
}

/** What an instance did since it started. */
export interface RunSummary {
  readonly completed: number
  readonly retried: number
  readonly deadLettered: number
  readonly released: number
}

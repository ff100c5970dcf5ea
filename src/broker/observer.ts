/**
 * The seam for telemetry: a broker and its consumers report each publish and each attempt, and trace contexts enter
 * events here.
 *
 * A broker without an observer only pays one comparison. An observer must not throw.
 */

import type { StoredEvent } from '../event/cloud-event.ts'
import type { Encodable } from '../event/encode.ts'
import type { TraceText } from '../event/trace-context.ts'
import type { Delivery, Emission } from './engine.ts'
import type { Failure } from './failure.ts'

/** How an attempt ended. `lost`: the event did not belong to this instance any more. */
export type AttemptOutcome = 'completed' | 'retried' | 'dead-lettered' | 'released' | 'lost'

/** What a publish is given: an event, or several. */
export type Published = Encodable | readonly Encodable[]

/** One for each event, null for those that get none; null for none at all. */
export type Traces = readonly (TraceText | null)[] | null

/** A publish call, as its observer sees it. */
export interface PublishCall {
  /** What is to be published instead of the given events; null for just these. */
  readonly events: Published | null
  /** The trace contexts for events that have none. */
  readonly traces: Traces
  /** The engine gets the events now. Called once more if the engine gets them once more. */
  storing(): void
  /** The call has ended. `error` is null if the events were stored. */
  ended(error: unknown): void
}

/** An attempt at an event. */
export interface ObservedAttempt {
  readonly delivery: Delivery
  readonly emissions: readonly Emission[] | null
  /** For the observer's own use. */
  observed: unknown
}

/** Calls a handler in its context. */
export interface HandlerCall {
  /** Calls `handle` exactly once, synchronously. Returns its result, or throws what it throws. */
  within<Result>(handle: () => Result): Result
}

export interface BrokerObserver {
  publishing(channel: string, events: Published): PublishCall
  /** A handler is about to be called with an event. Null if it needs no context. */
  handling(consumer: string, event: StoredEvent, attempt: ObservedAttempt): HandlerCall | null
  /** The same, with a batch. */
  handlingBatch(
    consumer: string,
    events: readonly StoredEvent[],
    attempts: readonly ObservedAttempt[],
  ): HandlerCall | null
  /** Events go to a client that pulls them, and settles them later. */
  receiving(consumer: string, attempts: readonly ObservedAttempt[]): void
  /**
   * Called before an emitted event is encoded. Returns the trace context for an event that has none. Null means: use
   * the trace context of the event that is being handled.
   */
  emitting(attempt: ObservedAttempt, channel: string): TraceText | null
  /** The trace context for a request that the handler of an attempt makes; null if the attempt is not traced. */
  requesting(attempt: ObservedAttempt): TraceText | null
  settled(consumer: string, attempt: ObservedAttempt, outcome: AttemptOutcome, failure: Failure | null): void
  /** The engine has made an event a dead letter without a handler. */
  buried(consumer: string, channel: string): void
}

/**
 * The seam for telemetry: what a broker and its consumers tell of each publish and each attempt, and where trace contexts enter events.
 *
 * A broker that nobody observes has none, and pays one comparison. An observer must not throw, must call what it is given to call, once and at once,
 * and returns what that returned.
 */

import type { StoredEvent } from '../event/cloud-event.ts'
import type { Encodable } from '../event/encode.ts'
import type { TraceText } from '../event/trace-context.ts'
import type { Delivery, Emission } from './engine.ts'
import type { Failure } from './failure.ts'

/** How an attempt ended. `lost`: the event was not this instance's any more. */
export type AttemptOutcome = 'completed' | 'retried' | 'dead-lettered' | 'released' | 'lost'

/** An attempt at an event. */
export interface ObservedAttempt {
  readonly delivery: Delivery
  readonly emissions: readonly Emission[] | null
  /** For the observer's own use. */
  observed: unknown
}

export interface BrokerObserver {
  /** `perform` takes the trace contexts to be written into the events that have none: one for each event, or null for none. */
  publish<Result>(
    channel: string,
    events: readonly Encodable[],
    perform: (traces: readonly (TraceText | null)[] | null) => Promise<Result>,
  ): Promise<Result>
  /** Events of a publish were durable this long after the engine got them. */
  committed(channel: string, events: number, ms: number): void
  /** A handler is to be called, with one event or a batch. */
  handle(
    consumer: string,
    events: readonly StoredEvent[],
    attempts: readonly ObservedAttempt[],
    batch: boolean,
    handle: () => unknown,
  ): unknown
  /** A handler emits. Answers the trace context to be written into the event if it has none; null for its cause's. */
  emitting(attempt: ObservedAttempt, channel: string): TraceText | null
  settled(consumer: string, attempt: ObservedAttempt, outcome: AttemptOutcome, failure: Failure | null): void
  /** The engine gave an event up. */
  buried(consumer: string, channel: string): void
}

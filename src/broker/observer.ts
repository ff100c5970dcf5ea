/**
 * The seam for telemetry: a broker and its consumers report each publish and each attempt, and trace contexts enter
 * events here.
 *
 * A broker without an observer only pays one comparison. An observer must not throw. It must call the function that it
 * gets exactly once, synchronously, and return its result.
 */

import type { StoredEvent } from '../event/cloud-event.ts'
import type { Encodable } from '../event/encode.ts'
import type { TraceText } from '../event/trace-context.ts'
import type { Delivery, Emission } from './engine.ts'
import type { Failure } from './failure.ts'

/** How an attempt ended. `lost`: the event did not belong to this instance any more. */
export type AttemptOutcome = 'completed' | 'retried' | 'dead-lettered' | 'released' | 'lost'

/** An attempt at an event. */
export interface ObservedAttempt {
  readonly delivery: Delivery
  readonly emissions: readonly Emission[] | null
  /** For the observer's own use. */
  observed: unknown
}

export interface BrokerObserver {
  /** Call `perform` with the trace contexts for events that have none: one for each event, or null for no contexts. */
  publish<Result>(
    channel: string,
    events: readonly Encodable[],
    perform: (traces: readonly (TraceText | null)[] | null) => Promise<Result>,
  ): Promise<Result>
  /** Events of a publish were durable this long after the engine got them. */
  committed(channel: string, events: number, ms: number): void
  /** A handler is about to be called, with one event or a batch. */
  handle(
    consumer: string,
    events: readonly StoredEvent[],
    attempts: readonly ObservedAttempt[],
    batch: boolean,
    handle: () => unknown,
  ): unknown
  /**
   * Called before an emitted event is encoded. Returns the trace context for an event that has none. Null means: use
   * the trace context of the event that is being handled.
   */
  emitting(attempt: ObservedAttempt, channel: string): TraceText | null
  settled(consumer: string, attempt: ObservedAttempt, outcome: AttemptOutcome, failure: Failure | null): void
  /** The engine has made an event a dead letter without a handler. */
  buried(consumer: string, channel: string): void
}

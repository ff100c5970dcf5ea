/** What the observer of a broker asks of a tracer: it makes spans. */
import type { Failure } from '../broker/failure.ts'
import type { AttemptOutcome, HandlerCall, ObservedAttempt, Published, Traces } from '../broker/observer.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { TraceText } from '../event/trace-context.ts'

/** A publish that is traced, or whose events get something of the surrounding trace. */
export interface TracedPublish {
  /** What is to be published instead of the given events; null for just these. */
  readonly events: Published | null
  readonly traces: Traces
  /** `error` is null if the events were stored. */
  end(error: unknown): void
}

/** An attempt that has a span. */
export interface TracedAttempt {
  /** The attempt emits an event to a channel. Returns the trace context of the emission; null if it gets none. */
  emitting(channel: string): TraceText | null
  /** The trace context of the span. */
  context(): TraceText
  settled(attempt: ObservedAttempt, outcome: AttemptOutcome, failure: Failure | null): void
}

/** A traced call of a handler: one attempt, or a batch of them. */
export interface TracedHandling extends TracedAttempt, HandlerCall {}

/** Makes spans. Its methods return null for publishes and attempts that are not traced. They may throw. */
export interface Tracer {
  publish(channel: string, events: Published): TracedPublish | null
  handle(consumer: string, event: StoredEvent, attempt: ObservedAttempt): TracedHandling | null
  handleBatch(
    consumer: string,
    events: readonly StoredEvent[],
    attempts: readonly ObservedAttempt[],
  ): TracedHandling | null
  /** Events of one channel go to a client that pulls them. */
  receive(consumer: string, attempts: readonly ObservedAttempt[]): TracedAttempt | null
}

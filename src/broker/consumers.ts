/**
 * The part of the port that looks at a consumer and changes it from outside, whether or not it runs. A `reason` is for
 * an engine that records the actions (`Engine.recordsActions`); others do not use it.
 */
import type { ConsumerDescription, ConsumerPause, DeadLetter, DeadLetterQuery, EventPlace } from './description.ts'
import type { InspectedEvent, Inspection, RetryingEvent } from './inspection.ts'
import type { Position } from './position.ts'

/** What a rewind does with the state that a consumer keeps: nothing, or all of it is deleted. */
export type StateChoice = 'keep' | 'reset'

export interface Consumers {
  /** One consumer; null if no consumer of that name has begun. */
  describe(consumer: string): Promise<ConsumerDescription | null>
  /**
   * Move a consumer to a position, in one channel or (null) all of its streams. Deliveries in flight are revoked. If
   * the consumer keeps state, `state` says what happens to it.
   * @throws UNKNOWN_CONSUMER · UNKNOWN_CHANNEL · INVALID_OPTION when there is no stream of it to rewind ·
   * OFFSET_OUT_OF_RANGE
   */
  rewind(
    consumer: string,
    to: Position,
    channel: string | null,
    state: StateChoice | null,
    reason?: string,
  ): Promise<void>
  /**
   * Pause a consumer as a whole, in every process, also for instances that start later; null resumes it. Durable.
   * Deliveries in flight can still be settled.
   * @throws UNKNOWN_CONSUMER
   */
  setPause(consumer: string, pause: ConsumerPause | null, reason?: string): Promise<void>
  /**
   * Forget a consumer: position, retries, dead letters and pause.
   * @throws UNKNOWN_CONSUMER · INVALID_OPTION while it runs
   */
  remove(consumer: string, reason?: string): Promise<void>
  /**
   * Dead letters, the oldest first: within a channel in offset order; between channels, the letter that died first.
   * @throws UNKNOWN_CONSUMER
   */
  deadLetters(consumer: string, query: DeadLetterQuery): Promise<DeadLetter[]>
  /**
   * Give dead letters back to that consumer alone. Returns how many.
   * @throws UNKNOWN_CONSUMER · UNKNOWN_DEAD_LETTER when the query names an offset or id without a dead letter
   */
  redrive(consumer: string, query: DeadLetterQuery, reason?: string): Promise<number>
  /** Delete dead letters; events that wait behind them are delivered. Returns how many. @throws as `redrive` */
  dropDeadLetters(consumer: string, query: DeadLetterQuery, reason?: string): Promise<number>
  /**
   * Of these events, which were dead letters, those that were given back to the consumer and are not settled yet: they
   * wait, are in flight, or are tried again.
   * @throws UNKNOWN_CONSUMER
   */
  pending(consumer: string, events: readonly EventPlace[]): Promise<EventPlace[]>
  /**
   * The events that wait for another attempt, the soonest first; up to `limit`.
   * @throws UNKNOWN_CONSUMER
   */
  retries(consumer: string, limit: number): Promise<RetryingEvent[]>
  /**
   * What the consumer's instances in the asked process do and, if an event is given, where its delivery stands. Reads
   * the consumer's state in one log. Also for a consumer that never began.
   * @throws UNKNOWN_CHANNEL
   */
  inspect(consumer: string, event: InspectedEvent | null): Promise<Inspection>
}

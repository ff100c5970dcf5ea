/** What people do to a consumer from outside, whether or not it runs: the part of an engine that does it. */
import type { ConsumerDescription, ConsumerPause, DeadLetter, DeadLetterQuery } from './description.ts'
import type { Position } from './position.ts'

export interface Consumers {
  /** One consumer, or null where none of that name has begun. The cost does not depend on other consumers. */
  describe(consumer: string): Promise<ConsumerDescription | null>
  /**
   * Move a consumer to a position, in one channel or (null) all of its streams. Deliveries in hand are revoked.
   * @throws UNKNOWN_CONSUMER · UNKNOWN_CHANNEL · INVALID_OPTION when there is no stream of it to rewind · OFFSET_OUT_OF_RANGE
   */
  rewind(consumer: string, to: Position, channel: string | null): Promise<void>
  /**
   * Pause a consumer as a whole, wherever its instances run and whenever they start, or (null) let it go on. Durable. What is in hand may be settled.
   * @throws UNKNOWN_CONSUMER
   */
  setPause(consumer: string, pause: ConsumerPause | null): Promise<void>
  /** Forget a consumer: position, retries, dead letters and pause. @throws UNKNOWN_CONSUMER · INVALID_OPTION while it runs */
  remove(consumer: string): Promise<void>
  /**
   * Dead letters, the oldest first: within a channel in offset order, and of the channels' next ones that which died first.
   * @throws UNKNOWN_CONSUMER
   */
  deadLetters(consumer: string, query: DeadLetterQuery): Promise<DeadLetter[]>
  /**
   * Give dead letters back to that consumer alone; answers how many.
   * @throws UNKNOWN_CONSUMER · UNKNOWN_DEAD_LETTER when the query names one by offset or id, and there is none
   */
  redrive(consumer: string, query: DeadLetterQuery): Promise<number>
  /** Delete dead letters; events that wait behind them go on. Answers how many. @throws as `redrive` */
  dropDeadLetters(consumer: string, query: DeadLetterQuery): Promise<number>
}

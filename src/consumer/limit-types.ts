/** The types of a consumer's limits (clause 21). */
import type { Duration } from '../base/units.ts'
import type { StoredEvent } from '../event/cloud-event.ts'

interface Limit<Event> {
  /**
   * What is limited apart from each other: the events for which it returns the same text. An event for which it returns
   * `undefined` is not limited.
   * @default none: all events of the consumer together
   */
  readonly key?: (event: Event) => string | undefined
  /**
   * The name of the limit. Consumers that name the same limit share it.
   * @default a limit of this consumer alone
   */
  readonly share?: string
}

/** How many handlers run at once, over all instances. */
export interface ConcurrencyLimit<Event = StoredEvent> extends Limit<Event> {
  /** The largest number of handlers, 1 to 1,000,000. */
  readonly concurrency: number
}

/** How many attempts begin in a span of time, over all instances. The others wait. */
export interface RateLimit<Event = StoredEvent> extends Limit<Event> {
  /** The number of events in each `per`, 1 to 1,000,000. */
  readonly events: number
  /** The span. */
  readonly per: Duration
  /**
   * How many events may begin at once after a pause, 1 to `events`. The others follow one by one, `per / events` apart.
   * @default 1; above 100 events a second, as many as `events` and `per` give in 10 ms
   */
  readonly burst?: number
}

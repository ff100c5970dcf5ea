/** Requests and their replies (clause 22), as applications see them. */
import type { Duration } from '../base/units.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { AnyEventDefinition, OutputOf, TypeOf } from '../event/event.ts'
import type { ReplyProblem } from './replies.ts'

/** Of a request. */
export interface RequestOptions<Definition extends AnyEventDefinition = AnyEventDefinition> {
  /** How long to wait for the reply, from a millisecond to five minutes. @default '30s' */
  readonly timeout?: Duration
  /**
   * The events that may be the reply. Their schemas decode it, and another event is refused.
   * @default any event, as it is stored
   */
  readonly reply?: Definition | readonly Definition[]
  /** Ends the waiting. The request itself stays published. */
  readonly signal?: AbortSignal
}

/** Of a request with many replies. */
export interface RequestManyOptions<Definition extends AnyEventDefinition = AnyEventDefinition>
  extends RequestOptions<Definition> {
  /** Resolve when this many consumers have answered, with a reply or a problem. @default 10,000 */
  readonly answers?: number
}

/** A consumer that did not reply, because it gave up on the request. */
export interface RequestProblem {
  readonly consumer: string
  readonly problem: ReplyProblem
}

/** The answers to a request with many replies, in the order in which they came. */
export interface Replies<Event = StoredEvent> {
  readonly replies: readonly Event[]
  readonly problems: readonly RequestProblem[]
}

/** What a broker waits for now, and how many replies came for which nothing waited any more. */
export interface RequestCounts {
  readonly waiting: number
  readonly late: number
}

/** The event that a reply is. */
export type ReplyOf<Definition extends AnyEventDefinition> = [AnyEventDefinition] extends [Definition]
  ? StoredEvent
  : Definition extends AnyEventDefinition
    ? StoredEvent<TypeOf<Definition>, OutputOf<Definition>>
    : never

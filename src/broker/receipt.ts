/** What publishing answers. */

/** An event that is in its channel. */
export interface StoredReceipt {
  readonly channel: string
  readonly id: string
  /** Its offset in the channel. */
  readonly offset: number
  /**
   * The id was published before within the channel's window: nothing was stored, and `offset` is that of the first
   * event.
   */
  readonly duplicate: boolean
  readonly dueAtMs?: undefined
}

/** A delayed event (clause 7). It has no offset before it is due. */
export interface ScheduledReceipt {
  readonly channel: string
  readonly id: string
  readonly offset: null
  /** When it is due, in milliseconds since the epoch. */
  readonly dueAtMs: number
  /** A delayed event with this id exists already: nothing was stored, and `dueAtMs` is the time of that event. */
  readonly duplicate: boolean
}

/**
 * Where an event is: in its channel, with its `offset`, or delayed, with `dueAtMs` and `offset: null`. For a duplicate
 * it says where the first event is, whether or not this one was delayed.
 */
export type Receipt = StoredReceipt | ScheduledReceipt

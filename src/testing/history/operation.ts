/**
 * The operations of a history: what producers asked and were answered, what consumers and readers received, and how
 * handlers ended.
 *
 * A history is plain data (one JSON line per operation), so that processes that are killed can write it and another
 * process can check it. Times are numbers that increase over all processes: milliseconds of one machine are good
 * enough, and equal times keep the order of the list.
 */

interface Base {
  /**
   * The producer, the instance of a consumer, or the reader. A process that was killed and started again has another
   * name.
   */
  readonly process: string
  readonly time: number
}

/**
 * `invoke`: it was begun. `ok`: it was acknowledged. `fail`: it was refused and did not happen. `unknown`: its outcome
 * is not known.
 */
export type Outcome = 'invoke' | 'ok' | 'fail' | 'unknown'

/** A publish. `value` is unique in the history. */
export interface Send extends Base {
  readonly action: 'send'
  readonly outcome: Outcome
  readonly channel: string
  readonly key: string | null
  readonly value: string
  /** Known with `ok`, unless the event was delayed. */
  readonly offset: number | null
}

/** An event given to a handler or a reader. */
export interface Poll extends Base {
  readonly action: 'poll'
  /** `null` for a reader, which reads in offset order and does not consume. */
  readonly consumer: string | null
  readonly channel: string
  readonly key: string | null
  readonly offset: number
  readonly value: string
  /** Only for a consumer. */
  readonly attempt?: number
  /** It came again after a redrive or a rewind, so earlier completions do not count. */
  readonly again?: boolean
}

/**
 * The end of a handler: `invoke` just before it returns or throws; `ok` when it succeeded; `fail` when the attempt
 * failed; `unknown` when its lease was lost or its process killed.
 */
export interface Done extends Base {
  readonly action: 'done'
  readonly outcome: Outcome
  readonly consumer: string
  readonly channel: string
  readonly offset: number
  readonly value: string
  readonly attempt: number
}

/** A handler emitted an event, which exists if, and only if, this attempt at `cause` succeeds. */
export interface Emit extends Base {
  readonly action: 'emit'
  readonly consumer: string
  /** The value of the handled event. */
  readonly cause: string
  readonly attempt: number
  readonly channel: string
  readonly key: string | null
  /** Unique to the attempt. */
  readonly value: string
  /** Distinguishes the emissions of one attempt. It is the same in every attempt. */
  readonly slot: string
}

/** A consumer gave up on an event. */
export interface Dead extends Base {
  readonly action: 'dead'
  readonly consumer: string
  readonly channel: string
  readonly offset: number
  readonly value: string
}

/** A process ended, normally or not: its running handlers are over. */
export interface End extends Base {
  readonly action: 'end'
}

/**
 * A consumer (or, with `null`, a reader) was given everything: what it has not seen of these channels by now, it will
 * never see.
 */
export interface Drain extends Base {
  readonly action: 'drain'
  readonly consumer: string | null
  readonly channels: readonly string[]
}

export type Operation = Send | Poll | Done | Emit | Dead | End | Drain

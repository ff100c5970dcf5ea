/**
 * What was done to a broker, as a list of operations: what producers asked for and were told, what consumers and readers were given, and how handlers ended.
 *
 * A history is plain data (one JSON line an operation), so that processes that are killed can write it and another can check it.
 * Times are any numbers that grow in every process together: milliseconds of one machine do, with equal ones taken in the order of the list.
 */

interface Base {
  /** Who did it: one producer, one instance of a consumer, one reader. A process that was killed and started again is another process. */
  readonly process: string
  readonly time: number
}

/** What came of it: it was begun, it was acknowledged, it was refused and did not happen, or nobody knows. */
export type Outcome = 'invoke' | 'ok' | 'fail' | 'unknown'

/** A publish. `value` is unique in the history. */
export interface Send extends Base {
  readonly action: 'send'
  readonly outcome: Outcome
  readonly channel: string
  readonly key: string | null
  readonly value: string
  /** Known with `ok`, unless it was delayed. */
  readonly offset: number | null
}

/** An event handed to a handler, or given to a reader. */
export interface Poll extends Base {
  readonly action: 'poll'
  /** `null` for a reader, which reads in offset order and does not consume. */
  readonly consumer: string | null
  readonly channel: string
  readonly key: string | null
  readonly offset: number
  readonly value: string
  /** Of a consumer. */
  readonly attempt?: number
  /** It came back from the dead letters, or after a rewind: what was done before counts no more. */
  readonly again?: boolean
}

/** A handler's end: `invoke` just before it returns or throws; `ok` when it succeeded, `fail` when the attempt failed, `unknown` when its lease was lost or its process killed. */
export interface Done extends Base {
  readonly action: 'done'
  readonly outcome: Outcome
  readonly consumer: string
  readonly channel: string
  readonly offset: number
  readonly value: string
  readonly attempt: number
}

/** A handler emitted: an event that exists when, and only when, this attempt at `cause` succeeds. */
export interface Emit extends Base {
  readonly action: 'emit'
  readonly consumer: string
  /** The value of the event that was handled. */
  readonly cause: string
  readonly attempt: number
  readonly channel: string
  readonly key: string | null
  /** Unique to the attempt. */
  readonly value: string
  /** Tells apart what one attempt emits: the same in every attempt. */
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

/** A process ended, by itself or not: what its handlers had in hand is over. */
export interface End extends Base {
  readonly action: 'end'
}

/** A consumer (or, with `null`, a reader) was given all that there was: what it has not seen of these channels by now it will never see. */
export interface Drain extends Base {
  readonly action: 'drain'
  readonly consumer: string | null
  readonly channels: readonly string[]
}

export type Operation = Send | Poll | Done | Emit | Dead | End | Drain

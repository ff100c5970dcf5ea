/** The port of `outboxOf()` to one dialect. */

/** An outbox at one moment. */
export interface OutboxDescription {
  /** Committed events that are not published and not held, counted up to 100,000. */
  readonly waiting: number
  /** How long the oldest of them has waited, in milliseconds; null if there is none. */
  readonly waitingMs: number | null
  /** Events that are tried again after a failed attempt. */
  readonly retrying: number
  /** Events that wait behind another one of their key. */
  readonly behind: number
  readonly deadLetters: number
  /** Whether a relay has the lease. */
  readonly relayed: boolean
}

/** An event of an outbox that was given up on. */
export interface OutboxDeadLetter {
  readonly channel: string
  readonly id: string
  readonly type: string
  readonly key: string | null
  /** The event, as CloudEvents JSON. */
  readonly event: string
  readonly attempts: number
  /** When it was put in. */
  readonly putAt: Date
  /** When the last attempt failed. */
  readonly failedAt: Date
  readonly code: string
  readonly message: string
}

/** A checked query; null is "any". */
export interface DeadQuery {
  readonly channel: string | null
  readonly key: string | null
  readonly id: string | null
  readonly limit: number
}

/** The statements for one dialect. */
export interface OutboxFacts {
  describe(): Promise<OutboxDescription>
  list(query: DeadQuery): Promise<OutboxDeadLetter[]>
  /** Redrive them, or drop them. */
  change(redrive: boolean, query: DeadQuery): Promise<number>
}

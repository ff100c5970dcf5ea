/**
 * The port of the relay to the outbox's tables.
 *
 * Events are in lanes. Within a lane they are in the order of the commits of their transactions, and a cursor says how
 * far the lane is published. What could not be published is held: copied to a table of its own, so that the lane goes
 * on. Only the relay with the lease advances cursors.
 */

/** A place in a lane: the position of the transaction's commit, and the event's number within the transaction. */
export interface Cursor {
  readonly pos: number
  readonly seq: number
}

export type Cursors = ReadonlyMap<number, Cursor>

/** How far the relay is, as the database has it. Each time that it is stored, it has another number. */
export interface Progress {
  readonly n: number
  readonly cursors: Cursors
}

/** An event of the outbox, as it was put in. */
export interface OutboxEvent {
  readonly channel: string
  readonly id: string
  readonly type: string
  readonly key: string | null
  readonly dueAtMs: number | null
  readonly text: string
  /** When it was put in, in milliseconds since the epoch. */
  readonly putAtMs: number
}

/** With its place. */
export interface OutboxRow extends OutboxEvent {
  readonly lane: number
  readonly cursor: Cursor
}

/** `retry`: tried again later. `behind`: waits behind one of its key. `dead`: given up, until it is redriven. */
export type HeldState = 'retry' | 'behind' | 'dead'

export interface HeldFailure {
  readonly code: string
  readonly message: string
}

/** What becomes of an event that was not published. */
export interface Holding {
  readonly state: HeldState
  /** Attempts that have failed. */
  readonly attempts: number
  /** Until the next attempt. */
  readonly delayMs: number
  readonly failure: HeldFailure | null
}

/** A held event. */
export interface HeldRow extends OutboxEvent {
  readonly n: number
  readonly attempts: number
}

export interface ChannelKey {
  readonly channel: string
  readonly key: string
}

/** The right of one relay to publish, until others may take it. A later one has a higher fence. */
export interface Lease {
  readonly relay: string
  readonly fence: number
}

export interface FetchLimits {
  readonly perLane: number
  readonly rows: number
  /** Bytes of events together; one larger event comes alone. */
  readonly bytes: number
}

export interface OutboxStore {
  /** Take or renew the lease. Null while another relay has it. */
  lease(relay: string, leaseMs: number): Promise<Lease | null>
  /** Give the lease back. */
  release(lease: Lease): Promise<void>
  progress(): Promise<Progress>
  /** Events after the cursors, in the order of the commits within each lane: some, unless there are none. */
  fetch(cursors: Cursors, limits: FetchLimits): Promise<readonly OutboxRow[]>
  /**
   * Store the cursors, and hold events. Answers the number of this progress. Null, and nothing is stored, if the lease
   * was lost, or if the newest progress in the database is not `after`: the database may have gone back.
   */
  advance(
    lease: Lease,
    after: number,
    cursors: Cursors,
    held: readonly (OutboxEvent & Holding)[],
  ): Promise<number | null>
  /** Those of the keys of which an event is held. */
  heldOf(keys: readonly ChannelKey[]): Promise<readonly ChannelKey[]>
  /** The held events whose next attempt is due, the oldest first. */
  due(limits: FetchLimits): Promise<readonly HeldRow[]>
  /**
   * Delete held events that are published, and change others after a failed attempt. Behind each deleted one, the next
   * of its key is due at once. False, and nothing is stored, if the lease was lost.
   */
  settle(lease: Lease, published: readonly HeldRow[], failed: readonly (HeldRow & Holding)[]): Promise<boolean>
  /** Free the space of published events. */
  tidy(cursors: Cursors): Promise<void>
}

/** Cursors as JSON. */
export function cursorsText(cursors: Cursors): string {
  return JSON.stringify([...cursors].map(([lane, { pos, seq }]) => ({ lane, pos, seq })))
}

/** Cursors from such a text. */
export function cursorsIn(text: string): Cursors {
  const lanes = JSON.parse(text) as readonly (Cursor & { readonly lane: number })[]
  return new Map(lanes.map(({ lane, pos, seq }) => [lane, { pos, seq }]))
}

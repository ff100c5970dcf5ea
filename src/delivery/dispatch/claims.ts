/**
 * Clause 11 across a change of owners: an instance that held events under the engine before, and still works on them,
 * keeps them under the next engine.
 *
 * Those events are suspects of the next engine (clause 5). For a while suspects do not run; in that time the
 * instances that hold them claim them. A claimed event is delivered to its claimant only, with the attempt that it
 * was in.
 *
 * Before a claimed event, in its key, there may be an event whose completion was lost with the engine before. That
 * event has to be handled again, and not while another of its key is in flight (clause 4): it waits until the claimed
 * event is settled. Because that event comes first, the claimed event is then handled once more, after it.
 */
import type { ClaimOutcome, HeldClaim } from '../../broker/engine.ts'
import type { EventBlock } from '../delivery-log.ts'
import type { DeliveringCursor, HoldingInstance } from './held-delivery.ts'
import type { Lane } from './lane.ts'

/** The claimed events of a cursor that are not delivered yet. For each, its claimant keeps one credit. */
export class Claims {
  readonly #byOffset = new Map<number, HoldingInstance>()

  get size(): number {
    return this.#byOffset.size
  }

  /** Whether an event is claimed by an instance that can take it now. */
  get anyReady(): boolean {
    for (const claimant of this.#byOffset.values()) if (claimant.isReady) return true
    return false
  }

  get offsets(): Iterable<number> {
    return this.#byOffset.keys()
  }

  has(offset: number): boolean {
    return this.#byOffset.has(offset)
  }

  of(offset: number): HoldingInstance | undefined {
    return this.#byOffset.get(offset)
  }

  add(offset: number, claimant: HoldingInstance): void {
    this.#byOffset.set(offset, claimant)
    claimant.reserve()
  }

  /** The event is delivered. Returns whether it was claimed: its delivery uses the reserved credit. */
  use(offset: number): boolean {
    return this.#byOffset.size > 0 && this.#byOffset.delete(offset)
  }

  /** The event will not be delivered to its claimant. */
  cancel(offset: number): void {
    const claimant = this.#byOffset.get(offset)
    if (claimant === undefined) return
    this.#byOffset.delete(offset)
    claimant.unreserve()
  }

  /** The same for all offsets from `from` up to, but not including, `end`. */
  cancelRange(from: number, end: number): void {
    if (this.#byOffset.size === 0) return
    for (const offset of [...this.#byOffset.keys()]) if (offset >= from && offset < end) this.cancel(offset)
  }
}

/**
 * Reserve events for an instance that held them under the engine before, as far as no other instance has had them
 * since.
 */
export function claimEvents(
  instance: HoldingInstance,
  cursors: Iterable<DeliveringCursor>,
  claims: readonly HeldClaim[],
): ClaimOutcome[] {
  const inFlight = new Map<DeliveringCursor, ReadonlySet<number>>()
  return claims.map(({ channel, offset, attempt }) => {
    const cursor = [...cursors].find(({ log }) => log.name === channel)
    if (cursor === undefined) return 'lost'
    let offsets = inFlight.get(cursor)
    if (offsets === undefined) {
      offsets = cursor.offsetsInFlight()
      inFlight.set(cursor, offsets)
    }
    return offsets.has(offset) ? 'lost' : cursor.claim(offset, attempt, instance)
  })
}

interface ClaimedEvent {
  readonly instance: HoldingInstance
  readonly block: EventBlock
  /** The event's index in the block. */
  readonly index: number
  readonly offset: number
}

/** What `claimedIn` needs of a cursor. */
export interface ClaimLookup {
  readonly cursor: DeliveringCursor
  readonly claims: Claims
  claimant(offset: number): HoldingInstance | undefined
  /** Returns undefined while the block is being read. */
  blockOf(offset: number): EventBlock | undefined
}

/**
 * The waiting events of a lane that were claimed and can be delivered to their claimants, whatever waits before them.
 * Each is removed from the lane.
 */
export function* claimedIn(
  lane: Lane<HoldingInstance>,
  { cursor, claims, claimant, blockOf }: ClaimLookup,
): Generator<ClaimedEvent> {
  for (const offset of lane.offsets) {
    const instance = claimant(offset)
    if (instance?.isReady !== true) continue
    // If another instance holds the key, the claim came late: the event waits like any other.
    if (lane.inFlight > 0 && (lane.holder !== instance || lane.inFlight >= instance.spec.perKey)) continue
    if (lane.key !== null && !instance.keys.mayTake(lane.key, cursor)) continue
    const block = blockOf(offset)
    if (block === undefined) continue
    const index = offset - block.firstOffset
    if (block.holes(index) > 0) claims.cancel(offset)
    else {
      lane.remove(offset)
      yield { instance, block, index, offset }
    }
  }
}

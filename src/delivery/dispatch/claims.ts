/**
 * Clause 11 across a change of owners: who held events under an engine that is gone, and lives, keeps them under the next.
 *
 * The events that were in hand are the next engine's suspects (clause 5), which do not run for a while; in that time their holders claim them. What is
 * claimed is handed to its holder and nobody else, with the attempt that it was in.
 *
 * Before it, in its key, may stand an event whose completion went down with the engine that is gone. That one is to be handled again, and not while
 * another of its key is in hand (clause 4): it waits until the claimed one is settled. As it comes before, that is then handled once more behind it.
 */
import type { ClaimOutcome, HeldClaim } from '../../broker/engine.ts'
import type { Cursor } from '../cursor/cursor.ts'
import type { EventBlock } from '../delivery-log.ts'
import type { Instance } from './instance.ts'
import type { Lane } from './lane.ts'
import type { Takers } from './takers.ts'

/** Keep these for an instance, as far as nobody else has had them since. */
export function claimEvents(instance: Instance, claims: readonly HeldClaim[]): ClaimOutcome[] {
  const inHands = new Map<Cursor, ReadonlySet<number>>()
  return claims.map((claim) => {
    const cursor = [...instance.cursors].find(({ log }) => log.name === claim.channel)
    if (cursor === undefined) return 'lost'
    let held = inHands.get(cursor)
    if (held === undefined) {
      held = new Set(cursor.takers.held().offsets)
      inHands.set(cursor, held)
    }
    return held.has(claim.offset) ? 'lost' : claimOne(cursor, instance, claim)
  })
}

function claimOne(cursor: Cursor, instance: Instance, { offset, attempt }: HeldClaim): ClaimOutcome {
  // What is kept among the dead letters is handed out from there.
  if (cursor.done.has(offset)) return cursor.box.isLive(offset) ? 'lost' : 'done'
  if (offset >= cursor.log.committed || !cursor.state.claim(offset, attempt)) return 'lost'
  cursor.takers.claims.set(offset, instance)
  instance.free--
  // Where its lane waits for it to run alone, it waits no longer; and it may stand in its lane behind others.
  cursor.runAlone(offset)
  cursor.wake()
  return 'kept'
}

interface Claimed {
  readonly instance: Instance
  readonly block: EventBlock
  /** Its place in the block. */
  readonly index: number
  readonly offset: number
}

/**
 * The waiting events of a lane that were claimed and can be handed to who has them, whatever stands before them; they are out of the lane then.
 * `blockOf` answers undefined while the block is being read.
 */
export function* claimedIn(
  lane: Lane,
  takers: Takers,
  blockOf: (offset: number) => EventBlock | undefined,
): Generator<Claimed> {
  for (const offset of lane.offsets) {
    const instance = takers.claimant(offset)
    // Where its key is in others' hands, it was claimed late: it waits like any other.
    if (instance?.ready !== true || (lane.busy > 0 && (lane.holder !== instance || lane.busy >= instance.spec.perKey)))
      continue
    if (lane.key !== null && !instance.keys.mayTake(lane.key, takers.cursor)) continue
    const block = blockOf(offset)
    if (block === undefined) continue
    const index = offset - block.firstOffset
    if (block.holes(index) > 0) takers.unclaim(offset)
    else {
      lane.remove(offset)
      yield { instance, block, index, offset }
    }
  }
}

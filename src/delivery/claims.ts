/**
 * Clause 11 across a change of owners: who held events under an engine that is gone, and lives, keeps them under the next.
 *
 * The events that were in hand are the next engine's suspects (clause 5), which do not run for a while; in that time their holders claim them. What is
 * claimed is handed to its holder and nobody else, with the attempt that it was in.
 */
import type { ClaimOutcome, HeldClaim } from '../broker/engine.ts'
import type { Cursor } from './cursor.ts'
import type { Instance } from './instance.ts'

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
  if (cursor.done.has(offset)) return 'done'
  if (offset >= cursor.log.committed || !cursor.state.claim(offset, attempt)) return 'lost'
  cursor.takers.claims.set(offset, instance)
  instance.free--
  // Where its lane waits for it to run alone, it waits no longer.
  cursor.runAlone(offset)
  cursor.pumpSoon()
  return 'kept'
}

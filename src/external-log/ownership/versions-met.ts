/**
 * In a deployment, members with old and new code work for one consumer. An event in a version that no instance of its
 * member knows would wait there, in that member's partition. So a member that met such an event steps back: as long as
 * another member that knows the version lives and works, it takes no partitions, as if it were paused.
 */
import { type Knowing, knows } from '../../delivery/dispatch/version-waits.ts'
import type { TypeVersion } from '../../event/event-version.ts'
import type { MemberNote } from './member-note.ts'

/** Versions that are remembered: of more, the first ones. */
const MET_MAX = 100

/** Versions above 1 that the instances of a member know, by type: the newest of each. */
export function versionsOf(instances: Iterable<Knowing>): Record<string, number> {
  const newest: Record<string, number> = {}
  for (const { spec } of instances)
    for (const [type, version] of Object.entries(spec.versions ?? {}))
      if (version > 1) newest[type] = Math.max(newest[type] ?? 0, version)
  return newest
}

export class VersionsMet {
  readonly #met = new Map<string, TypeVersion>()

  /** The versions for which events wait in this member. */
  add(needs: readonly TypeVersion[]): void {
    for (const need of needs) if (this.#met.size < MET_MAX) this.#met.set(`${need.type} ${need.version}`, need)
  }

  /** Whether another member knows a version that was met, and no instance here does. */
  isBehind(instances: Iterable<Knowing>, others: Iterable<Pick<MemberNote, 'idle' | 'versions'>>): boolean {
    if (this.#met.size === 0) return false
    const own = [...instances]
    const working = [...others].filter(({ idle }) => !idle)
    return [...this.#met.values()].some(
      (need) => !own.some((instance) => knows(instance, need)) && working.some((note) => knownTo(note, need)),
    )
  }
}

/** A note does not list the types of which a member knows the first version only. */
function knownTo({ versions = {} }: Pick<MemberNote, 'versions'>, { type, version }: TypeVersion): boolean {
  const newest = Object.hasOwn(versions, type) ? versions[type] : undefined
  return typeof newest === 'number' && newest >= version
}

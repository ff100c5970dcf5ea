/**
 * Events in a version that the instances attached so far do not know. Such an event waits for an instance that knows
 * it: the later events of its key wait behind it (clause 4), and no attempt is counted.
 *
 * An engine does not look at versions. An instance that gets such an event hands it back, and is not offered it again.
 * When another instance is attached, the events that wait are offered to it. Nothing of this is stored: the next owner
 * of the data delivers the event once more, and its instance hands it back.
 */
import type { TypeVersion } from '../../event/event-version.ts'

/** An instance, as far as it matters which versions it knows. */
export interface Knowing {
  /** The newest version that it knows, by type. It takes every version of the other types. */
  readonly spec: { readonly versions?: Readonly<Record<string, number>> | undefined }
}

interface Wait {
  readonly needs: TypeVersion
  readonly refusedBy: WeakSet<Knowing>
}

export class VersionWaits {
  readonly #waits = new Map<number, Wait>()
  /** By offset: looks at the event again. */
  #parked = new Map<number, () => void>()

  /** How many events have been handed back and are not settled. */
  get size(): number {
    return this.#waits.size
  }

  /** What the events need, each type and version once. */
  get needs(): TypeVersion[] {
    const needs = new Map([...this.#waits.values()].map(({ needs: each }) => [`${each.type} ${each.version}`, each]))
    return [...needs.values()]
  }

  /** What the event needs; null where it was not handed back. */
  needOf(offset: number): TypeVersion | null {
    return this.#waits.get(offset)?.needs ?? null
  }

  /** The instance does not know the event's version. */
  refused(offset: number, by: Knowing, needs: TypeVersion): void {
    const wait = this.#waits.get(offset) ?? { needs, refusedBy: new WeakSet() }
    wait.refusedBy.add(by)
    this.#waits.set(offset, wait)
  }

  /** Whether the instance cannot take the event. */
  isRefused(offset: number, by: Knowing): boolean {
    const wait = this.#waits.get(offset)
    if (wait === undefined) return false
    return wait.refusedBy.has(by) || !knows(by, wait.needs)
  }

  /** Run `look` when another instance is attached. */
  park(offset: number, look: () => void): void {
    this.#parked.set(offset, look)
  }

  /** Another instance is attached: look at all events that wait. */
  lookAgain(): void {
    const parked = this.#parked
    if (parked.size === 0) return
    this.#parked = new Map()
    for (const look of parked.values()) look()
  }

  /** The event is settled. */
  clear(offset: number): void {
    if (this.#waits.size === 0) return
    this.#waits.delete(offset)
    this.#parked.delete(offset)
  }

  /** The same for all offsets from `from` up to, but not including, `end`. */
  clearRange(from: number, end: number): void {
    for (const offset of [...this.#waits.keys()]) if (offset >= from && offset < end) this.clear(offset)
  }

  clearAll(): void {
    this.#waits.clear()
    this.#parked.clear()
  }
}

/** Whether an instance may know a version, as far as it says. */
export function knows({ spec }: Knowing, { type, version }: TypeVersion): boolean {
  const newest = spec.versions
  return newest === undefined || !Object.hasOwn(newest, type) || (newest[type] as number) >= version
}

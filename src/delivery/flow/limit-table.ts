/**
 * One limit of clause 21 by its name: what its keys use of it, and which events wait for it. Consumers that name the
 * same limit share the table, so it counts the events of all of them.
 *
 * A waiting event is known by its place. When a key has room, as many of its events are woken as there is room for, in
 * the order in which they began to wait. A woken event asks again, and may find that it no longer may or must begin;
 * so the others are looked at once more in the next turn of the event loop.
 */
import { afterThis, nextTurn } from '../../base/timers.ts'
import type { LimitSize, LimitState } from '../../broker/limits.ts'

/** Looks at the event again. */
export type Wake = () => void

/** The events that wait for a key of a limit, in order. */
export class Waiting {
  readonly #byPlace = new Map<string, Wake>()

  get size(): number {
    return this.#byPlace.size
  }

  has(place: string): boolean {
    return this.#byPlace.has(place)
  }

  add(place: string, wake: Wake): void {
    this.#byPlace.set(place, wake)
  }

  remove(place: string): void {
    this.#byPlace.delete(place)
  }

  /** Wake up to `count` of them at the end of this task. They wait no longer. */
  wake(count: number): void {
    let left = count
    for (const [place, wake] of this.#byPlace) {
      if (left-- <= 0) return
      this.#byPlace.delete(place)
      afterThis(wake)
    }
  }
}

/** A limit that has no room. */
export interface Held {
  readonly limit: string
  readonly kind: LimitState['kind']
  /** When it has room again at the earliest; null where that depends on handlers. */
  readonly dueAtMs: number | null
}

export interface LimitTable {
  readonly name: string
  readonly kind: LimitState['kind']
  readonly size: LimitSize
  /** How many keys use it. */
  readonly keys: number
  /** How many events wait for it. */
  readonly waiting: number
  resize(size: LimitSize): void
  /** Whether an event of the key may begin now. */
  hasRoom(key: string): boolean
  /** This limit, for a key that has no room. */
  held(key: string): Held
  /** Call `wake` when the key may have room. A second call for a place replaces the first. */
  wait(key: string, place: string, wake: Wake): void
  /** An event of the key begins. `counted`: it began before, under an earlier owner of the data. */
  begin(key: string, counted: boolean): void
  /** An event of the key has ended. */
  end(key: string): void
  /** What holds back the event of a place; null where it does not wait here. */
  heldBy(place: string): Held | null
}

/** After a wake: look once more in the next turn, until nobody waits or there is no room. */
export function wakeAll(waiting: Waiting, room: () => number): void {
  const free = room()
  if (free <= 0 || waiting.size === 0) return
  waiting.wake(free)
  if (waiting.size > 0) nextTurn(() => wakeAll(waiting, room))
}

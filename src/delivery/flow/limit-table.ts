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

interface Waiter {
  readonly ticket: number
  readonly wake: Wake
}

/** Woken places whose tickets are kept, at most: some of them never ask again. */
const WOKEN_MAX = 1000

/**
 * The places that wait for a key of a limit, in the order of their tickets. A place that was woken and found no room
 * keeps its ticket, so that it is before those that came later.
 */
export class Waiting {
  readonly #byPlace = new Map<string, Waiter>()
  /** Places that wait again with a ticket from before. They are before all others. */
  readonly #again = new Map<string, Waiter>()
  readonly #woken = new Map<string, number>()
  #tickets = 0

  get size(): number {
    return this.#byPlace.size + this.#again.size
  }

  /** Whether nothing waits, and nothing that was woken may wait again. */
  get idle(): boolean {
    return this.size === 0 && this.#woken.size === 0
  }

  has(place: string): boolean {
    return this.#byPlace.has(place) || this.#again.has(place)
  }

  add(place: string, wake: Wake): void {
    const before = this.#byPlace.get(place) ?? this.#again.get(place)
    const kept = before?.ticket ?? this.#woken.get(place)
    const waiter = { ticket: kept ?? ++this.#tickets, wake }
    if (kept === undefined || this.#byPlace.has(place)) this.#byPlace.set(place, waiter)
    else this.#again.set(place, waiter)
  }

  /** An event of the place has begun. It is after all others when it waits again. */
  served(place: string): void {
    this.#woken.delete(place)
    this.#byPlace.delete(place)
    this.#again.delete(place)
  }

  /** Wake up to `count` of them at the end of this task. They wait no longer. */
  wake(count: number): void {
    let left = count
    const again = this.#again.size > 1 ? [...this.#again].sort(([, x], [, y]) => x.ticket - y.ticket) : [...this.#again]
    for (const [place, waiter] of again) if (left-- > 0) this.#wake(this.#again, place, waiter)
    for (const [place, waiter] of this.#byPlace) {
      if (left-- <= 0) return
      this.#wake(this.#byPlace, place, waiter)
    }
  }

  #wake(from: Map<string, Waiter>, place: string, { ticket, wake }: Waiter): void {
    from.delete(place)
    if (this.#woken.size >= WOKEN_MAX) this.#woken.clear()
    this.#woken.set(place, ticket)
    afterThis(wake)
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
  /**
   * An event of the key begins, from a place that may have waited. `counted`: it began before, under an earlier owner
   * of the data.
   */
  begin(key: string, place: string, counted: boolean): void
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

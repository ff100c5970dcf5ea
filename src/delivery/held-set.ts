/**
 * The deliveries in one instance's hands.
 *
 * An array in which each delivery knows its place, and not a Set: a Set makes a new table every few adds and removes, and its old tables,
 * dead but not yet collected, keep all that was in them alive. No order is kept.
 */

/** What knows its place in the set that it is in. */
export interface Placed {
  place: number
}

export class HeldSet<Held extends Placed> implements Iterable<Held> {
  readonly #places: (Held | null)[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  add(delivery: Held): void {
    delivery.place = this.#size
    this.#places[this.#size++] = delivery
  }

  delete(delivery: Held): void {
    const { place } = delivery
    if (this.#places[place] !== delivery) return
    const last = this.#places[--this.#size] as Held
    this.#places[place] = last
    last.place = place
    this.#places[this.#size] = null
  }

  clear(): void {
    this.#places.length = 0
    this.#size = 0
  }

  /** Those held now: it may change meanwhile. */
  [Symbol.iterator](): IterableIterator<Held> {
    return (this.#places.slice(0, this.#size) as Held[])[Symbol.iterator]()
  }
}

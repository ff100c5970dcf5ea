/**
 * The deliveries in one instance's hands.
 *
 * An array in which each delivery knows its place, and not a Set: a Set makes a new table every few adds and removes, and its old tables,
 * dead but not yet collected, keep all that was in them alive. No order is kept.
 */
import type { HeldDelivery } from './held-delivery.ts'

export class HeldSet implements Iterable<HeldDelivery> {
  readonly #places: (HeldDelivery | null)[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  add(delivery: HeldDelivery): void {
    delivery.place = this.#size
    this.#places[this.#size++] = delivery
  }

  delete(delivery: HeldDelivery): void {
    const { place } = delivery
    if (this.#places[place] !== delivery) return
    const last = this.#places[--this.#size] as HeldDelivery
    this.#places[place] = last
    last.place = place
    this.#places[this.#size] = null
  }

  /** Those held now: it may change meanwhile. */
  [Symbol.iterator](): IterableIterator<HeldDelivery> {
    return (this.#places.slice(0, this.#size) as HeldDelivery[])[Symbol.iterator]()
  }
}

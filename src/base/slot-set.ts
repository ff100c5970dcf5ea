/**
 * A set of objects as an array in which each object stores its own slot. The order of the objects is not kept.
 *
 * It replaces a `Set` where objects are added and removed for each event: a `Set` makes a new table every few
 * changes, and its old tables keep the removed objects alive until they are collected.
 */

/** An object that records its own index in a `SlotSet`. It can be in one `SlotSet` at a time. */
export interface Slotted {
  slot: number
}

export class SlotSet<Item extends Slotted> implements Iterable<Item> {
  readonly #slots: (Item | null)[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  add(item: Item): void {
    item.slot = this.#size
    this.#slots[this.#size++] = item
  }

  delete(item: Item): void {
    const { slot } = item
    if (this.#slots[slot] !== item) return
    const last = this.#slots[--this.#size] as Item
    this.#slots[slot] = last
    last.slot = slot
    this.#slots[this.#size] = null
  }

  clear(): void {
    this.#slots.length = 0
    this.#size = 0
  }

  /** Iterates over a copy: the set may change meanwhile. */
  [Symbol.iterator](): IterableIterator<Item> {
    return (this.#slots.slice(0, this.#size) as Item[])[Symbol.iterator]()
  }
}

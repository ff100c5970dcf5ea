/**
 * The deliveries of a session by their numbers. Numbers are consecutive and are settled roughly in order, so a window
 * over the numbers holds them.
 *
 * A delivery that stays unsettled for long is moved from the window to a map. So one slow event does not keep the
 * entries of all later ones allocated.
 */
import type { Delivery } from '../../broker/engine.ts'

/** The window may have `SLOTS_MIN` slots, or `SLOTS_EACH` times the number of deliveries, whichever is more. */
const SLOTS_MIN = 1024
const SLOTS_EACH = 4

export class InFlightDeliveries {
  /** The number of the window's first slot. Numbers wrap at 2³². */
  #first = 0
  #window: (Delivery | undefined)[] = []
  readonly #left = new Map<number, Delivery>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Add a delivery and return its number. */
  add(delivery: Delivery): number {
    if (this.#size === 0) {
      this.#first = (this.#first + this.#window.length) >>> 0
      this.#window = []
    } else if (this.#window.length >= SLOTS_MIN && this.#window.length > SLOTS_EACH * this.#size) this.#tidy()
    this.#size++
    return (this.#first + this.#window.push(delivery) - 1) >>> 0
  }

  /** The delivery with this number. */
  get(number: number): Delivery | undefined {
    const slot = (number - this.#first) >>> 0
    return slot < this.#window.length ? this.#window[slot] : this.#left.get(number)
  }

  /** Remove the delivery with this number and return it. */
  take(number: number): Delivery | undefined {
    const delivery = this.get(number)
    if (delivery === undefined) return undefined
    const slot = (number - this.#first) >>> 0
    if (slot < this.#window.length) this.#window[slot] = undefined
    else this.#left.delete(number)
    this.#size--
    return delivery
  }

  /**
   * Start the window at its first delivery. If that does not halve the window, move the deliveries of its first half to
   * the map.
   */
  #tidy(): void {
    const half = this.#window.length >>> 1
    let head = 0
    for (; head < this.#window.length && (head < half || this.#window[head] === undefined); head++) {
      const delivery = this.#window[head]
      if (delivery !== undefined) this.#left.set((this.#first + head) >>> 0, delivery)
    }
    this.#window = this.#window.slice(head)
    this.#first = (this.#first + head) >>> 0
  }
}

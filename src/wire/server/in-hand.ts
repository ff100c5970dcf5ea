/**
 * A session's deliveries by their numbers, which follow one another: mostly they are settled about in order, so that a window over the numbers holds
 * them. Those that stay behind for long leave it for a map, so that one slow event costs no place for each that came after it.
 */
import type { Delivery } from '../../broker/engine.ts'

/** A window may have so many places, and so many times those that are taken. */
const PLACES_MIN = 1024
const PLACES_EACH = 4

export class InHand {
  /** The number of the window's first place, which wraps at 2³². */
  #first = 0
  #window: (Delivery | undefined)[] = []
  readonly #left = new Map<number, Delivery>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Take one in, and number it. */
  add(delivery: Delivery): number {
    if (this.#size === 0) {
      this.#first = (this.#first + this.#window.length) >>> 0
      this.#window = []
    } else if (this.#window.length >= PLACES_MIN && this.#window.length > PLACES_EACH * this.#size) this.#tidy()
    this.#size++
    return (this.#first + this.#window.push(delivery) - 1) >>> 0
  }

  /** The delivery of a number, which is no more in hand. */
  take(number: number): Delivery | undefined {
    const place = (number - this.#first) >>> 0
    const delivery = place < this.#window.length ? this.#window[place] : this.#left.get(number)
    if (delivery === undefined) return undefined
    if (place < this.#window.length) this.#window[place] = undefined
    else this.#left.delete(number)
    this.#size--
    return delivery
  }

  /** Begin the window at its first delivery; where that does not make it much smaller, those in its first half leave it. */
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

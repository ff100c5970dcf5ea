/**
 * Offsets in ascending order, without duplicates; an offset takes eight bytes. Adding at the end, and taking the first,
 * take constant time on average. Adding at the front does too after a `shift`. All other changes take linear time.
 */

/** The empty front of the array is cut off when it is at least this long. */
const SLACK = 64

export class OffsetQueue {
  #items: number[] = []
  #head = 0

  get size(): number {
    return this.#items.length - this.#head
  }

  /** The lowest offset; undefined if the queue is empty. */
  get first(): number | undefined {
    return this.#items[this.#head]
  }

  /** The index of the first item at or above an offset. */
  #find(offset: number): number {
    let low = this.#head
    let high = this.#items.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#items[middle] as number) < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  has(offset: number): boolean {
    return this.#items[this.#find(offset)] === offset
  }

  add(offset: number): void {
    const last = this.#items.at(-1)
    if (this.size === 0 || (last as number) < offset) {
      this.#items.push(offset)
      return
    }
    const at = this.#find(offset)
    if (this.#items[at] === offset) return
    if (at === this.#head && this.#head > 0) this.#items[--this.#head] = offset
    else this.#items.splice(at, 0, offset)
  }

  shift(): number | undefined {
    if (this.size === 0) return undefined
    const offset = this.#items[this.#head++]
    if (this.#head > SLACK && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return offset
  }

  /** False if the queue did not contain it. */
  remove(offset: number): boolean {
    const at = this.#find(offset)
    if (this.#items[at] !== offset) return false
    if (at === this.#head) this.shift()
    else this.#items.splice(at, 1)
    return true
  }

  /** Remove those at and above an offset. */
  cut(offset: number): void {
    this.#items.length = this.#find(offset)
  }

  /** All of them, lowest first. */
  toArray(): number[] {
    return this.#items.slice(this.#head)
  }
}

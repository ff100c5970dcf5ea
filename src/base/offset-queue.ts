/**
 * Offsets in ascending order, each once. Adding at either end and taking the first are cheap, however many there are: eight bytes each.
 */

/** The front of the array is given back when so much of it is empty. */
const SLACK = 64

export class OffsetQueue {
  #items: number[] = []
  #head = 0

  get size(): number {
    return this.#items.length - this.#head
  }

  /** The lowest; undefined where there is none. */
  get first(): number | undefined {
    return this.#items[this.#head]
  }

  /** The place of the first one at or above an offset. */
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

  /** False where it was not there. */
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

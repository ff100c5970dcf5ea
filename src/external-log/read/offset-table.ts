/**
 * Values by offset, in the order of the offsets. An entry takes about fifty bytes beside its value, so a table may hold
 * a million.
 */
import { lowerBound } from '../../base/lower-bound.ts'

export class OffsetTable<Value> {
  readonly #values = new Map<number, Value>()
  /** All offsets in order. Some of them may be deleted already. */
  #offsets: number[] = []
  #sorted = true

  get size(): number {
    return this.#values.size
  }

  get(offset: number): Value | undefined {
    return this.#values.get(offset)
  }

  set(offset: number, value: Value): void {
    if (!this.#values.has(offset)) {
      if (offset > (this.#offsets.at(-1) ?? -1)) this.#offsets.push(offset)
      else this.#sorted = false
    }
    this.#values.set(offset, value)
  }

  delete(offset: number): boolean {
    return this.#values.delete(offset)
  }

  values(): IterableIterator<Value> {
    return this.#values.values()
  }

  #order(): void {
    if (this.#sorted && this.#offsets.length <= 2 * this.#values.size + 1000) return
    this.#offsets = [...this.#values.keys()].sort((a, b) => a - b)
    this.#sorted = true
  }

  /** Entries at and after an offset and before another, in order. */
  *range(from: number, to: number = Number.POSITIVE_INFINITY): Generator<readonly [offset: number, value: Value]> {
    this.#order()
    const offsets = this.#offsets
    for (
      let at = lowerBound(0, offsets.length, (index) => (offsets[index] as number) < from);
      at < offsets.length;
      at++
    ) {
      const offset = offsets[at] as number
      if (offset >= to) return
      const value = this.#values.get(offset)
      if (value !== undefined) yield [offset, value]
    }
  }
}

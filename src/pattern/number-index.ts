/**
 * Finds the alternatives that a number satisfies: equal numbers in a map, ranges in a tree.
 *
 * If there are few, it uses neither, and usually does not even parse the number. All bounds and equal numbers divide
 * the number line into cells. The alternatives that a cell satisfies are computed once. A few digits of a number are
 * enough to find its cell, unless the number is next to a cut between cells.
 */
import type { EventFields } from './event-fields.ts'
import type { Matcher } from './matcher.ts'
import { RangeTree } from './range-tree.ts'

/** With more cuts than this, too many cells would have to be computed again after a change. */
const CUTS_MAX = 64

type NumericMatcher = Extract<Matcher, { readonly kind: 'number' | 'range' }>

interface Cells<Item> {
  /** The cuts in ascending order. */
  readonly cuts: Float64Array
  /**
   * The alternatives that the numbers below each cut satisfy; the last entry is for the numbers above all cuts.
   * Computed on first use.
   */
  readonly items: (readonly Item[] | undefined)[]
}

export class NumberIndex<Item extends { readonly matcher: Matcher }> {
  readonly #equal: Map<number, Item> = new Map()
  readonly #ranges: RangeTree<Item> = new RangeTree()
  #cells: Cells<Item> | null = null

  get size(): number {
    return this.#equal.size + this.#ranges.size
  }

  /** The item of exactly this number. */
  at(value: number): Item | undefined {
    return this.#equal.get(value)
  }

  add(matcher: NumericMatcher, item: Item): void {
    this.#cells = null
    if (matcher.kind === 'number') this.#equal.set(matcher.value, item)
    else this.#ranges.add(matcher, item)
  }

  remove(matcher: NumericMatcher, item: Item): void {
    this.#cells = null
    if (matcher.kind === 'number') this.#equal.delete(matcher.value)
    else this.#ranges.remove(item)
  }

  /**
   * Append to `found` the items that the number at an index satisfies, if a double holds it exactly: the caller checks
   * that.
   */
  collect(fields: EventFields, index: number, found: Item[]): void {
    if (this.size * 2 <= CUTS_MAX) {
      const items = this.#inCell(fields, index)
      if (items !== null) {
        for (let at = 0; at < items.length; at++) found.push(items[at] as Item)
        return
      }
    }
    const value = fields.numberOf(index)
    const equal = this.#equal.get(value)
    if (equal !== undefined) found.push(equal)
    this.#ranges.collect(value, found)
  }

  /** The items of the number's cell; `null` if the number may be on a cut. */
  #inCell(fields: EventFields, index: number): readonly Item[] | null {
    this.#cells ??= this.#cut()
    const { cuts, items } = this.#cells
    const value = fields.roughly(index)
    const error = fields.roughError
    let cell = 0
    while (cell < cuts.length && (cuts[cell] as number) < value - error) cell++
    if (!(cell === cuts.length || (cuts[cell] as number) > value + error)) return null
    return items[cell] ?? this.#workOut(cell)
  }

  #cut(): Cells<Item> {
    const cuts = new Set(this.#equal.keys())
    this.#ranges.forEach(({ low, high }) => {
      if (Number.isFinite(low)) cuts.add(low)
      if (Number.isFinite(high)) cuts.add(high)
    })
    return { cuts: Float64Array.from(cuts).sort(), items: [] }
  }

  #workOut(cell: number): readonly Item[] | null {
    const { cuts, items } = this.#cells as Cells<Item>
    const below = cell === 0 ? Number.NEGATIVE_INFINITY : (cuts[cell - 1] as number)
    const above = cell === cuts.length ? Number.POSITIVE_INFINITY : (cuts[cell] as number)
    let inside = (below + above) / 2
    if (below === Number.NEGATIVE_INFINITY)
      inside = above === Number.POSITIVE_INFINITY ? 0 : above - Math.max(1, Math.abs(above))
    else if (above === Number.POSITIVE_INFINITY) inside = below + Math.max(1, Math.abs(below))
    if (!(inside > below && inside < above)) return null
    const found: Item[] = []
    this.#ranges.collect(inside, found)
    items[cell] = found
    return found
  }
}

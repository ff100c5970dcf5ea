/**
 * Finds which of many wildcards a value may satisfy, each by the part of it that fewest others share: what it begins with, what it ends
 * with, or a few characters from its middle. What it finds must still be checked.
 */
import { type Gram, GramIndex } from './gram-index.ts'
import { TextTree } from './text-tree.ts'
import type { Wildcard } from './wildcard.ts'

type Place = { readonly by: 'start' | 'end'; readonly text: string } | { readonly by: 'gram'; readonly gram: Gram }

export class WildcardIndex<Item> {
  readonly #places: Map<Item, Place> = new Map()
  readonly #starts: TextTree<Item> = new TextTree(false)
  readonly #ends: TextTree<Item> = new TextTree(true)
  readonly #grams: GramIndex<Item> = new GramIndex()

  get size(): number {
    return this.#places.size
  }

  add({ parts }: Wildcard, item: Item): void {
    const place = this.#choose(parts)
    this.#places.set(item, place)
    if (place.by === 'gram') this.#grams.add(place.gram, item)
    else (place.by === 'start' ? this.#starts : this.#ends).add(place.text, item)
  }

  remove(item: Item): void {
    const place = this.#places.get(item)
    if (place === undefined) return
    this.#places.delete(item)
    if (place.by === 'gram') this.#grams.remove(place.gram, item)
    else (place.by === 'start' ? this.#starts : this.#ends).remove(place.text, item)
  }

  /** Append to `found` every item whose wildcard the value may satisfy. */
  collect(value: string, found: Item[]): void {
    if (this.#starts.size > 0) this.#starts.collect(value, found)
    if (this.#ends.size > 0) this.#ends.collect(value, found)
    this.#grams.collect(value, found)
  }

  /** The rarest place; where two are as rare, the one that is faster to look up. */
  #choose(parts: readonly string[]): Place {
    const start = parts[0] as string
    const end = parts[parts.length - 1] as string
    const inner = parts.slice(1, -1).filter((part) => part !== '')
    let best: Place = { by: 'start', text: start }
    let count = start === '' ? Number.POSITIVE_INFINITY : this.#starts.countAt(start)
    const atEnd = end === '' ? Number.POSITIVE_INFINITY : this.#ends.countAt(end)
    if (atEnd < count) {
      best = { by: 'end', text: end }
      count = atEnd
    }
    if (count === 0 || inner.length === 0) return best
    const { gram, count: common } = this.#grams.rarest(inner)
    return common < count ? { by: 'gram', gram } : best
  }
}

/**
 * Finds which of many wildcards a value may satisfy. Each wildcard is found by its rarest part: its beginning, its end,
 * or a few characters from its middle. A found wildcard must still be checked.
 */
import { type Gram, GramIndex } from './gram-index.ts'
import { TextTree } from './text-tree.ts'
import type { Wildcard } from './wildcard.ts'

type RarestPart = { readonly by: 'start' | 'end'; readonly text: string } | { readonly by: 'gram'; readonly gram: Gram }

export class WildcardIndex<Item> {
  readonly #parts: Map<Item, RarestPart> = new Map()
  readonly #starts: TextTree<Item> = new TextTree(false)
  readonly #ends: TextTree<Item> = new TextTree(true)
  readonly #grams: GramIndex<Item> = new GramIndex()

  get size(): number {
    return this.#parts.size
  }

  add({ parts }: Wildcard, item: Item): void {
    const part = this.#choose(parts)
    this.#parts.set(item, part)
    if (part.by === 'gram') this.#grams.add(part.gram, item)
    else (part.by === 'start' ? this.#starts : this.#ends).add(part.text, item)
  }

  remove(item: Item): void {
    const part = this.#parts.get(item)
    if (part === undefined) return
    this.#parts.delete(item)
    if (part.by === 'gram') this.#grams.remove(part.gram, item)
    else (part.by === 'start' ? this.#starts : this.#ends).remove(part.text, item)
  }

  /** Append to `found` every item whose wildcard the value may satisfy. */
  collect(value: string, found: Item[]): void {
    if (this.#starts.size > 0) this.#starts.collect(value, found)
    if (this.#ends.size > 0) this.#ends.collect(value, found)
    this.#grams.collect(value, found)
  }

  /** The rarest part; of two equally rare ones, the one that is faster to look up. */
  #choose(parts: readonly string[]): RarestPart {
    const start = parts[0] as string
    const end = parts[parts.length - 1] as string
    const inner = parts.slice(1, -1).filter((part) => part !== '')
    let best: RarestPart = { by: 'start', text: start }
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

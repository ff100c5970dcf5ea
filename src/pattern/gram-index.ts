/**
 * Finds which of many texts may occur anywhere in a value. Each text is found by one gram, a run of up to three
 * characters: the one that was rarest when the text was added. A found text must still be checked.
 */

const GRAM = 3
const UNIT = 0x10000

function gramAt(text: string, at: number, length: number): number {
  let gram = 0
  for (let offset = 0; offset < length; offset++) gram = gram * UNIT + text.charCodeAt(at + offset)
  return gram
}

export interface Gram {
  readonly length: number
  readonly key: number
}

export class GramIndex<Item> {
  /** Items by gram, for grams of one, two and three characters. */
  readonly #items: readonly Map<number, Item[]>[] = [new Map(), new Map(), new Map()]
  /** Grams of the current value that were already looked up. */
  readonly #seen: Set<number> = new Set()

  /** The gram of the texts (which are not empty) that the fewest items have. */
  rarest(texts: readonly string[]): { readonly gram: Gram; readonly count: number } {
    let best: Gram | null = null
    let count = Number.POSITIVE_INFINITY
    for (const text of texts) {
      const length = Math.min(GRAM, text.length)
      for (let at = 0; at + length <= text.length; at++) {
        const gram = { length, key: gramAt(text, at, length) }
        const found = this.#items[length - 1]?.get(gram.key)?.length ?? 0
        if (found < count || (found === count && length > (best?.length ?? 0))) {
          best = gram
          count = found
        }
      }
    }
    return { gram: best ?? { length: 1, key: 0 }, count }
  }

  add(gram: Gram, item: Item): void {
    const map = this.#items[gram.length - 1] as Map<number, Item[]>
    const items = map.get(gram.key)
    if (items === undefined) map.set(gram.key, [item])
    else items.push(item)
  }

  remove(gram: Gram, item: Item): void {
    const map = this.#items[gram.length - 1] as Map<number, Item[]>
    const items = map.get(gram.key)
    const index = items?.indexOf(item) ?? -1
    if (items === undefined || index < 0) return
    items.splice(index, 1)
    if (items.length === 0) map.delete(gram.key)
  }

  /** Append to `found`, once each, the items whose gram occurs in the value. */
  collect(value: string, found: Item[]): void {
    for (let length = 1; length <= GRAM; length++) {
      const map = this.#items[length - 1] as Map<number, Item[]>
      if (map.size === 0) continue
      this.#seen.clear()
      for (let at = 0; at + length <= value.length; at++) {
        const key = gramAt(value, at, length)
        const items = map.get(key)
        if (items === undefined || this.#seen.has(key)) continue
        this.#seen.add(key)
        for (const item of items) found.push(item)
      }
    }
  }
}

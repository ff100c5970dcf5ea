/**
 * Changed records of a layer, by key and in the order of their keys.
 *
 * Keys are put in order when a range is asked for, and not at each change: commits pay next to nothing for it. New keys are
 * gathered until there are some, then merged into those that are in order. So many ranges beside many changes cost no
 * scan of everything each.
 */
const GATHERED_MAX = 128

export class LayerRecords implements Iterable<[string, Uint8Array | null]> {
  readonly #values = new Map<string, Uint8Array | null>()
  #ordered: string[] = []
  #gathered: string[] = []

  get(key: string): Uint8Array | null | undefined {
    return this.#values.get(key)
  }

  set(key: string, value: Uint8Array | null): void {
    const before = this.#values.size
    this.#values.set(key, value)
    if (this.#values.size > before) this.#gathered.push(key)
  }

  [Symbol.iterator](): Iterator<[string, Uint8Array | null]> {
    return this.#values[Symbol.iterator]()
  }

  /** Records with `from <= key < to`, in no order. */
  *range(from: string, to: string): Generator<readonly [string, Uint8Array | null]> {
    if (this.#gathered.length > GATHERED_MAX) this.#merge()
    for (const key of this.#gathered) if (key >= from && key < to) yield [key, this.#values.get(key) ?? null]
    const keys = this.#ordered
    for (let at = firstAtLeast(keys, from); at < keys.length && (keys[at] as string) < to; at++)
      yield [keys[at] as string, this.#values.get(keys[at] as string) ?? null]
  }

  #merge(): void {
    const gathered = this.#gathered.sort()
    const merged: string[] = []
    let at = 0
    for (const key of this.#ordered) {
      while (at < gathered.length && (gathered[at] as string) < key) merged.push(gathered[at++] as string)
      merged.push(key)
    }
    while (at < gathered.length) merged.push(gathered[at++] as string)
    this.#ordered = merged
    this.#gathered = []
  }
}

function firstAtLeast(keys: readonly string[], wanted: string): number {
  let [low, high] = [0, keys.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as string) < wanted) low = middle + 1
    else high = middle
  }
  return low
}

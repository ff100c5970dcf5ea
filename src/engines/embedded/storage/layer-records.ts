/**
 * Changed records of a layer, by key and in the order of their keys.
 *
 * Keys are sorted when a range is asked for, not at each change, so commits cost almost nothing. New keys are gathered,
 * and merged into the sorted ones when there are more than `GATHERED_MAX`. So many ranges between many changes do not
 * each scan everything.
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

  /** Records with `from <= key < to`, in no particular order. */
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

/**
 * Which offsets of a channel a consumer has settled: a floor below which all are, and bits above it.
 *
 * Bits are kept in chunks of 1,024 offsets, so that a consumer far ahead of one slow event costs a bit an event, and a
 * commit writes only the chunks that changed.
 */
const CHUNK_OFFSETS = 1024
const WORDS = CHUNK_OFFSETS / 32

export class DoneSet {
  #floor: number
  readonly #chunks = new Map<number, Uint32Array>()
  readonly #dirty = new Set<number>()
  /** Settled offsets at and above the floor. */
  #above = 0

  constructor(floor: number) {
    this.#floor = floor
  }

  get floor(): number {
    return this.#floor
  }

  /** Settled offsets above the floor. */
  get above(): number {
    return this.#above
  }

  has(offset: number): boolean {
    if (offset < this.#floor) return true
    const word = this.#chunks.get(Math.floor(offset / CHUNK_OFFSETS))?.[(offset % CHUNK_OFFSETS) >>> 5]
    return word !== undefined && (word & (1 << (offset & 31))) !== 0
  }

  add(offset: number): void {
    if (offset === this.#floor) {
      this.#floor++
      if (this.#above > 0) this.#advance()
    } else if (offset > this.#floor && !this.has(offset)) this.#set(offset)
  }

  /** Settle neighbours. */
  addRun(offset: number, count: number): void {
    if (offset === this.#floor && this.#above === 0) this.#floor += count
    else for (let each = offset; each < offset + count; each++) this.add(each)
  }

  /** Settle all offsets below `offset`. */
  raise(offset: number): void {
    while (this.#floor < offset) {
      if (this.#above === 0) {
        this.#floor = offset
        return
      }
      if (this.has(this.#floor)) this.#clear(this.#floor)
      this.#floor++
    }
    this.#advance()
  }

  #set(offset: number): void {
    const index = Math.floor(offset / CHUNK_OFFSETS)
    let chunk = this.#chunks.get(index)
    if (chunk === undefined) {
      chunk = new Uint32Array(WORDS)
      this.#chunks.set(index, chunk)
    }
    chunk[(offset % CHUNK_OFFSETS) >>> 5] = (chunk[(offset % CHUNK_OFFSETS) >>> 5] as number) | (1 << (offset & 31))
    this.#dirty.add(index)
    this.#above++
  }

  #advance(): void {
    while (this.#above > 0 && this.has(this.#floor)) {
      this.#clear(this.#floor)
      this.#floor++
    }
  }

  /** Count a bit that the floor passes; whole chunks below the floor go. */
  #clear(offset: number): void {
    const index = Math.floor(offset / CHUNK_OFFSETS)
    const chunk = this.#chunks.get(index)
    if (chunk === undefined) return
    const word = (offset % CHUNK_OFFSETS) >>> 5
    chunk[word] = (chunk[word] as number) & ~(1 << (offset & 31))
    this.#above--
    this.#dirty.add(index)
    if (offset % CHUNK_OFFSETS === CHUNK_OFFSETS - 1) this.#chunks.delete(index)
  }

  /** The chunks that changed since the last call, with their bytes, or null for one that is empty now. */
  takeChanges(): [index: number, bytes: Uint8Array | null][] {
    if (this.#dirty.size === 0) return []
    const changes: [number, Uint8Array | null][] = []
    for (const index of this.#dirty) {
      const chunk = this.#chunks.get(index)
      const empty = chunk === undefined || chunk.every((word) => word === 0)
      if (empty) this.#chunks.delete(index)
      changes.push([index, empty ? null : new Uint8Array(chunk.slice().buffer)])
    }
    this.#dirty.clear()
    return changes
  }

  /** Settled offsets above the floor: from and up to, in order. */
  *ranges(): Generator<readonly [from: number, to: number]> {
    let from = -1
    let to = -1
    for (const index of [...this.#chunks.keys()].sort((a, b) => a - b)) {
      for (let offset = index * CHUNK_OFFSETS; offset < (index + 1) * CHUNK_OFFSETS; offset++) {
        if (offset < this.#floor || !this.has(offset)) continue
        if (offset !== to) {
          if (from >= 0) yield [from, to]
          from = offset
        }
        to = offset + 1
      }
    }
    if (from >= 0) yield [from, to]
  }

  /** Take in a chunk as it was saved. */
  load(index: number, bytes: Uint8Array): void {
    // A copy of its own: a Buffer may be a view into others’ bytes, and need not be aligned.
    const chunk = new Uint32Array(new Uint8Array(bytes).buffer, 0, WORDS)
    const base = index * CHUNK_OFFSETS
    for (let bit = 0; bit < CHUNK_OFFSETS; bit++) {
      if (((chunk[bit >>> 5] as number) & (1 << (bit & 31))) !== 0) this.add(base + bit)
    }
    this.#dirty.clear()
  }
}

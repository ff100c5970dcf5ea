/**
 * A growing set of offsets: a floor, below which every offset is in the set, and bits above it.
 *
 * Bits are kept in chunks of 1,024 offsets. So an offset far above the floor costs one bit, and only the chunks that
 * have changed need to be saved. Runs of offsets are added, and passed by the floor, 32 bits at a time: most offsets
 * of a partition's log are holes.
 */
const CHUNK_OFFSETS = 1024
const WORD_OFFSETS = 32
const WORDS = CHUNK_OFFSETS / WORD_OFFSETS

export class OffsetSet {
  #floor: number
  readonly #chunks = new Map<number, Uint32Array>()
  readonly #dirty = new Set<number>()
  /** Chunks that `takeChanges` returned with bytes, and has not returned as empty since. */
  readonly #saved = new Set<number>()
  /** How many offsets above the floor are in the set. */
  #above = 0

  constructor(floor: number) {
    this.#floor = floor
  }

  get floor(): number {
    return this.#floor
  }

  /** How many offsets above the floor are in the set. */
  get above(): number {
    return this.#above
  }

  /** The offset after the highest one in the set. */
  get end(): number {
    let end = this.#floor
    for (const [, to] of this.ranges()) end = to
    return end
  }

  /** The chunks that are saved or are being saved. */
  get saved(): Iterable<number> {
    return this.#saved
  }

  has(offset: number): boolean {
    if (offset < this.#floor) return true
    if (this.#above === 0) return false
    return (this.#word(offset) & (1 << (offset % WORD_OFFSETS))) !== 0
  }

  add(offset: number): void {
    if (offset === this.#floor) {
      this.#floor++
      this.#advance()
    } else if (offset > this.#floor) this.#set(offset, offset + 1)
  }

  /** Add `count` consecutive offsets. */
  addRun(offset: number, count: number): void {
    const end = offset + count
    if (offset <= this.#floor) this.raise(end)
    else for (let each = offset; each < end; each = wordEnd(each)) this.#set(each, Math.min(end, wordEnd(each)))
  }

  /** Add all offsets below `offset`. */
  raise(offset: number): void {
    if (offset <= this.#floor) return
    this.#pass(offset)
    this.#advance()
  }

  #word(offset: number): number {
    return this.#chunks.get(Math.floor(offset / CHUNK_OFFSETS))?.[wordIn(offset)] ?? 0
  }

  /** Set the bits of offsets in one word. */
  #set(from: number, end: number): void {
    const index = Math.floor(from / CHUNK_OFFSETS)
    let chunk = this.#chunks.get(index)
    if (chunk === undefined) {
      chunk = new Uint32Array(WORDS)
      this.#chunks.set(index, chunk)
    }
    const word = chunk[wordIn(from)] as number
    const added = maskOf(from, end) & ~word
    if (added === 0) return
    chunk[wordIn(from)] = word | added
    this.#dirty.add(index)
    this.#above += bitsIn(added)
  }

  /** Raise the floor to the first offset that is not in the set. */
  #advance(): void {
    while (this.#above > 0) {
      const end = wordEnd(this.#floor)
      const open = ~this.#word(this.#floor) & maskOf(this.#floor, end)
      if (open === 0) {
        this.#pass(end)
        continue
      }
      const first = end - WORD_OFFSETS + lowestBit(open)
      if (first > this.#floor) this.#pass(first)
      return
    }
  }

  /** Raise the floor to an offset. Bits below it are no longer counted, and chunks below it are deleted. */
  #pass(offset: number): void {
    while (this.#floor < offset && this.#above > 0) {
      const index = Math.floor(this.#floor / CHUNK_OFFSETS)
      const chunk = this.#chunks.get(index)
      const end = Math.min(offset, chunk === undefined ? (index + 1) * CHUNK_OFFSETS : wordEnd(this.#floor))
      if (chunk !== undefined) this.#clear(chunk, index, this.#floor, end)
      this.#floor = end
    }
    this.#floor = Math.max(this.#floor, offset)
  }

  /** Clear the bits of offsets in one word. */
  #clear(chunk: Uint32Array, index: number, from: number, end: number): void {
    const word = chunk[wordIn(from)] as number
    const gone = word & maskOf(from, end)
    if (gone !== 0) {
      chunk[wordIn(from)] = word & ~gone
      this.#above -= bitsIn(gone)
      this.#dirty.add(index)
    }
    if (end % CHUNK_OFFSETS === 0) this.#chunks.delete(index)
  }

  /** The chunks that changed since the last call, with their bytes; null for a saved chunk that is empty now. */
  takeChanges(): [index: number, bytes: Uint8Array | null][] {
    if (this.#dirty.size === 0) return []
    const changes: [number, Uint8Array | null][] = []
    for (const index of this.#dirty) {
      const chunk = this.#chunks.get(index)
      if (chunk?.some((word) => word !== 0) === true) {
        changes.push([index, new Uint8Array(chunk.slice().buffer)])
        this.#saved.add(index)
        continue
      }
      this.#chunks.delete(index)
      if (this.#saved.delete(index)) changes.push([index, null])
    }
    this.#dirty.clear()
    return changes
  }

  /** The offsets above the floor as ranges, in order; `to` is not included. */
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

  /** Add the offsets of a saved chunk. */
  load(index: number, bytes: Uint8Array): void {
    // A copy: a Buffer may be a view into a larger memory, and need not be aligned.
    const chunk = new Uint32Array(new Uint8Array(bytes).buffer, 0, WORDS)
    const base = index * CHUNK_OFFSETS
    for (let bit = 0; bit < CHUNK_OFFSETS; bit++) {
      if (((chunk[bit >>> 5] as number) & (1 << (bit & 31))) !== 0) this.add(base + bit)
    }
    this.#saved.add(index)
    this.#dirty.clear()
  }
}

function wordIn(offset: number): number {
  return Math.floor((offset % CHUNK_OFFSETS) / WORD_OFFSETS)
}

/** The first offset after those of an offset's word. */
function wordEnd(offset: number): number {
  return offset - (offset % WORD_OFFSETS) + WORD_OFFSETS
}

/** The bits of offsets of one word. */
function maskOf(from: number, end: number): number {
  const count = end - from
  return count >= WORD_OFFSETS ? -1 : ((1 << count) - 1) << (from % WORD_OFFSETS)
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word)
}

function bitsIn(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555)
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return (((bits + (bits >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24
}

/**
 * The memory of blocks between their commit and their application: slabs that serve again and again. Blocks with memory of their own would be
 * tens of megabytes a second outside the heap, for which the engine would collect the whole heap over and over.
 *
 * A slab serves again when all blocks in it were let go of. One of which a block was lent to somebody does not: it is left to the collector.
 */

const SLAB_BYTES = 2 * 1024 * 1024
/** What is larger than this has memory of its own. */
const SHARED_MAX = SLAB_BYTES / 2
/** Slabs kept for later, at most, and when nothing waits to be applied. */
const SPARE_MAX = 16
const SPARE_IDLE_MAX = 1

interface Slab {
  readonly bytes: Buffer
  used: number
  /** Blocks in it that are not let go of. */
  blocks: number
  lent: boolean
}

export class BlockMemory {
  readonly #slabs = new WeakMap<ArrayBufferLike, Slab>()
  #current: Slab | null = null
  #spare: Slab[] = []

  /** Room for a block, at least so many bytes. It is the block's when `take` says how many of them it needs; until then the next `reserve` gives the same. */
  reserve(bytes: number): Buffer {
    if (bytes > SHARED_MAX) return Buffer.allocUnsafeSlow(bytes)
    let slab = this.#current
    if (slab === null || slab.used + bytes > SLAB_BYTES) {
      const full = slab
      slab = this.#spare.pop() ?? this.#make()
      this.#current = slab
      if (full !== null) this.#perhapsSpare(full)
    }
    return slab.bytes.subarray(slab.used, slab.used + bytes)
  }

  take(room: Buffer, bytes: number): Buffer {
    const slab = this.#slabs.get(room.buffer)
    if (slab !== undefined) {
      slab.used += bytes
      slab.blocks++
    }
    return room.subarray(0, bytes)
  }

  /** Somebody has the block's bytes: they stay as they are. */
  lend(bytes: Uint8Array): void {
    const slab = this.#slabs.get(bytes.buffer)
    if (slab !== undefined) slab.lent = true
  }

  /** The block stands where it is read from now on. */
  letGo(bytes: Uint8Array): void {
    const slab = this.#slabs.get(bytes.buffer)
    if (slab === undefined) return
    slab.blocks--
    this.#perhapsSpare(slab)
  }

  /** Nothing waits to be applied. */
  rest(): void {
    this.#spare.length = Math.min(this.#spare.length, SPARE_IDLE_MAX)
  }

  #make(): Slab {
    const slab = { bytes: Buffer.allocUnsafeSlow(SLAB_BYTES), used: 0, blocks: 0, lent: false }
    this.#slabs.set(slab.bytes.buffer, slab)
    return slab
  }

  #perhapsSpare(slab: Slab): void {
    if (slab.blocks > 0 || slab.lent || slab === this.#current || this.#spare.length >= SPARE_MAX) return
    slab.used = 0
    this.#spare.push(slab)
  }
}

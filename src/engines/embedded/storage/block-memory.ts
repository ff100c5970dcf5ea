/**
 * The memory of blocks between their commit and their apply: slabs that are reused. Separate buffers for each block
 * would allocate tens of megabytes per second outside the heap, which makes V8 collect the whole heap again and again.
 *
 * A slab is reused when all its blocks are released. A slab with a lent block is not reused; the garbage collector
 * frees it.
 */

const SLAB_BYTES = 2 * 1024 * 1024
/** A larger block has its own memory. */
const SHARED_MAX = SLAB_BYTES / 2
/** The number of unused slabs to keep, and the number when nothing waits to be applied. */
const SPARE_MAX = 16
const SPARE_IDLE_MAX = 1

interface Slab {
  readonly bytes: Buffer
  used: number
  /** The number of its blocks that are not released. */
  blocks: number
  lent: boolean
}

export class BlockMemory {
  readonly #slabs = new WeakMap<ArrayBufferLike, Slab>()
  #current: Slab | null = null
  #spare: Slab[] = []

  /**
   * Space for a block of at least this size. `take` then assigns the bytes that the block really needs; until then the
   * next `reserve` returns the same space.
   */
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

  /** Somebody else refers to the block's bytes: they must not be overwritten. */
  lend(bytes: Uint8Array): void {
    const slab = this.#slabs.get(bytes.buffer)
    if (slab !== undefined) slab.lent = true
  }

  /** The block is applied. Its bytes may be overwritten now, unless they are lent. */
  release(bytes: Uint8Array): void {
    const slab = this.#slabs.get(bytes.buffer)
    if (slab === undefined) return
    slab.blocks--
    this.#perhapsSpare(slab)
  }

  /** Nothing waits to be applied: free the unused slabs. */
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

/**
 * The store of `memory:`: everything is in maps and ends with the process. Frames take effect as on disk: as a whole,
 * in order, later.
 */
import { nextTurn } from '../../../base/timers.ts'
import type { Frame, Rewrite, Run, Store, StoredBlock, StoreStats } from '../store.ts'

interface MemoryLog<Block> {
  blocks: Block[]
  first: number
  next: number
  bytes: number
}

export class MemoryStore<Block extends StoredBlock = StoredBlock> implements Store<Block> {
  readonly #logs = new Map<number, MemoryLog<Block>>()
  readonly #records = new Map<string, Uint8Array>()
  /** The keys in order; null after a key was added or removed. */
  #sorted: string[] | null = null
  #commits = 0

  commit(frame: Frame<Block>, done: (error: Error | null) => void): void {
    nextTurn(() => {
      this.#apply(frame)
      done(null)
    })
  }

  #apply(frame: Frame<Block>): void {
    this.#commits++
    for (const block of frame.blocks) {
      const log = this.#log(block.channelId)
      log.blocks.push(block)
      log.next = block.firstOffset + block.count
      log.bytes += block.bytes.byteLength
    }
    for (const [key, value] of frame.records) {
      if (this.#records.has(key) === (value === null)) this.#sorted = null
      if (value === null) this.#records.delete(key)
      else this.#records.set(key, value)
    }
    for (const { channelId, beforeOffset } of frame.trims) this.#trim(this.#log(channelId), beforeOffset)
  }

  #log(channelId: number): MemoryLog<Block> {
    let log = this.#logs.get(channelId)
    if (log === undefined) {
      log = { blocks: [], first: 0, next: 0, bytes: 0 }
      this.#logs.set(channelId, log)
    }
    return log
  }

  #trim(log: MemoryLog<Block>, beforeOffset: number): void {
    let count = 0
    for (const block of log.blocks) {
      if (block.firstOffset + block.count > beforeOffset) break
      log.bytes -= block.bytes.byteLength
      count++
    }
    log.blocks.splice(0, count)
    log.first = Math.max(log.first, Math.min(beforeOffset, log.next))
  }

  get(key: string): Uint8Array | undefined {
    return this.#records.get(key)
  }

  range(from: string, to: string, limit: number = Number.POSITIVE_INFINITY): [key: string, value: Uint8Array][] {
    const keys = this.#keys()
    const found: [string, Uint8Array][] = []
    for (
      let at = lowerBound(keys.length, (index) => (keys[index] as string) >= from);
      at < keys.length && found.length < limit;
      at++
    ) {
      const key = keys[at] as string
      if (key >= to) break
      found.push([key, this.#records.get(key) as Uint8Array])
    }
    return found
  }

  #keys(): readonly string[] {
    this.#sorted ??= [...this.#records.keys()].sort()
    return this.#sorted
  }

  count(from: string, to: string): number {
    const keys = this.#keys()
    const at = (wanted: string): number => lowerBound(keys.length, (index) => (keys[index] as string) >= wanted)
    return Math.max(0, at(to) - at(from))
  }

  async read(channelId: number, offset: number, maxBytes: number): Promise<StoredBlock[]> {
    const blocks = this.#logs.get(channelId)?.blocks ?? []
    const found: Block[] = []
    let bytes = 0
    for (
      let at = lowerBound(blocks.length, (index) => end(blocks[index] as Block) > offset);
      at < blocks.length && bytes < maxBytes;
      at++
    ) {
      found.push(blocks[at] as Block)
      bytes += (blocks[at] as Block).bytes.byteLength
    }
    return found
  }

  peek(channelId: number, offset: number): Block | undefined {
    const blocks = this.#logs.get(channelId)?.blocks ?? []
    const block = blocks[lowerBound(blocks.length, (index) => end(blocks[index] as Block) > offset)]
    return block !== undefined && offset >= block.firstOffset ? block : undefined
  }

  bounds(channelId: number): { readonly first: number; readonly next: number } {
    const log = this.#logs.get(channelId)
    return log === undefined ? { first: 0, next: 0 } : { first: log.first, next: log.next }
  }

  seek(channelId: number, timeMs: number): number {
    const log = this.#logs.get(channelId)
    if (log === undefined) return 0
    const block = log.blocks[lowerBound(log.blocks.length, (index) => (log.blocks[index] as Block).timeMs >= timeMs)]
    return block === undefined ? log.next : Math.max(block.firstOffset, log.first)
  }

  size(channelId: number): number {
    return this.#logs.get(channelId)?.bytes ?? 0
  }

  *sizes(channelId: number, from: number): Generator<Run> {
    const blocks = this.#logs.get(channelId)?.blocks ?? []
    for (let at = lowerBound(blocks.length, (index) => end(blocks[index] as Block) > from); at < blocks.length; at++) {
      const block = blocks[at] as Block
      yield { firstOffset: block.firstOffset, end: end(block), bytes: block.bytes.byteLength, settled: true }
    }
  }

  async compact(
    channelId: number,
    from: number,
    before: number,
    maxBytes: number,
    rewrite: Rewrite,
  ): Promise<number | null> {
    const log = this.#log(channelId)
    const start = lowerBound(log.blocks.length, (index) => end(log.blocks[index] as Block) > from)
    let stop = start
    let bytes = 0
    for (; stop < log.blocks.length && bytes < maxBytes && end(log.blocks[stop] as Block) <= before; stop++)
      bytes += (log.blocks[stop] as Block).bytes.byteLength
    if (stop === start) return null
    const old = log.blocks.slice(start, stop)
    const next = end(old.at(-1) as Block)
    const rewritten = rewrite(old) as readonly Block[] | null
    if (rewritten === null) return next
    log.blocks.splice(start, old.length, ...rewritten)
    log.bytes += rewritten.reduce((sum, block) => sum + block.bytes.byteLength, 0) - bytes
    return next
  }

  stats(): StoreStats {
    let storedBytes = 0
    for (const log of this.#logs.values()) storedBytes += log.bytes
    return { unappliedBytes: 0, journalFull: false, storedBytes, commits: this.#commits }
  }

  async close(): Promise<void> {
    this.#logs.clear()
    this.#records.clear()
  }
}

function end(block: StoredBlock): number {
  return block.firstOffset + block.count
}

/** The first index for which the test is true. The test is false up to some index and true from there on. */
function lowerBound(length: number, test: (index: number) => boolean): number {
  let low = 0
  let high = length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (test(middle)) high = middle
    else low = middle + 1
  }
  return low
}

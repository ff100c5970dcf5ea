/**
 * The reading side of the store on disk. Records in memory have priority over the index; blocks are read from segments
 * first, then from memory.
 */
import type { Frame, Run, StoredBlock } from '../store.ts'
import { damagedPart } from './damage.ts'
import { decodeExtent } from './extent.ts'
import { type ChannelTotals, type ExtentEntry, type IndexDb, indexKeys } from './index-db.ts'
import { INDEX_FILE } from './index-file.ts'
import { Segments } from './segments.ts'
import type { UnappliedCommits } from './unapplied-commits.ts'

interface Bounds {
  first: number
  next: number
}

export class StoreReads<Block extends StoredBlock = StoredBlock> {
  protected readonly index: IndexDb
  protected readonly segments: Segments
  protected unapplied: UnappliedCommits<Block>
  readonly #bounds = new Map<number, Bounds>()

  constructor(index: IndexDb, segments: Segments, unapplied: UnappliedCommits<Block>) {
    this.index = index
    this.segments = segments
    this.unapplied = unapplied
  }

  get(key: string): Uint8Array | undefined {
    const value = this.unapplied.get(key)
    return value === undefined ? this.index.get(indexKeys.record(key)) : (value ?? undefined)
  }

  range(from: string, to: string, limit: number = Number.POSITIVE_INFINITY): [key: string, value: Uint8Array][] {
    const changed = this.unapplied.range(from, to)
    const found: [string, Uint8Array][] = []
    let at = 0
    const takeChanged = (before: string | null): void => {
      for (; at < changed.length && found.length < limit; at++) {
        const [key, value] = changed[at] as [string, Uint8Array | null]
        if (before !== null && key >= before) return
        if (value !== null) found.push([key, value])
      }
    }
    for (const [indexKey, value] of this.index.range(indexKeys.record(from), indexKeys.record(to))) {
      const key = indexKey.slice(1)
      takeChanged(key)
      if (found.length >= limit) return found
      if (changed[at]?.[0] === key) continue
      found.push([key, value])
      if (found.length >= limit) return found
    }
    takeChanged(null)
    return found
  }

  count(from: string, to: string): number {
    let count = this.index.count(indexKeys.record(from), indexKeys.record(to))
    for (const [key, value] of this.unapplied.range(from, to))
      count += (value === null ? 0 : 1) - (this.index.has(indexKeys.record(key)) ? 1 : 0)
    return count
  }

  async read(channelId: number, offset: number, maxBytes: number): Promise<StoredBlock[]> {
    const found: StoredBlock[] = []
    let bytes = 0
    let next = offset
    const wanted: ExtentEntry[] = []
    for (const entry of this.index.extents(channelId, offset)) {
      this.#follows(channelId, entry, next)
      wanted.push(entry)
      bytes += entry.bytes
      next = entry.firstOffset + entry.count
      if (bytes >= maxBytes) break
    }
    const inMemory = bytes >= maxBytes ? [] : [...this.unapplied.blocks(channelId, next)]
    if (bytes < maxBytes) this.#reaches(channelId, next, inMemory[0]?.firstOffset)
    for (const entry of wanted) {
      // Retention may have removed the extent and its segment while earlier ones were read.
      if (entry.firstOffset + entry.count <= this.#known(channelId).first) continue
      const blocks = await this.#extent(channelId, entry)
      // Return what was read so far. If nothing was, look the range up again.
      if (blocks === null) return found.length > 0 ? found : this.read(channelId, offset, maxBytes)
      for (const block of blocks) if (block.firstOffset + block.count > offset) found.push(block)
    }
    for (const block of inMemory) {
      if (bytes >= maxBytes && found.length > 0) break
      found.push(block)
      bytes += block.bytes.length
    }
    const { first } = this.#known(channelId)
    return found.length === 0 && offset < first ? this.read(channelId, first, maxBytes) : found
  }

  /** Extents are contiguous: a gap means that an index entry is lost. */
  #follows(channelId: number, { firstOffset }: ExtentEntry, next: number): void {
    if (firstOffset <= Math.max(next, this.#known(channelId).first)) return
    throw damagedPart(
      INDEX_FILE,
      `the index does not say where the events ${next} to ${firstOffset - 1} of channel ${channelId} are`,
      {
        channelId,
        offset: next,
      },
    )
  }

  /** The stored extents must reach to the blocks in memory, or to the end of the channel. */
  #reaches(channelId: number, next: number, inMemory: number | undefined): void {
    const { first, next: end } = this.index.channel(channelId)
    if (next >= end || next < first || (inMemory !== undefined && inMemory <= next)) return
    throw damagedPart(
      INDEX_FILE,
      `the index does not say where the events ${next} to ${end - 1} of channel ${channelId} are`,
      { channelId, offset: next },
    )
  }

  /** The blocks of an extent; null when it is no longer there, because compaction moved it or retention removed it. */
  async #extent(channelId: number, entry: ExtentEntry): Promise<StoredBlock[] | null> {
    try {
      const raw = await this.segments.read(entry.segment, entry.position, entry.bytes)
      return decodeExtent(raw, channelId, Segments.fileName(entry.segment), entry.position)
    } catch (error) {
      this.index.refresh()
      const [now] = this.index.extents(channelId, entry.firstOffset)
      if (now?.firstOffset === entry.firstOffset && now.segment === entry.segment && now.position === entry.position)
        throw error
      return null
    }
  }

  peek(channelId: number, offset: number): Block | undefined {
    return this.unapplied.find(channelId, offset)
  }

  bounds(channelId: number): { readonly first: number; readonly next: number } {
    return this.#known(channelId)
  }

  #known(channelId: number): Bounds {
    let bounds = this.#bounds.get(channelId)
    if (bounds === undefined) {
      const { first, next }: ChannelTotals = this.index.channel(channelId)
      bounds = { first, next }
      for (const block of this.unapplied.blocks(channelId, 0))
        bounds.next = Math.max(bounds.next, block.firstOffset + block.count)
      bounds.first = Math.max(bounds.first, Math.min(this.unapplied.trim(channelId), bounds.next))
      this.#bounds.set(channelId, bounds)
    }
    return bounds
  }

  /** Forget the cached bounds of channels: another process may have changed them. */
  protected forgetBounds(): void {
    this.#bounds.clear()
  }

  /** Update the cached bounds for a committed frame. */
  protected noteFrame(frame: Frame<Block>): void {
    for (const block of frame.blocks) this.#known(block.channelId).next = block.firstOffset + block.count
    for (const { channelId, beforeOffset } of frame.trims) {
      const bounds = this.#known(channelId)
      bounds.first = Math.max(bounds.first, Math.min(beforeOffset, bounds.next))
    }
  }

  seek(channelId: number, timeMs: number): number {
    const { first, next } = this.#known(channelId)
    let candidate: ExtentEntry | null = null
    for (const entry of this.#byTime(channelId, timeMs)) {
      if (entry.timeMs >= timeMs)
        return Math.max(first, this.#within(channelId, candidate, timeMs) ?? entry.firstOffset)
      candidate = entry
    }
    const within = this.#within(channelId, candidate, timeMs)
    if (within !== null) return Math.max(first, within)
    for (const block of this.unapplied.blocks(channelId, 0))
      if (block.timeMs >= timeMs) return Math.max(first, block.firstOffset)
    return next
  }

  /** Extents from the last one that begins before a time, found by binary search over the offsets. */
  *#byTime(channelId: number, timeMs: number): Generator<ExtentEntry> {
    let { first: low, next: high } = this.index.channel(channelId)
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      const [entry] = this.index.extents(channelId, middle)
      if (entry === undefined || entry.timeMs >= timeMs) high = middle
      else low = Math.max(middle, entry.firstOffset)
    }
    yield* this.index.extents(channelId, low)
  }

  /** The offset of an extent's first block at or after a time. */
  #within(channelId: number, entry: ExtentEntry | null, timeMs: number): number | null {
    if (entry === null) return null
    const raw = this.segments.readSync(entry.segment, entry.position, entry.bytes)
    const blocks = decodeExtent(raw, channelId, Segments.fileName(entry.segment), entry.position)
    return blocks.find((block) => block.timeMs >= timeMs)?.firstOffset ?? null
  }

  *sizes(channelId: number, from: number): Generator<Run> {
    for (const { firstOffset, count, bytes } of this.index.extents(channelId, from))
      yield { firstOffset, end: firstOffset + count, bytes, settled: true }
    for (const { firstOffset, count, bytes } of this.unapplied.blocks(channelId, from))
      yield { firstOffset, end: firstOffset + count, bytes: bytes.length, settled: false }
  }

  size(channelId: number): number {
    let { bytes } = this.index.channel(channelId)
    for (const block of this.unapplied.blocks(channelId, 0)) bytes += block.bytes.length
    return bytes
  }
}

/**
 * Moves committed frames out of the journal: a layer of frames becomes extents in a segment and one transaction in the
 * index.
 *
 * Order: extents are written and synced first, then the index that refers to them. A crash in between leaves bytes that
 * nothing refers to. The next apply overwrites them; the frames are still in the journal.
 */
import { isMillraceError } from '../../../base/errors.ts'
import type { Rewrite, StoredBlock } from '../store.ts'
import { decodeExtent, extentHead } from './extent.ts'
import {
  type ExtentEntry,
  extentValue,
  floats,
  type IndexChanges,
  type IndexDb,
  indexKeys,
  type SegmentTotals,
} from './index-db.ts'
import { Segments } from './segments.ts'
import type { Layer } from './unapplied-commits.ts'

/** The approximate size of an extent, in which blocks of one channel are gathered. */
const EXTENT_BYTES = 256 * 1024
/** A full segment with a smaller share of live bytes than this is copied together with the new extents. */
const COMPACT_BELOW = 0.4

export interface ApplierOptions {
  readonly segmentBytes: number
  /** Called at named points. Tests stop here to see what a crash leaves. */
  readonly failpoint: (name: 'apply.after-segment' | 'apply.after-index' | 'rewrite.after-segment') => void
}

interface NewExtent {
  readonly channelId: number
  readonly entry: ExtentEntry
  readonly chunks: readonly Uint8Array[]
}

export class Applier {
  readonly #index: IndexDb
  readonly #segments: Segments
  readonly #options: ApplierOptions
  readonly #totals = new Map<number, SegmentTotals>()
  /** Segments with damage. They are neither compacted nor removed. */
  readonly #damaged = new Set<number>()
  #current = 0
  /** Segments that must stay until a backup has copied them. */
  readonly #kept = new Set<number>()
  #backups = 0

  constructor(index: IndexDb, segments: Segments, options: ApplierOptions) {
    this.#index = index
    this.#segments = segments
    this.#options = options
    for (const [id, totals] of index.segments()) {
      segments.check(id, totals.bytes)
      this.#totals.set(id, totals)
      this.#current = Math.max(this.#current, id)
    }
  }

  /** Bytes in all segments. */
  get bytes(): number {
    let bytes = 0
    for (const totals of this.#totals.values()) bytes += totals.bytes
    return bytes
  }

  /** The segments that the index has now. None of them is removed before `release` is called. */
  keep(): { readonly segments: ReadonlyMap<number, SegmentTotals>; release(): void } {
    this.#backups++
    return {
      segments: new Map(this.#totals),
      release: () => {
        if (--this.#backups > 0) return
        for (const id of this.#kept) this.#segments.remove(id)
        this.#kept.clear()
      },
    }
  }

  async apply(layer: Layer<StoredBlock>): Promise<void> {
    this.#beginAllocating()
    const changes: IndexChanges = new Map()
    const totals = new Map(this.#totals)
    const extents = this.#gather(layer, totals)
    const moved = await this.#compact(layer, extents, totals)
    extents.push(...moved)
    await this.#writeExtents(extents)
    this.#options.failpoint('apply.after-segment')
    for (const { channelId, entry } of extents)
      changes.set(indexKeys.extent(channelId, entry.firstOffset), extentValue(entry))
    this.#changeChannels(layer, extents.slice(0, extents.length - moved.length), totals, changes)
    for (const [key, value] of layer.records) changes.set(indexKeys.record(key), value)
    changes.set(indexKeys.applied, floats(layer.last.sequence, layer.last.check))
    await this.#finish(changes, totals)
  }

  /** Write one transaction, then remove the segments without live bytes. */
  async #finish(changes: IndexChanges, totals: Map<number, SegmentTotals>): Promise<void> {
    const dead = this.#changeSegments(totals, changes)
    await this.#index.write(changes)
    this.#options.failpoint('apply.after-index')
    for (const id of dead) {
      totals.delete(id)
      if (this.#backups > 0) this.#kept.add(id)
      else this.#segments.remove(id)
    }
    this.#totals.clear()
    for (const [id, each] of totals) this.#totals.set(id, each)
    this.#segments.rest()
  }

  /**
   * Replace neighbouring extents of a channel by other blocks (Store.compact): these are written and synced first, then
   * the index changes in one transaction.
   * Runs while nothing is applied.
   */
  async rewrite(
    channelId: number,
    from: number,
    before: number,
    maxBytes: number,
    rewrite: Rewrite,
  ): Promise<number | null> {
    const entries: ExtentEntry[] = []
    let bytes = 0
    for (const entry of this.#index.extents(channelId, from)) {
      if (bytes >= maxBytes || entry.firstOffset + entry.count > before) break
      entries.push(entry)
      bytes += entry.bytes
    }
    const last = entries.at(-1)
    if (last === undefined) return null
    const next = last.firstOffset + last.count
    const blocks: StoredBlock[] = []
    for (const { segment, position, bytes: length } of entries) {
      const raw = await this.#segments.read(segment, position, length)
      blocks.push(...decodeExtent(raw, channelId, Segments.fileName(segment), position))
    }
    const rewritten = rewrite(blocks)
    if (rewritten !== null) await this.#replace(channelId, entries, rewritten)
    return next
  }

  async #replace(channelId: number, entries: readonly ExtentEntry[], blocks: readonly StoredBlock[]): Promise<void> {
    this.#beginAllocating()
    const totals = new Map(this.#totals)
    const changes: IndexChanges = new Map()
    let gained = 0
    for (const { firstOffset, segment, bytes } of entries) {
      const total = totals.get(segment)
      if (total !== undefined) totals.set(segment, { bytes: total.bytes, live: total.live - bytes })
      changes.set(indexKeys.extent(channelId, firstOffset), null)
      gained += bytes
    }
    const extents = this.#extentsOf(channelId, blocks, totals)
    await this.#writeExtents(extents)
    this.#options.failpoint('rewrite.after-segment')
    for (const { entry } of extents) {
      changes.set(indexKeys.extent(channelId, entry.firstOffset), extentValue(entry))
      gained -= entry.bytes
    }
    const { first, next, bytes } = this.#index.channel(channelId)
    changes.set(indexKeys.channel(channelId), floats(first, next, bytes - gained))
    await this.#finish(changes, totals)
  }

  /** Start after the last apply that succeeded: nothing refers to what a failed apply has written. */
  #beginAllocating(): void {
    this.#current = Math.max(0, ...this.#totals.keys())
  }

  /** The layer's blocks as extents, each with its position in a segment. */
  #gather(layer: Layer<StoredBlock>, totals: Map<number, SegmentTotals>): NewExtent[] {
    return [...layer.blocks].flatMap(([channelId, blocks]) => this.#extentsOf(channelId, blocks, totals))
  }

  #extentsOf(channelId: number, blocks: readonly StoredBlock[], totals: Map<number, SegmentTotals>): NewExtent[] {
    const extents: NewExtent[] = []
    let group: StoredBlock[] = []
    let bytes = 0
    for (const block of blocks) {
      if (group.length > 0 && bytes + block.bytes.length > EXTENT_BYTES) {
        extents.push(this.#allocate(channelId, group, totals))
        group = []
        bytes = 0
      }
      group.push(block)
      bytes += block.bytes.length
    }
    extents.push(this.#allocate(channelId, group, totals))
    return extents
  }

  /** Assign an extent the next free position. */
  #allocate(channelId: number, blocks: readonly StoredBlock[], totals: Map<number, SegmentTotals>): NewExtent {
    const head = extentHead(channelId, blocks)
    const bytes = head.readUInt32LE(8)
    const full = (totals.get(this.#current)?.bytes ?? this.#options.segmentBytes) + bytes > this.#options.segmentBytes
    if (this.#current === 0 || (full && (totals.get(this.#current)?.bytes ?? 1) > 0)) {
      this.#current++
      this.#segments.create(this.#current)
      totals.set(this.#current, { bytes: 0, live: 0 })
    }
    const segment = totals.get(this.#current) ?? { bytes: 0, live: 0 }
    totals.set(this.#current, { bytes: segment.bytes + bytes, live: segment.live + bytes })
    const first = blocks[0] as StoredBlock
    const last = blocks.at(-1) as StoredBlock
    const count = last.firstOffset + last.count - first.firstOffset
    const entry = {
      firstOffset: first.firstOffset,
      segment: this.#current,
      position: segment.bytes,
      bytes,
      count,
      timeMs: first.timeMs,
    }
    return { channelId, entry, chunks: [head, ...blocks.map((block) => block.bytes)] }
  }

  async #writeExtents(extents: readonly NewExtent[]): Promise<void> {
    let run: NewExtent[] = []
    const flush = async (): Promise<void> => {
      const [first] = run
      if (first !== undefined)
        await this.#segments.append(
          first.entry.segment,
          run.flatMap((extent) => extent.chunks),
          first.entry.position,
        )
      run = []
    }
    for (const extent of extents) {
      if (run.length > 0 && extent.entry.segment !== (run[0] as NewExtent).entry.segment) await flush()
      run.push(extent)
    }
    await flush()
  }

  #changeChannels(
    layer: Layer<StoredBlock>,
    extents: readonly NewExtent[],
    totals: Map<number, SegmentTotals>,
    changes: IndexChanges,
  ): void {
    const touched = new Set([...layer.blocks.keys(), ...layer.trims.keys()])
    for (const channelId of touched) {
      let { first, next, bytes } = this.#index.channel(channelId)
      for (const extent of extents) {
        if (extent.channelId !== channelId) continue
        next = extent.entry.firstOffset + extent.entry.count
        bytes += extent.entry.bytes
      }
      const trim = layer.trims.get(channelId) ?? 0
      if (trim > first) {
        first = Math.min(trim, next)
        bytes -= this.#trim(channelId, first, extents, totals, changes)
      }
      changes.set(indexKeys.channel(channelId), floats(first, next, bytes))
    }
  }

  /** Remove the extents that are completely below an offset. Returns their bytes. */
  #trim(
    channelId: number,
    before: number,
    extents: readonly NewExtent[],
    totals: Map<number, SegmentTotals>,
    changes: IndexChanges,
  ): number {
    let bytes = 0
    const stored = [
      ...takeWhile(this.#index.extents(channelId, 0), (entry) => entry.firstOffset + entry.count <= before),
    ]
    const added = extents.filter(
      (extent) => extent.channelId === channelId && extent.entry.firstOffset + extent.entry.count <= before,
    )
    for (const entry of [...stored, ...added.map((extent) => extent.entry)]) {
      // A compaction in this same apply may have moved it.
      const segment = totals.get(entry.segment)
      if (segment !== undefined) totals.set(entry.segment, { bytes: segment.bytes, live: segment.live - entry.bytes })
      changes.set(indexKeys.extent(channelId, entry.firstOffset), null)
      bytes += entry.bytes
    }
    return bytes
  }

  /** Record the totals that changed. Returns the segments without live bytes. */
  #changeSegments(totals: Map<number, SegmentTotals>, changes: IndexChanges): number[] {
    const dead: number[] = []
    for (const [id, { bytes, live }] of totals) {
      const before = this.#totals.get(id)
      if (live <= 0 && id !== this.#current) {
        dead.push(id)
        changes.set(indexKeys.segment(id), null)
      } else if (before?.bytes !== bytes || before.live !== live)
        changes.set(indexKeys.segment(id), floats(bytes, live))
    }
    return dead
  }

  /**
   * Copy the live extents of one mostly dead segment to the place after the new extents. It is skipped if this apply
   * trims anything, so that the two never meet. It never takes a segment that this apply has just filled: the index
   * does not list its new extents yet, so they would seem dead.
   */
  async #compact(
    layer: Layer<StoredBlock>,
    added: readonly NewExtent[],
    totals: Map<number, SegmentTotals>,
  ): Promise<NewExtent[]> {
    if (layer.trims.size > 0) return []
    const filled = new Set(added.map((extent) => extent.entry.segment))
    const sparse = ([id, { bytes, live }]: [number, SegmentTotals]): boolean =>
      id !== this.#current && !filled.has(id) && !this.#damaged.has(id) && live > 0 && live < bytes * COMPACT_BELOW
    const candidate = [...totals].find(sparse)
    if (candidate === undefined) return []
    const [id, { bytes }] = candidate
    const alive = await this.#readAll(id)
    if (alive === null) return []
    const moved = alive.map(([channelId, blocks]) => this.#allocate(channelId, blocks, totals))
    totals.set(id, { bytes, live: 0 })
    return moved
  }

  /**
   * The live extents in a segment; null if one of them is damaged, because its readable part must then stay in this
   * segment.
   */
  async #readAll(id: number): Promise<[channelId: number, blocks: StoredBlock[]][] | null> {
    // All entries are collected before the first read, because an LMDB iterator is not valid after the current turn.
    const entries = [...this.#index.extentsOf(id)]
    const found: [number, StoredBlock[]][] = []
    try {
      for (const [channelId, entry] of entries) {
        const raw = await this.#segments.read(id, entry.position, entry.bytes)
        found.push([channelId, decodeExtent(raw, channelId, Segments.fileName(id), entry.position)])
      }
    } catch (error) {
      if (!isMillraceError(error, 'DATA_DAMAGED')) throw error
      this.#damaged.add(id)
      return null
    }
    return found
  }
}

function* takeWhile<Item>(items: Iterable<Item>, holds: (item: Item) => boolean): Generator<Item> {
  for (const item of items) {
    if (!holds(item)) return
    yield item
  }
}

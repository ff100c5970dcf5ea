/**
 * Committed data that are not applied yet, in memory: blocks by channel, and records that take priority over the index.
 *
 * There are two layers: one that is being applied, and one for later commits.
 */
import type { Frame, StoredBlock } from '../store.ts'
import type { BlockMemory } from './block-memory.ts'
import { LayerRecords } from './layer-records.ts'
import type { CommitName } from './recovery.ts'

export interface Layer<Block extends StoredBlock> {
  readonly blocks: Map<number, Block[]>
  readonly records: LayerRecords
  readonly trims: Map<number, number>
  bytes: number
  /** The last frame. */
  last: CommitName
}

function emptyLayer<Block extends StoredBlock>(last: CommitName): Layer<Block> {
  return { blocks: new Map(), records: new LayerRecords(), trims: new Map(), bytes: 0, last }
}

function holds(block: StoredBlock, offset: number): boolean {
  return offset >= block.firstOffset && offset < block.firstOffset + block.count
}

export class UnappliedCommits<Block extends StoredBlock> {
  #fresh: Layer<Block>
  #applying: Layer<Block> | null = null
  readonly #memory: BlockMemory | null

  constructor(last: CommitName, memory: BlockMemory | null = null) {
    this.#fresh = emptyLayer(last)
    this.#memory = memory
  }

  get bytes(): number {
    return this.#fresh.bytes + (this.#applying?.bytes ?? 0)
  }

  get freshBytes(): number {
    return this.#fresh.bytes
  }

  get sequence(): number {
    return this.#fresh.last.sequence
  }

  add(frame: Frame<Block>, commit: CommitName, frameBytes: number): void {
    const layer = this.#fresh
    for (const block of frame.blocks) {
      const blocks = layer.blocks.get(block.channelId)
      if (blocks === undefined) layer.blocks.set(block.channelId, [block])
      else blocks.push(block)
    }
    for (const [key, value] of frame.records) layer.records.set(key, value)
    for (const { channelId, beforeOffset } of frame.trims)
      layer.trims.set(channelId, Math.max(beforeOffset, layer.trims.get(channelId) ?? 0))
    layer.bytes += frameBytes
    layer.last = { sequence: commit.sequence, check: commit.check }
  }

  /** The layer to apply now, or null if there is nothing. Later commits go into another layer. */
  beginApply(): Layer<Block> | null {
    if (this.#applying !== null) return this.#applying
    if (this.#fresh.bytes === 0) return null
    this.#applying = this.#fresh
    this.#fresh = emptyLayer(this.#applying.last)
    return this.#applying
  }

  /** The layer is applied. */
  applied(): void {
    const memory = this.#memory
    if (memory !== null) {
      for (const blocks of this.#applying?.blocks.values() ?? [])
        for (const block of blocks) memory.release(block.bytes)
      if (this.#fresh.bytes === 0) memory.rest()
    }
    this.#applying = null
  }

  #layers(): Layer<Block>[] {
    return this.#applying === null ? [this.#fresh] : [this.#applying, this.#fresh]
  }

  /** The record; null if it was deleted, undefined if no layer has it. */
  get(key: string): Uint8Array | null | undefined {
    const value = this.#fresh.records.get(key)
    return value === undefined ? this.#applying?.records.get(key) : value
  }

  /** Changed records of a range, in order. */
  range(from: string, to: string): [string, Uint8Array | null][] {
    const found = new Map<string, Uint8Array | null>()
    for (const layer of this.#layers()) for (const [key, value] of layer.records.range(from, to)) found.set(key, value)
    return [...found].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  /** The offset below which events of a channel may be deleted. */
  trim(channelId: number): number {
    return Math.max(0, ...this.#layers().map((layer) => layer.trims.get(channelId) ?? 0))
  }

  /** The block that contains an offset. */
  find(channelId: number, offset: number): Block | undefined {
    for (const layer of [this.#fresh, this.#applying]) {
      const blocks = layer?.blocks.get(channelId)
      if (blocks === undefined || offset < (blocks[0] as Block).firstOffset) continue
      let low = 0
      let high = blocks.length - 1
      while (low < high) {
        const middle = (low + high + 1) >>> 1
        if ((blocks[middle] as Block).firstOffset <= offset) low = middle
        else high = middle - 1
      }
      const block = blocks[low] as Block
      if (!holds(block, offset)) return undefined
      this.#memory?.lend(block.bytes)
      return block
    }
    return undefined
  }

  /** Blocks of a channel from an offset on. */
  *blocks(channelId: number, offset: number): Generator<Block> {
    for (const layer of this.#layers()) {
      for (const block of layer.blocks.get(channelId) ?? []) {
        if (block.firstOffset + block.count <= offset) continue
        this.#memory?.lend(block.bytes)
        yield block
      }
    }
  }
}

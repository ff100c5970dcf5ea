/**
 * The narrow module behind which storage stands: what the embedded engine asks of a disk, or of memory.
 *
 * A store keeps two things: **blocks** of events, addressed by (channel number, offset), and small **records**, a sorted
 * map from string keys to bytes. Both change only by a `Frame`, which happens whole or not at all.
 *
 * Invariants that every store holds:
 * - `commit` calls back once the frame survives `kill -9` and power loss, in the order of the calls. What a frame wrote
 *   is visible to `get`, `range` and `read` from the callback on, and never before.
 * - After a failed write or sync the store is poisoned: that error is kept, and every later commit gets it.
 *   A full disk is not a failed write: the commit is refused with DISK_FULL, nothing of it happened, and later ones may succeed.
 * - Blocks of one channel are contiguous: each begins at the offset where the previous one ended.
 */

import type { BlockBytes } from '../../event/block.ts'

/** Consecutive events of one channel that were committed together. The store never looks inside `bytes`. */
export interface StoredBlock {
  readonly channelId: number
  /** Offset of the block's first event. */
  readonly firstOffset: number
  /** Events in the block, at least 1. */
  readonly count: number
  /** When it was committed, in milliseconds since the epoch; never decreases within a channel. */
  readonly timeMs: number
  readonly bytes: Uint8Array
  /** CRC-32 of the bytes, where whoever made the block knows it. */
  readonly sum?: number | undefined
}

/** Everything that one commit makes true. Keys are well-formed strings without U+0000, at most 1,500 UTF-8 bytes, sorted by code point. */
export interface Frame<Block extends StoredBlock = StoredBlock> {
  readonly blocks: readonly Block[]
  /** Records to write; `null` deletes. Later entries of the same key win. */
  readonly records: readonly (readonly [key: string, value: Uint8Array | null])[]
  /** Events of a channel below an offset that may be deleted. Whole blocks only are removed; a block that straddles stays. */
  readonly trims: readonly { readonly channelId: number; readonly beforeOffset: number }[]
}

/** Neighbouring blocks that are kept together. */
export interface Run {
  readonly firstOffset: number
  readonly end: number
  readonly bytes: number
  /** Whether `compact` can come to it yet. */
  readonly settled: boolean
}

export type Rewrite = (blocks: readonly StoredBlock[]) => readonly StoredBlock[] | null

export interface StoreStats {
  /** Bytes of committed frames not yet applied behind the journal. */
  readonly unappliedBytes: number
  /** Bytes on disk (or in memory, for the memory store). */
  readonly storedBytes: number
  /** Commits since opening. */
  readonly commits: number
}

/** What a backup is. */
export interface BackupSummary {
  readonly directory: string
  readonly bytes: number
}

/** `Block` is the caller's richer block type: blocks still held in memory come back as the same objects. */
export interface Store<Block extends StoredBlock = StoredBlock> {
  /**
   * Where the bytes of a block that is to be committed may come from. The store takes them back when the block is applied, unless `peek` or
   * `read` gave the block to somebody: whoever made it lets go of it at `done`.
   */
  readonly memory?: BlockBytes | undefined
  /**
   * Make a frame durable. Called with at most one commit in flight. `done` is called exactly once, never synchronously,
   * with an error if nothing of the frame happened, DISK_FULL (try later), or if that is not known before the store is opened again, STORE_FAILED (poisoned).
   */
  commit(frame: Frame<Block>, done: (error: Error | null) => void): void
  /** The record, or undefined. Synchronous: memory, or a memory-mapped lookup of some microseconds. */
  get(key: string): Uint8Array | undefined
  /** Records with `from <= key < to` in key order, at most `limit`. */
  range(from: string, to: string, limit?: number): [key: string, value: Uint8Array][]
  /** How many records have `from <= key < to`, without reading them. */
  count(from: string, to: string): number
  /**
   * Blocks holding events at `offset` and after, in order: the first contains `offset`, or is the first after it if that was trimmed.
   * Stops after at least `maxBytes` (always at least one block if there is any). Empty when nothing is there yet.
   */
  read(channelId: number, offset: number, maxBytes: number): Promise<StoredBlock[]>
  /** The in-memory tail only: the block that contains `offset` if it is still held in memory, without waiting. */
  peek(channelId: number, offset: number): Block | undefined
  /** First stored offset and the offset after the last; both 0 for a channel that never had an event. */
  bounds(channelId: number): { readonly first: number; readonly next: number }
  /** Offset of the first block whose `timeMs` is at or after `timeMs`; the channel's `next` if there is none. */
  seek(channelId: number, timeMs: number): number
  /** Bytes stored for a channel. */
  size(channelId: number): number
  /** The same by runs of neighbouring blocks, in order, from the one that holds an offset on. */
  sizes(channelId: number, from: number): Iterable<Run>
  /**
   * Let others take the place of blocks: `rewrite` is given neighbours (at least one, about `maxBytes` in all) from an offset on and below another, and answers
   * blocks of the same offsets, or null to leave them. Readers see the one or the other. What is not yet applied stays as it is.
   * Answers where to go on, or null at the end.
   */
  compact(channelId: number, from: number, before: number, maxBytes: number, rewrite: Rewrite): Promise<number | null>
  /**
   * Copy what is committed now to a directory of its own, while commits go on. Absent where there are no files.
   * @throws INVALID_OPTION when the directory is not empty · DISK_FULL
   */
  backup?(directory: string): Promise<BackupSummary>
  stats(): StoreStats
  /** Everything committed is applied and synced; then files are closed. */
  close(): Promise<void>
}

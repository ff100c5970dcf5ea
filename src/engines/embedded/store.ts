/**
 * The store: what the embedded engine needs of a disk, or of memory.
 *
 * A store keeps two things: **blocks** of events, addressed by (channel number, offset), and small **records**, a
 * sorted map from string keys to bytes. Both change only by a `Frame`, which is stored as a whole or not at all.
 *
 * Invariants of every store:
 * - `commit` calls back after the frame survives `kill -9` and power loss, in the order of the calls. What a frame
 *   wrote is visible to `get`, `range` and `read` from the callback on, and never before.
 * - After a failed write or sync the store is poisoned: the error is kept, and every later commit fails with it. A full
 *   disk is not a failed write: the commit is refused with DISK_FULL, nothing of it is stored, and later commits may
 *   succeed.
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
  /** CRC-32 of the bytes, if the maker of the block knows it. */
  readonly sum?: number | undefined
}

/**
 * What one commit changes. Keys are well-formed strings without U+0000, up to 1,500 UTF-8 bytes, sorted by code point.
 */
export interface Frame<Block extends StoredBlock = StoredBlock> {
  readonly blocks: readonly Block[]
  /** Records to write; `null` deletes. Later entries of the same key win. */
  readonly records: readonly (readonly [key: string, value: Uint8Array | null])[]
  /**
   * Events of a channel below an offset that may be deleted. Only whole blocks are deleted; a block that contains the
   * offset stays.
   */
  readonly trims: readonly { readonly channelId: number; readonly beforeOffset: number }[]
}

/** Neighbouring blocks that are stored together. */
export interface Run {
  readonly firstOffset: number
  readonly end: number
  readonly bytes: number
  /** Whether `compact` can rewrite the run already. */
  readonly settled: boolean
}

export type Rewrite = (blocks: readonly StoredBlock[]) => readonly StoredBlock[] | null

export interface StoreStats {
  /** Bytes of committed frames that are only in the journal yet. */
  readonly unappliedBytes: number
  /** A commit waits for space in the journal. */
  readonly journalFull: boolean
  /** Bytes on disk, or in memory for the memory store. */
  readonly storedBytes: number
  /** Commits since the store was opened. */
  readonly commits: number
}

/** The result of a backup. */
export interface BackupSummary {
  readonly directory: string
  readonly bytes: number
}

/** `Block` is the caller's richer block type. Blocks that are still in memory are returned as the same objects. */
export interface Store<Block extends StoredBlock = StoredBlock> {
  /**
   * Memory for the bytes of blocks to be committed. The store takes it back when it applies a block, unless `peek` or
   * `read` returned the block. The maker of a block drops it at `done`.
   */
  readonly memory?: BlockBytes | undefined
  /**
   * Make a frame durable. Called with at most one commit in flight. `done` is called exactly once, never synchronously.
   * Its error is DISK_FULL if nothing of the frame is stored and a later try may succeed, or STORE_FAILED if the store
   * is poisoned: then only the next opening shows whether the frame is stored.
   */
  commit(frame: Frame<Block>, done: (error: Error | null) => void): void
  /** The record, or undefined. Synchronous: a lookup in memory, or in a memory-mapped file in some microseconds. */
  get(key: string): Uint8Array | undefined
  /** Up to `limit` records with `from <= key < to`, in key order. */
  range(from: string, to: string, limit?: number): [key: string, value: Uint8Array][]
  /** How many records have `from <= key < to`, without reading them. */
  count(from: string, to: string): number
  /**
   * Blocks with the events at `offset` and after it, in order. The first contains `offset`, or is the next one if that
   * event was trimmed. Reads at least `maxBytes`, and at least one block, if there are any. Empty if there are none.
   */
  read(channelId: number, offset: number, maxBytes: number): Promise<StoredBlock[]>
  /** The block that contains `offset`, if it is still in memory, without waiting. */
  peek(channelId: number, offset: number): Block | undefined
  /** First stored offset and the offset after the last; both 0 for a channel that never had an event. */
  bounds(channelId: number): { readonly first: number; readonly next: number }
  /** Offset of the first block whose `timeMs` is at or after `timeMs`; the channel's `next` if there is none. */
  seek(channelId: number, timeMs: number): number
  /** Bytes stored for a channel. */
  size(channelId: number): number
  /** The bytes of a channel in runs of neighbouring blocks, in order, from the run that contains `from`. */
  sizes(channelId: number, from: number): Iterable<Run>
  /**
   * Replace blocks. `rewrite` gets neighbouring blocks between two offsets, at least one, about `maxBytes` in total. It
   * returns blocks for the same offsets, or null to leave them. A reader sees either the old blocks or the new ones.
   * Blocks that are only in the journal are not replaced. Returns the offset to continue from, or null at the end.
   */
  compact(channelId: number, from: number, before: number, maxBytes: number, rewrite: Rewrite): Promise<number | null>
  /**
   * Copy everything that is committed now into another directory, while commits continue. Absent for stores without
   * files.
   * @throws INVALID_OPTION when the directory is not empty · DISK_FULL
   */
  backup?(directory: string): Promise<BackupSummary>
  stats(): StoreStats
  /** Apply and sync everything that is committed, then close the files. */
  close(): Promise<void>
}

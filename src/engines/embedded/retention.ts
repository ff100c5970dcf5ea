/**
 * Clause 13: removes what a channel no longer keeps. A stream keeps events by age, bytes, count and key. A queue keeps
 * the events that are not done.
 *
 * Readers and consumers stop seeing removed events at once. Their bytes are deleted in whole blocks, after the events
 * have left the deduplication window, which compares stored ids. A timer runs only while a channel may have events to
 * remove.
 *
 * Invariants:
 * - A channel that may have events to remove is pending, or in the sweep that runs. While a channel is pending, a sweep
 *   is due.
 * - A sweep that is requested while one runs starts after it, however long that takes.
 * - A channel whose sweep fails does not stop the sweeps of others, and is swept again later.
 */
import type { Clock } from '../../base/clock.ts'
import type { DueQueue } from '../../base/due-queue.ts'
import { isMillraceError } from '../../base/errors.ts'
import type { LastingFailures } from '../../base/lasting-failures.ts'
import { isStateChannel } from '../../base/names.ts'
import { OneAtATime } from '../../base/one-at-a-time.ts'
import { fromJson, toJson } from '../../delivery/consumer-records.ts'
import type { Block } from '../../event/block.ts'
import { asBlock, type ChannelLog } from './channel-log.ts'
import type { Committer } from './committer.ts'
import { DeletedStates } from './deleted-states.ts'
import { type IsGone, withoutSuperseded } from './key-compaction.ts'
import { type CompactedRecord, keys } from './records.ts'
import type { Run, Store, StoredBlock } from './store.ts'

const SWEEP_MS = 1000
/** The delay before the next sweep of a channel whose events can be removed only later, or whose sweep failed. */
const LATER_MS = 10_000
/** How many bytes of blocks are read at a time. */
const SCAN_BYTES = 1024 * 1024
/** Channels with fewer bytes to compact are left alone. A step compacts up to `COMPACT_STEP_BYTES`. */
const COMPACT_BYTES_MIN = 4 * 1024 * 1024
const COMPACT_STEP_BYTES = 1024 * 1024

export interface RetentionParts {
  readonly store: Store<Block>
  readonly committer: Committer
  readonly clock: Clock
  readonly due: DueQueue
  /** The offset below which the workers of a queue have settled everything. */
  queueFloor(log: ChannelLog): number
  /** Counts sweeps that fail, for an alarm, until they succeed again. */
  readonly failures: LastingFailures
}

export class Retention {
  readonly #parts: RetentionParts
  readonly #pending = new Set<ChannelLog>()
  readonly #sweeps = new OneAtATime(() => this.#sweepAll())
  /** When the next sweep is due, by the clock's `elapsed`. */
  #armedMs = Number.POSITIVE_INFINITY
  #closed = false

  constructor(parts: RetentionParts) {
    this.#parts = parts
  }

  /** Whether the channel ever removes events. */
  applies(log: ChannelLog): boolean {
    const { retain, kind } = log.spec
    return (
      kind === 'queue' || retain.ageMs !== null || retain.bytes !== null || retain.count !== null || retain.latestByKey
    )
  }

  /** Called when events of the channel were stored, or done. */
  note(log: ChannelLog): void {
    if (this.applies(log)) this.#sweepLater(log, SWEEP_MS)
  }

  #sweepLater(log: ChannelLog, delayMs: number): void {
    this.#pending.add(log)
    const { clock, due } = this.#parts
    const dueMs = clock.elapsed() + delayMs
    if (dueMs >= this.#armedMs || this.#closed) return
    this.#armedMs = dueMs
    due.after(delayMs, () => {
      // Another timer was set for an earlier time. If this one swept too, each sweep could set two more timers.
      if (this.#armedMs !== dueMs) return
      this.#armedMs = Number.POSITIVE_INFINITY
      void this.sweep()
    })
  }

  /** Remove everything that is not to be kept now. */
  sweep(): Promise<void> {
    return this.#sweeps.ask()
  }

  async #sweepAll(): Promise<void> {
    const logs = [...this.#pending]
    this.#pending.clear()
    for (const log of logs) {
      if (this.#closed) return
      try {
        await this.#sweepLog(log)
        this.#parts.failures.succeeded(`channel "${log.name}"`)
      } catch (error) {
        // A failed store raises its own alarm.
        if (!isMillraceError(error, 'STORE_FAILED')) this.#parts.failures.failed(`channel "${log.name}"`, error)
        this.#sweepLater(log, LATER_MS)
      }
    }
  }

  /** Start no more sweeps. Resolves when the running one has ended. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#sweeps.running) await this.sweep()
  }

  async #sweepLog(log: ChannelLog): Promise<void> {
    if (log.removed) return
    const { store, committer, clock } = this.#parts
    const now = clock.now()
    const first = Math.min(log.committed, Math.max(log.first, await this.#keepFrom(log, now)))
    if (first > log.first) {
      log.first = first
      committer.record(keys.channel(log.name), toJson({ id: log.id, spec: log.spec, first }))
    }
    const gone = Math.min(log.first, log.windowStart(now))
    if (gone > store.bounds(log.id).first) committer.trim(log.id, gone)
    const unsettled = log.spec.retain.latestByKey && !(await this.#compact(log, now))
    const { ageMs } = log.spec.retain
    const again = unsettled || log.first > gone || (ageMs !== null && log.first < log.committed)
    if (again) this.#sweepLater(log, log.first > gone ? LATER_MS : SWEEP_MS)
  }

  async #keepFrom(log: ChannelLog, now: number): Promise<number> {
    const { store, queueFloor } = this.#parts
    if (log.spec.kind === 'queue') return queueFloor(log)
    const { ageMs, bytes, count, latestByKey } = log.spec.retain
    let first = log.first
    if (count !== null) first = Math.max(first, log.committed - count)
    if (ageMs !== null) first = Math.max(first, store.seek(log.id, now - ageMs))
    if (bytes !== null) first = Math.max(first, await this.#afterBytes(log, first, bytes))
    if (latestByKey) first = await this.#afterSuperseded(log, first)
    return first
  }

  /** The offset at which the newest `bytes` of a channel begin. */
  async #afterBytes(log: ChannelLog, from: number, bytes: number): Promise<number> {
    const { store } = this.#parts
    let over = store.size(log.id) - bytes
    if (over <= 0) return from
    // The run that is kept in part, if there is one. Runs before it are removed.
    let partly: Run | null = null
    for (const run of store.sizes(log.id, 0)) {
      partly = run
      if (run.bytes > over) break
      over -= run.bytes
      partly = null
    }
    return partly === null ? log.committed : Math.max(from, await this.#within(log, partly, over))
  }

  /** The offset after the first blocks of a run that have at least `bytes` bytes together. */
  async #within(log: ChannelLog, run: Run, bytes: number): Promise<number> {
    let over = bytes
    for (let offset = run.firstOffset; offset < run.end; ) {
      const blocks = await log.load(offset, SCAN_BYTES)
      if (blocks.length === 0) return offset
      for (const block of blocks) {
        if (over <= 0 || block.firstOffset >= run.end) return block.firstOffset
        over -= block.bytes.length
        offset = block.firstOffset + block.count
      }
    }
    return run.end
  }

  /** The offset of the first event that is still the latest of its key, or has no key. */
  async #afterSuperseded(log: ChannelLog, from: number): Promise<number> {
    let offset = from
    while (offset < log.committed) {
      const blocks = await log.load(offset, SCAN_BYTES)
      if (blocks.length === 0) return offset
      for (const block of blocks) {
        for (let index = Math.max(0, offset - block.firstOffset); index < block.count; index++) {
          index += block.holes(index)
          offset = block.firstOffset + index
          if (index < block.count && !log.superseded(block.keyAt(index), offset)) return offset
        }
        offset = block.firstOffset + block.count
      }
    }
    return offset
  }

  /**
   * Remove replaced events from the blocks of a channel, after it has grown to twice the size that the last compaction
   * left. Events in the deduplication window stay. Returns false if there will be something to compact after more
   * commits are written to the segments.
   */
  async #compact(log: ChannelLog, now: number): Promise<boolean> {
    const { store, committer } = this.#parts
    const before = log.windowStart(now)
    const stored = store.get(keys.compacted(log.id))
    const clean = stored === undefined ? { to: 0, bytes: 0 } : fromJson<CompactedRecord>(stored)
    const enough = Math.max(COMPACT_BYTES_MIN, Math.min(clean.bytes, store.size(log.id)))
    if (this.#bytesUpTo(log, clean.to, before, true) < enough)
      return this.#bytesUpTo(log, clean.to, before, false) < enough
    const to = await this.#rewrite(log, before, now)
    committer.record(
      keys.compacted(log.id),
      toJson({ to, bytes: this.#bytesUpTo(log, log.first, to, true) } satisfies CompactedRecord),
    )
    return true
  }

  /** Returns the offset up to which it came. */
  async #rewrite(log: ChannelLog, before: number, now: number): Promise<number> {
    const { store } = this.#parts
    const deleted = isStateChannel(log.name) ? new DeletedStates(log, this.#parts, now) : null
    const gone: IsGone = (key, offset, type, timeMs) =>
      offset < log.first || log.superseded(key, offset) || deleted?.takes(key, offset, type, timeMs) === true
    const rewrite = (blocks: readonly StoredBlock[]): Block[] | null => {
      deleted?.begin()
      const all = blocks.map((block) => asBlock(log.id, block))
      return deleted === null ? withoutSuperseded(log.id, all, gone) : withoutSuperseded(log.id, all, gone, 0)
    }
    let to = log.first
    try {
      for (let next: number | null = to; next !== null && !log.removed && !this.#closed; ) {
        to = next
        next = await store.compact(log.id, next, before, COMPACT_STEP_BYTES, rewrite)
        if (next !== null) deleted?.done()
      }
    } finally {
      deleted?.forget()
    }
    return to
  }

  #bytesUpTo(log: ChannelLog, from: number, before: number, settledOnly: boolean): number {
    let bytes = 0
    for (const run of this.#parts.store.sizes(log.id, from)) {
      if ((settledOnly && !run.settled) || run.end > before) break
      bytes += run.bytes
    }
    return bytes
  }
}

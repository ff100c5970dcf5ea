/**
 * Clause 13: what a channel no longer keeps. A stream keeps by age, bytes, count and key; a queue what is not done.
 *
 * Events are gone at once for readers and consumers; their bytes go by whole blocks, and not before they have left the
 * deduplication window, which still compares with them. A timer runs only while a channel has something to lose.
 */
import type { Clock } from '../../base/clock.ts'
import { fromFloat, toFloat, toJson } from '../../delivery/consumer-records.ts'
import type { EventBlock } from '../../delivery/delivery-log.ts'
import type { DueQueue } from '../../delivery/due-queue.ts'
import type { Block } from '../../event/block.ts'
import type { ChannelLog } from './channel-log.ts'
import type { Committer } from './committer.ts'
import { keys } from './records.ts'
import type { Store } from './store.ts'

const SWEEP_MS = 1000
/** Blocks looked through at a time. */
const SCAN_BYTES = 1024 * 1024

export interface RetentionParts {
  readonly store: Store<Block>
  readonly committer: Committer
  readonly clock: Clock
  readonly due: DueQueue
  /** The floor of a queue's workers. */
  queueFloor(log: ChannelLog): number
  alarm(error: unknown): void
}

export class Retention {
  readonly #parts: RetentionParts
  readonly #pending = new Set<ChannelLog>()
  #armedMs = Number.POSITIVE_INFINITY
  #sweeping = false

  constructor(parts: RetentionParts) {
    this.#parts = parts
  }

  /** Whether events of the channel ever go. */
  applies(log: ChannelLog): boolean {
    const { retain, kind } = log.spec
    return kind === 'queue' || retain.ageMs !== null || retain.bytes !== null || retain.count !== null || retain.latestByKey
  }

  /** Something was stored in the channel, or done. */
  note(log: ChannelLog): void {
    if (this.#pending.has(log) || !this.applies(log)) return
    this.#pending.add(log)
    this.#arm(this.#parts.clock.now() + SWEEP_MS)
  }

  /** A block of a stream that keeps the latest of each key: remember where each key's latest is. */
  noteKeys(log: ChannelLog, block: EventBlock): void {
    for (let index = 0; index < block.count; index++) {
      const { key } = block.at(index)
      if (key !== null) this.#parts.committer.record(keys.latest(log.id, key), toFloat(block.firstOffset + index))
    }
  }

  #arm(dueMs: number): void {
    if (dueMs >= this.#armedMs) return
    this.#armedMs = dueMs
    this.#parts.due.add(dueMs, () => {
      this.#armedMs = Number.POSITIVE_INFINITY
      void this.sweep()
    })
  }

  /** Let go of everything that is not to be kept now. */
  async sweep(): Promise<void> {
    if (this.#sweeping) return
    this.#sweeping = true
    const logs = [...this.#pending]
    this.#pending.clear()
    try {
      for (const log of logs) await this.#sweepLog(log)
    } catch (error) {
      this.#parts.alarm(error)
    }
    this.#sweeping = false
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
    const gone = Math.min(log.first, log.dedupe?.startOffset(now, log.committed) ?? log.committed)
    if (gone > store.bounds(log.id).first) committer.trim(log.id, gone)
    const { ageMs } = log.spec.retain
    const again = log.first > gone || (ageMs !== null && log.first < log.committed)
    if (!again) return
    this.#pending.add(log)
    this.#arm(now + (log.first > gone ? 10 * SWEEP_MS : SWEEP_MS))
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

  /** Where the newest `bytes` begin. Scans from the oldest only what is over. */
  async #afterBytes(log: ChannelLog, from: number, bytes: number): Promise<number> {
    let over = -bytes
    const sizes: (readonly [end: number, bytes: number])[] = []
    let offset = from
    while (offset < log.committed) {
      const blocks = await log.load(offset, SCAN_BYTES)
      if (blocks.length === 0) break
      for (const block of blocks) {
        offset = block.firstOffset + block.count
        sizes.push([offset, block.bytes.length])
        over += block.bytes.length
      }
    }
    let first = from
    for (const [end, size] of sizes) {
      if (over <= 0) break
      over -= size
      first = end
    }
    return Math.min(first, log.committed)
  }

  /** The first event that is still the latest of its key, or has none. */
  async #afterSuperseded(log: ChannelLog, from: number): Promise<number> {
    let offset = from
    while (offset < log.committed) {
      const blocks = await log.load(offset, SCAN_BYTES)
      if (blocks.length === 0) return offset
      for (const block of blocks) {
        for (let index = Math.max(0, offset - block.firstOffset); index < block.count; index++) {
          offset = block.firstOffset + index
          const { key } = block.at(index)
          const latest = key === null ? undefined : this.#parts.store.get(keys.latest(log.id, key))
          if (latest === undefined || fromFloat(latest) <= offset) return offset
        }
        offset = block.firstOffset + block.count
      }
    }
    return offset
  }
}

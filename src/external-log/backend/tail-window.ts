/**
 * The newest events of a channel in memory, for a backend to which the servers push every new event of the channel.
 *
 * Invariants:
 * - The window has no gaps: every event from its first offset to its end that was pushed is in it. The backend begins a
 *   new window after a gap, or makes sure that there is none.
 * - Its size is bounded in bytes. The oldest events leave first.
 * - An event is decoded when it is read for the first time.
 *
 * Two other caches of events have a different purpose. The Kafka engine fetches stretches anywhere in a topic, with all
 * partitions mixed, and keeps the stretches that were used last (`kafka/chunk-cache.ts`). A `PartitionLog` keeps blocks
 * of one partition in the form in which cursors read them, with its holes (`read/partition-log.ts`).
 */
import { lowerBound } from '../../base/lower-bound.ts'
import type { BlockEvent } from '../../event/block.ts'
import type { ReadLimit, StoredRecord } from '../log-backend.ts'

/** An event that the servers pushed. */
export interface PushedEvent<Raw> {
  readonly offset: number
  readonly partition: number
  readonly timeMs: number
  readonly bytes: number
  /** What the servers pushed; null from the moment at which the event is decoded. */
  raw: Raw | null
  /** The decoded event; null until it is read for the first time. */
  record: StoredRecord | null
}

export class TailWindow<Raw> {
  readonly #bytesMax: number
  readonly #decode: (raw: Raw) => BlockEvent
  #events: PushedEvent<Raw>[] = []
  #bytes = 0
  /** All pushed events at and after this offset are in the window. */
  #first: number
  #end: number

  /** An empty window at an offset. The servers push all events that are stored at and after it. */
  constructor(offset: number, bytesMax: number, decode: (raw: Raw) => BlockEvent) {
    this.#first = offset
    this.#end = offset
    this.#bytesMax = bytesMax
    this.#decode = decode
  }

  /** The offset after the newest event. */
  get end(): number {
    return this.#end
  }

  /** Offsets grow from call to call. */
  add(event: PushedEvent<Raw>): void {
    this.#events.push(event)
    this.#end = event.offset + 1
    this.#bytes += event.bytes
    if (this.#bytes > this.#bytesMax) this.#evict()
  }

  /** Half of the bytes leave at once, so that not every event moves all others. */
  #evict(): void {
    let gone = 0
    while (gone < this.#events.length && this.#bytes > this.#bytesMax / 2)
      this.#bytes -= (this.#events[gone++] as PushedEvent<Raw>).bytes
    this.#first = (this.#events[gone - 1] as PushedEvent<Raw>).offset + 1
    this.#events = this.#events.slice(gone)
  }

  /** Whether no event at or after an offset has left the window. */
  covers(from: number): boolean {
    return from >= this.#first
  }

  /**
   * Events at and after an offset, of one partition, or of all if `partition` is null. Returns null if the window does
   * not reach back to the offset.
   */
  read(partition: number | null, from: number, limit: ReadLimit): StoredRecord[] | null {
    if (!this.covers(from)) return null
    const events = this.#events
    const records: StoredRecord[] = []
    let bytes = 0
    let at = lowerBound(0, events.length, (index) => (events[index] as PushedEvent<Raw>).offset < from)
    for (; at < events.length && records.length < limit.count && bytes < limit.bytes; at++) {
      const event = events[at] as PushedEvent<Raw>
      if (partition !== null && event.partition !== partition) continue
      const record = this.#record(event)
      records.push(record)
      bytes += record.event.text.length
    }
    return records
  }

  #record(event: PushedEvent<Raw>): StoredRecord {
    event.record ??= { offset: event.offset, timeMs: event.timeMs, event: this.#decode(event.raw as Raw) }
    event.raw = null
    return event.record
  }

  /** Forget all events: nothing is read here any more. */
  clear(): void {
    this.#events = []
    this.#bytes = 0
    this.#first = this.#end
  }
}

/**
 * One partition of a channel as a cursor sees it: offsets without gaps (an offset that the backend does not have is an
 * event without text), a few blocks in memory, and the offset after the last known event.
 */
import { LIMITS } from '../../base/limits.ts'
import { lowerBound } from '../../base/lower-bound.ts'
import { OneAtATime } from '../../base/one-at-a-time.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import type { DeliveryLog, EventBlock, LogListener } from '../../delivery/delivery-log.ts'
import type { BlockEvent } from '../../event/block.ts'
import type { LogBackend, StoredRecord, Tail } from '../log-backend.ts'

const CACHED_BLOCKS = 16
const READ_EVENTS = 500

const HOLE: BlockEvent = { id: '', type: '', key: null, text: '' }

class SparseBlock implements EventBlock {
  readonly firstOffset: number
  readonly count: number
  readonly #nowMs: number
  readonly #records: readonly StoredRecord[]
  /** Index of the record that was found last. The next search mostly ends at it or at the record after it. */
  #near = 0

  constructor(firstOffset: number, end: number, records: readonly StoredRecord[], nowMs: number) {
    this.firstOffset = firstOffset
    this.count = end - firstOffset
    this.#nowMs = nowMs
    this.#records = records
  }

  /** Index of the first record at or after an offset. */
  #find(offset: number): number {
    const records = this.#records
    const isBefore = (index: number): boolean =>
      index < records.length && (records[index] as StoredRecord).offset < offset
    let low = this.#near
    if (low > 0 && !isBefore(low - 1)) low = 0
    else if (isBefore(low)) low++
    // The search has mostly ended here.
    if (isBefore(low)) low = lowerBound(low, records.length, isBefore)
    this.#near = low
    return low
  }

  at(index: number): BlockEvent {
    const record = this.#records[this.#find(this.firstOffset + index)]
    return record?.offset === this.firstOffset + index ? record.event : HOLE
  }

  typeAt(index: number): string {
    return this.at(index).type
  }

  timeAt(index: number): number {
    return this.#records[this.#find(this.firstOffset + index)]?.timeMs ?? this.#nowMs
  }

  holes(index: number): number {
    const next = this.#records[this.#find(this.firstOffset + index)]
    return (next === undefined ? this.count : Math.min(this.count, next.offset - this.firstOffset)) - index
  }
}

export class PartitionLog implements DeliveryLog {
  readonly id: number
  readonly name: string
  readonly spec: Pick<ChannelSpec, 'kind'>
  first = 0
  committed = 0
  readonly listeners: Set<LogListener> = new Set()
  readonly #backend: LogBackend
  readonly #nowMs: () => number
  #cache: SparseBlock[] = []
  readonly #refreshing = new OneAtATime(() => this.#refresh())

  constructor(backend: LogBackend, spec: ChannelSpec, partition: number, nowMs: () => number) {
    this.#backend = backend
    this.#nowMs = nowMs
    this.id = partition
    this.name = spec.name
    this.spec = spec
  }

  /** A backend that keeps only the latest event of each key has deleted the others. */
  superseded(): boolean {
    return false
  }

  /** Ask where the partition begins and ends. */
  refresh(): Promise<void> {
    return this.#refreshing.ask()
  }

  async #refresh(): Promise<void> {
    const { first, next } = await this.#backend.bounds(this.name, this.id)
    this.first = Math.max(this.first, first)
    this.advance(next)
  }

  /** There are events below this offset. */
  advance(next: number, tail: Tail | null = null): void {
    if (next <= this.committed) return
    let block: SparseBlock | null = null
    // Nothing stands between the known end and the first of these events.
    if (tail !== null && tail.before <= this.committed && (tail.records[0]?.offset ?? next) >= this.committed) {
      block = new SparseBlock(this.committed, next, tail.records, this.#nowMs())
      this.#keep(block)
    }
    this.committed = next
    for (const listener of [...this.listeners]) listener.onCommitted(block)
  }

  #keep(block: SparseBlock): void {
    this.#cache.unshift(block)
    if (this.#cache.length > CACHED_BLOCKS) this.#cache.pop()
  }

  blockInMemory(offset: number): EventBlock | undefined {
    return this.#cache.find((block) => offset >= block.firstOffset && offset < block.firstOffset + block.count)
  }

  async load(offset: number, maxBytes: number): Promise<EventBlock[]> {
    const block = await this.#read(offset, { count: READ_EVENTS, bytes: Math.max(maxBytes, LIMITS.readAheadBytes / 4) })
    return block === null ? [] : [block]
  }

  async cache(offset: number): Promise<EventBlock | undefined> {
    return (await this.#read(offset, { count: 50, bytes: LIMITS.readAheadBytes / 4 })) ?? undefined
  }

  async #read(offset: number, limit: { readonly count: number; readonly bytes: number }): Promise<SparseBlock | null> {
    const end = this.committed
    const records = await this.#backend.read(this.name, this.id, offset, limit)
    const last = records.at(-1)
    const bytes = records.reduce((sum, { event }) => sum + event.text.length, 0)
    // Fewer events than there was room for: there are no others below the known end.
    const whole = records.length < limit.count && bytes < limit.bytes
    const next = last === undefined ? end : whole ? Math.max(end, last.offset + 1) : last.offset + 1
    if (next <= offset) return null
    const block = new SparseBlock(offset, next, records, this.#nowMs())
    this.#keep(block)
    return block
  }
}

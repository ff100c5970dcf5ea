/**
 * Stretches of a channel's log in memory: what was fetched or written lately, so that the partitions and consumers of a
 * process that read the same stretch fetch it once. The size is bounded in bytes. The chunks that were not used for
 * longest leave.
 *
 * It is not the tail window of other backends (`external-log/backend/tail-window.ts`): a fetch may begin anywhere in
 * the log, and brings all partitions of the channel.
 */
import type { BlockEvent } from '../../event/block.ts'

/** An event as it is kept. Duplicates are not kept. */
export interface KeptEvent {
  readonly offset: number
  readonly timeMs: number
  readonly partition: number
  readonly event: BlockEvent
}

const GROW_EVENTS = 500

/** All events from `first` up to `end`. */
export class Chunk {
  readonly first: number
  end: number
  bytes = 0
  used = 0
  /** The events; until they are first read, a function that decodes them. */
  #events: KeptEvent[] | (() => KeptEvent[])
  #byPartition: Map<number, KeptEvent[]> | null = null

  constructor(first: number, end: number, events: KeptEvent[]) {
    this.first = first
    this.end = end
    this.#events = events
    for (const { event } of events) this.bytes += event.text.length + 200
  }

  /** A chunk of one buffer. Its events are decoded when they are asked for. */
  static packed(first: number, end: number, batch: Buffer, decode: () => KeptEvent[]): Chunk {
    const chunk = new Chunk(first, end, [])
    chunk.#events = decode
    // The bytes as they are, and perhaps once more as events.
    chunk.bytes = 2 * batch.length
    return chunk
  }

  get events(): KeptEvent[] {
    if (typeof this.#events === 'function') this.#events = this.#events()
    return this.#events
  }

  /** The events of one partition, or (null) of all. */
  of(partition: number | null): readonly KeptEvent[] {
    if (partition === null) return this.events
    if (this.#byPartition === null) {
      this.#byPartition = new Map()
      for (const event of this.events) this.#index(event, this.#byPartition)
    }
    return this.#byPartition.get(partition) ?? []
  }

  #index(event: KeptEvent, byPartition: Map<number, KeptEvent[]>): void {
    const events = byPartition.get(event.partition)
    if (events === undefined) byPartition.set(event.partition, [event])
    else events.push(event)
  }

  /** Add a chunk that comes right after this one, if there is room. */
  grow(next: Chunk): boolean {
    const [events, more] = [this.#events, next.#events]
    if (typeof events === 'function' || typeof more === 'function') return false
    if (next.first !== this.end || events.length + more.length > GROW_EVENTS) return false
    for (const event of more) {
      events.push(event)
      if (this.#byPartition !== null) this.#index(event, this.#byPartition)
    }
    this.end = next.end
    this.bytes += next.bytes
    return true
  }
}

export class ChunkCache {
  readonly #bytesMax: number
  #chunks: Chunk[] = []
  #bytes = 0
  #clock = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** The chunk that has an offset. */
  find(offset: number): Chunk | undefined {
    // The newest chunks stand last, and are asked for most.
    for (let at = this.#chunks.length - 1; at >= 0; at--) {
      const chunk = this.#chunks[at] as Chunk
      if (offset >= chunk.first && offset < chunk.end) {
        chunk.used = ++this.#clock
        return chunk
      }
    }
    return undefined
  }

  /** Answers the chunk that has the events now. */
  add(chunk: Chunk): Chunk {
    const last = this.#chunks.at(-1)
    this.#bytes += chunk.bytes
    if (last?.grow(chunk) === true) return last
    chunk.used = ++this.#clock
    this.#chunks.push(chunk)
    while (this.#bytes > this.#bytesMax && this.#chunks.length > 1) this.#dropOldest()
    return chunk
  }

  #dropOldest(): void {
    let oldest = 0
    for (let at = 1; at < this.#chunks.length; at++) {
      if ((this.#chunks[at] as Chunk).used < (this.#chunks[oldest] as Chunk).used) oldest = at
    }
    const [dropped] = this.#chunks.splice(oldest, 1)
    this.#bytes -= dropped?.bytes ?? 0
  }
}

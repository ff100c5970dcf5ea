/**
 * Publishing through a backend: events of one channel go out in order, one append at a time; what is published meanwhile goes out together in
 * the next. What waits is bounded (clause 10).
 */
import { createHash } from 'node:crypto'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { EncodedEvent } from '../broker/engine.ts'
import { Meter } from '../delivery/meter.ts'
import type { Appended, AppendItem, ChannelEntry, LogBackend } from './log-backend.ts'

const TOGETHER_EVENTS = 500
const TOGETHER_BYTES = 1024 * 1024

interface Waiting {
  readonly items: readonly AppendItem[]
  readonly atomic: boolean
  readonly bytes: number
  readonly resolve: (appended: readonly Appended[]) => void
  readonly reject: (error: Error) => void
}

/** The partition of a key; events without a key are spread by their id. The same on every engine and in every version. */
export function partitionOf(event: EncodedEvent, partitions: number): number {
  if (partitions === 1) return 0
  return (
    createHash('md5')
      .update(event.key ?? `\0${event.id}`)
      .digest()
      .readUInt32LE(0) % partitions
  )
}

export function itemOf(event: EncodedEvent, { spec, partitions }: ChannelEntry, always = false): AppendItem {
  return { partition: partitionOf(event, partitions), event, dedupeId: spec.dedupe === null && !always ? null : event.id }
}

class ChannelAppender {
  readonly #channel: string
  readonly #backend: LogBackend
  readonly #appended: (partition: number, next: number) => void
  readonly #nowMs: () => number
  /** What this process has published. */
  readonly meter: Meter = new Meter()
  #queue: Waiting[] = []
  #bytes = 0
  #busy = false

  constructor(channel: string, backend: LogBackend, appended: (partition: number, next: number) => void, nowMs: () => number) {
    this.#channel = channel
    this.#backend = backend
    this.#appended = appended
    this.#nowMs = nowMs
  }

  get busy(): boolean {
    return this.#busy
  }

  /** @throws BACKPRESSURE, and what the backend's `append` rejects with */
  async append(items: readonly AppendItem[], atomic: boolean): Promise<readonly Appended[]> {
    const bytes = items.reduce((sum, { event }) => sum + event.text.length, 0)
    if (this.#bytes > 0 && this.#bytes + bytes > LIMITS.pendingBytesMax) throw this.#tooMuch()
    return new Promise((resolve, reject) => {
      this.#queue.push({ items, atomic, bytes, resolve, reject })
      this.#bytes += bytes
      if (this.#busy) return
      this.#busy = true
      process.nextTick(() => void this.#run())
    })
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const together = this.#take()
      const items = together.flatMap((waiting) => waiting.items)
      try {
        const appended = await this.#backend.append(this.#channel, items, together[0]?.atomic ?? false)
        this.#tell(items, appended)
        let at = 0
        for (const waiting of together) {
          waiting.resolve(appended.slice(at, at + waiting.items.length))
          at += waiting.items.length
        }
      } catch (error) {
        for (const waiting of together) waiting.reject(error as Error)
      }
      for (const waiting of together) this.#bytes -= waiting.bytes
    }
    this.#busy = false
  }

  /** What goes out in the next append: an atomic batch alone, others together. */
  #take(): Waiting[] {
    const together: Waiting[] = []
    let events = 0
    let bytes = 0
    while (this.#queue.length > 0 && events < TOGETHER_EVENTS && bytes < TOGETHER_BYTES) {
      const next = this.#queue[0] as Waiting
      if (next.atomic && together.length > 0) break
      this.#queue.shift()
      together.push(next)
      events += next.items.length
      bytes += next.bytes
      if (next.atomic) break
    }
    return together
  }

  #tell(items: readonly AppendItem[], appended: readonly Appended[]): void {
    const ends = new Map<number, number>()
    for (const [at, { offset, duplicate }] of appended.entries()) {
      if (!duplicate) ends.set((items[at] as AppendItem).partition, offset + 1)
    }
    this.meter.mark(appended.filter(({ duplicate }) => !duplicate).length, this.#nowMs())
    for (const [partition, next] of ends) this.#appended(partition, next)
  }

  #tooMuch(): MillraceError {
    return new MillraceError(
      'BACKPRESSURE',
      `${this.#bytes} bytes of events for channel "${this.#channel}" wait for the server, more than the ${LIMITS.pendingBytesMax} allowed: await earlier publishes before making more`,
      { channel: this.#channel, pendingBytes: this.#bytes, pendingBytesMax: LIMITS.pendingBytesMax },
    )
  }
}

/** What appends to each channel. */
export class Appenders {
  readonly #byChannel = new Map<string, ChannelAppender>()
  readonly #backend: LogBackend
  readonly #appended: (channel: string, partition: number, next: number) => void
  readonly #nowMs: () => number

  constructor(backend: LogBackend, appended: (channel: string, partition: number, next: number) => void, nowMs: () => number) {
    this.#backend = backend
    this.#appended = appended
    this.#nowMs = nowMs
  }

  of(channel: string): ChannelAppender {
    let appender = this.#byChannel.get(channel)
    if (appender === undefined) {
      appender = new ChannelAppender(channel, this.#backend, (partition, next) => this.#appended(channel, partition, next), this.#nowMs)
      this.#byChannel.set(channel, appender)
    }
    return appender
  }

  /** Events a second that this process has published to a channel. */
  rate(channel: string): number {
    return this.#byChannel.get(channel)?.meter.rate(this.#nowMs()) ?? 0
  }

  delete(channel: string): void {
    this.#byChannel.delete(channel)
  }
}

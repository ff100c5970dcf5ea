/**
 * Publishing through a backend: events of one channel go out in order, one append at a time; what is published meanwhile goes out together in
 * the next. What waits is bounded (clause 10).
 */
import { hash } from 'node:crypto'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { EncodedEvent } from '../broker/engine.ts'
import { Meter } from '../delivery/meter.ts'
import type { Appended, AppendItem, ChannelEntry, LogBackend, StoredRecord } from './log-backend.ts'
import type { Tail } from './partition-log.ts'

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
    Number.parseInt(
      hash('md5', event.key ?? `\0${event.id}`)
        .slice(0, 8)
        .replace(/(..)(..)(..)(..)/, '$4$3$2$1'),
      16,
    ) % partitions
  )
}

/** @throws EVENT_TOO_LARGE when it is more than the servers take */
export function checkSize({ id, type, text }: EncodedEvent, channel: string, bytesMax: number): void {
  if (text.length * 3 <= bytesMax) return
  const bytes = Buffer.byteLength(text)
  if (bytes <= bytesMax) return
  const message = `event "${type}" (id ${id}) has ${bytes} bytes as CloudEvents JSON; the servers of channel "${channel}" take ${bytesMax}: store the data elsewhere and publish a reference`
  throw new MillraceError('EVENT_TOO_LARGE', message, { channel, type, id, bytes, bytesMax })
}

export function itemOf(event: EncodedEvent, { spec, partitions }: ChannelEntry, always = false): AppendItem {
  return { partition: partitionOf(event, partitions), event, dedupeId: spec.dedupe === null && !always ? null : event.id }
}

/** Told where a partition ends now, and, where nothing stands between, with what. */
type OnAppended = (channel: string, partition: number, next: number, tail: Tail | null) => void

class ChannelAppender {
  readonly #channel: string
  readonly #backend: LogBackend
  readonly #appended: (partition: number, next: number, tail: Tail | null) => void
  readonly #nowMs: () => number
  /** What this process has published. */
  readonly meter: Meter = new Meter()
  #queue: Waiting[] = []
  #bytes = 0
  #scheduled = false
  readonly #flights = new Set<Promise<void>>()

  constructor(channel: string, backend: LogBackend, appended: (partition: number, next: number, tail: Tail | null) => void, nowMs: () => number) {
    this.#channel = channel
    this.#backend = backend
    this.#appended = appended
    this.#nowMs = nowMs
  }

  get busy(): boolean {
    return this.#scheduled || this.#flights.size > 0
  }

  /** @throws BACKPRESSURE · EVENT_TOO_LARGE, and what the backend's `append` rejects with */
  async append(items: readonly AppendItem[], atomic: boolean): Promise<readonly Appended[]> {
    // Each for itself: one that is too large must not fail those that go out with it.
    for (const { event } of items) checkSize(event, this.#channel, this.#backend.limits.entryBytes)
    const bytes = items.reduce((sum, { event }) => sum + event.text.length, 0)
    if (this.#bytes > 0 && this.#bytes + bytes > LIMITS.pendingBytesMax) throw this.#tooMuch()
    return new Promise((resolve, reject) => {
      this.#queue.push({ items, atomic, bytes, resolve, reject })
      this.#bytes += bytes
      if (this.#scheduled) return
      this.#scheduled = true
      process.nextTick(() => {
        this.#scheduled = false
        this.#send()
      })
    })
  }

  /** Refuse what was not begun, and wait for what was: nothing is stored after it was refused. */
  async close(): Promise<void> {
    for (const { reject } of this.#queue.splice(0)) reject(new MillraceError('CLOSED', 'the broker was closed before this event was stored'))
    await Promise.all(this.#flights)
  }

  #send(): void {
    while (this.#queue.length > 0 && this.#flights.size < (this.#backend.limits.appendsInFlight ?? 1)) {
      const flight = this.#fly(this.#take()).then(() => {
        this.#flights.delete(flight)
        this.#send()
      })
      this.#flights.add(flight)
    }
  }

  async #fly(together: readonly Waiting[]): Promise<void> {
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
    const parts = new Map<number, { next: number; before: number | undefined; readonly records: StoredRecord[] }>()
    let stored = 0
    for (const [at, { offset, duplicate, before, timeMs }] of appended.entries()) {
      if (duplicate) continue
      stored++
      const { partition, event } = items[at] as AppendItem
      let part = parts.get(partition)
      if (part === undefined) {
        part = { next: offset, before, records: [] }
        parts.set(partition, part)
      } else if (before !== part.next) part.before = undefined
      part.next = offset + 1
      if (timeMs !== undefined) part.records.push({ offset, timeMs, event })
    }
    this.meter.mark(stored, this.#nowMs())
    for (const [partition, { next, before, records }] of parts) this.#appended(partition, next, before === undefined ? null : { before, records })
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
  readonly #appended: OnAppended
  readonly #nowMs: () => number

  constructor(backend: LogBackend, appended: OnAppended, nowMs: () => number) {
    this.#backend = backend
    this.#appended = appended
    this.#nowMs = nowMs
  }

  of(channel: string): ChannelAppender {
    let appender = this.#byChannel.get(channel)
    if (appender === undefined) {
      appender = new ChannelAppender(channel, this.#backend, (partition, next, tail) => this.#appended(channel, partition, next, tail), this.#nowMs)
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

  async close(): Promise<void> {
    await Promise.all([...this.#byChannel.values()].map((appender) => appender.close()))
  }
}

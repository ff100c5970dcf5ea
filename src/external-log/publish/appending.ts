/**
 * Publishing through a backend: the events of one channel go out in order, in as many appends at a time as the backend
 * allows. Events that are published meanwhile go out together in the next append. What waits is bounded (clause 10).
 */

import type { Clock } from '../../base/clock.ts'
import { type ErrorCode, isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { Meter } from '../../base/meter.ts'
import { nextTick, nextTurn } from '../../base/timers.ts'
import { WorkTimes } from '../../base/work-times.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { PublishLoad } from '../../broker/publish-load.ts'
import type { Receipt } from '../../broker/receipt.ts'
import type { Appended, AppendItem, ChannelEntry, LogBackend, StoredRecord, Tail } from '../log-backend.ts'
import { partitionHash } from './partition-hash.ts'

const TOGETHER_EVENTS = 500
const TOGETHER_BYTES = 1024 * 1024
/** The number of keys whose hashes are kept. */
const KNOWN_KEYS_MAX = 20_000

interface QueuedAppend {
  readonly items: readonly AppendItem[]
  readonly atomic: boolean
  readonly bytes: number
  /** Answers of the append; those of these events begin at an index. */
  readonly settle: (appended: readonly Appended[], from: number) => void
  readonly reject: (error: unknown) => void
  /** Called when the events are stored, or refused. */
  over: (() => void) | null
}

type Outcome = { readonly appended: readonly Appended[] } | { readonly error: unknown }

/** Events that went out together, and what became of them. */
interface Answer {
  readonly together: readonly QueuedAppend[]
  readonly items: readonly AppendItem[]
  readonly outcome: Outcome
}

const hashes = new Map<string, number>()

/** The partition of a key. Events without a key are spread by their id. The function is the same on every engine. */
export function partitionOf({ key, id }: EncodedEvent, partitions: number): number {
  if (partitions === 1) return 0
  if (key === null) return partitionHash(id) % partitions
  let known = hashes.get(key)
  if (known === undefined) {
    if (hashes.size >= KNOWN_KEYS_MAX) hashes.clear()
    known = partitionHash(key)
    hashes.set(key, known)
  }
  return known % partitions
}

/** Checks the size of an event. @throws EVENT_TOO_LARGE when it is larger than the servers accept */
export function checkSize({ id, type, text }: EncodedEvent, channel: string, bytesMax: number): void {
  if (text.length * 3 <= bytesMax) return
  const bytes = Buffer.byteLength(text)
  if (bytes <= bytesMax) return
  const message = `event "${type}" (id ${id}) has ${bytes} bytes as CloudEvents JSON; the servers of channel "${channel}" take ${bytesMax}: store the data elsewhere and publish a reference`
  throw new MillraceError('EVENT_TOO_LARGE', message, { channel, type, id, bytes, bytesMax })
}

export function itemOf(event: EncodedEvent, { spec, partitions }: ChannelEntry, always = false): AppendItem {
  return {
    partition: partitionOf(event, partitions),
    event,
    dedupeId: spec.dedupe === null && !always ? null : event.id,
  }
}

/** Called with the offset at which a partition ends now, and with the new events if nothing stands between. */
type OnAppended = (channel: string, partition: number, next: number, tail: Tail | null) => void

export interface AppendingHost {
  readonly backend: LogBackend
  readonly appended: OnAppended
  readonly clock: Pick<Clock, 'elapsed'>
  /** The servers do not know the channel. */
  unknown(channel: string): void
}

class ChannelAppender {
  readonly #channel: string
  readonly #host: AppendingHost
  readonly #flightsMax: number
  /** The rate at which this process publishes. */
  readonly meter: Meter = new Meter()
  readonly #times = new WorkTimes()
  #queue: QueuedAppend[] = []
  #bytes = 0
  #scheduled = false
  /** Appends without an answer, and appends with an answer of which callers are not told yet. */
  readonly #flights = new Set<Promise<void>>()
  #unanswered = 0

  constructor(channel: string, host: AppendingHost) {
    this.#channel = channel
    this.#host = host
    this.#flightsMax = host.backend.limits.appendsInFlight ?? 1
  }

  /** @throws BACKPRESSURE · EVENT_TOO_LARGE, and what the backend's `append` rejects with */
  append(items: readonly AppendItem[], atomic: boolean): Promise<readonly Appended[]> {
    return new Promise((resolve, reject) => {
      this.#enqueue(items, atomic, (appended, from) => resolve(appended.slice(from, from + items.length)), reject)
    })
  }

  /** As `append`, for one event. */
  appendOne(item: AppendItem): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const settle = (appended: readonly Appended[], from: number): void => {
        const { offset, duplicate } = appended[from] as Appended
        resolve({ channel: this.#channel, id: item.event.id, offset, duplicate })
      }
      this.#enqueue([item], false, settle, reject)
    })
  }

  #enqueue(
    items: readonly AppendItem[],
    atomic: boolean,
    settle: QueuedAppend['settle'],
    reject: QueuedAppend['reject'],
  ): void {
    let bytes = 0
    for (const { event } of items) {
      // Each event is checked by itself: one that is too large must not fail the others.
      checkSize(event, this.#channel, this.#host.backend.limits.entryBytes)
      bytes += event.text.length
    }
    if (this.#bytes > 0 && this.#bytes + bytes > LIMITS.pendingBytesMax) throw this.#tooMuch()
    this.#queue.push({ items, atomic, bytes, settle, reject, over: null })
    this.#bytes += bytes
    if (this.#scheduled) return
    this.#scheduled = true
    nextTick(() => {
      this.#scheduled = false
      this.#send()
    })
  }

  /** What publishing to the channel waits for. */
  get load(): PublishLoad {
    const { underWayMs, meanMs } = this.#times
    return {
      ...{ storedBy: 'servers', waitingBytes: this.#bytes, waitingBytesMax: LIMITS.pendingBytesMax },
      ...{ underWayMs, takesMs: meanMs, journalFull: false },
    }
  }

  /** Resolves when everything that was appended so far is stored or refused. */
  async settled(): Promise<void> {
    const last = this.#queue.at(-1)
    const begun = last === undefined ? undefined : new Promise<void>((resolve) => after(last, resolve))
    await Promise.all([begun, ...this.#flights])
  }

  /** Refuse what has not begun, and wait for what has. Nothing is stored after it was refused. */
  async close(): Promise<void> {
    for (const { reject, over } of this.#queue.splice(0)) {
      reject(new MillraceError('CLOSED', 'the broker was closed before this event was stored'))
      over?.()
    }
    await Promise.all(this.#flights)
  }

  #send(): void {
    while (this.#queue.length > 0 && this.#unanswered < this.#flightsMax) {
      const together = this.#take()
      const items =
        together.length === 1 ? (together[0] as QueuedAppend).items : together.flatMap((waiting) => waiting.items)
      this.#unanswered++
      const flight = this.#fly(together, items).then(() => {
        this.#flights.delete(flight)
        this.#send()
      })
      this.#flights.add(flight)
    }
  }

  /** Never rejects: every caller is answered, whatever fails. */
  async #fly(together: readonly QueuedAppend[], items: readonly AppendItem[]): Promise<void> {
    const atomic = together[0]?.atomic ?? false
    const first: Answer = { together, items, outcome: await this.#outcome(items, atomic) }
    const answers = isOfOne(first) ? await this.#eachAlone(together) : [first]
    this.#unanswered--
    if (this.#flightsMax === 1 && this.#queue.length > 0) await this.#next()
    for (const answer of answers) this.#answer(answer)
  }

  /** An event that the servers refuse must not fail those of other callers that went out with it. */
  async #eachAlone(together: readonly QueuedAppend[]): Promise<Answer[]> {
    const answers: Answer[] = []
    for (const waiting of together) {
      const { items, atomic } = waiting
      answers.push({ together: [waiting], items, outcome: await this.#outcome(items, atomic) })
    }
    return answers
  }

  #answer({ together, items, outcome }: Answer): void {
    try {
      if ('error' in outcome) throw outcome.error
      this.#tell(items, outcome.appended)
      let from = 0
      for (const waiting of together) {
        waiting.settle(outcome.appended, from)
        from += waiting.items.length
      }
    } catch (error) {
      if (isMillraceError(error, 'UNKNOWN_CHANNEL')) this.#host.unknown(this.#channel)
      for (const { reject } of together) reject(error)
    }
    for (const waiting of together) {
      this.#bytes -= waiting.bytes
      waiting.over?.()
    }
  }

  /** A backend that throws before it returns a promise has answered, too. */
  async #outcome(items: readonly AppendItem[], atomic: boolean): Promise<Outcome> {
    const begunMs = this.#times.begin()
    try {
      return { appended: await this.#host.backend.append(this.#channel, items, atomic) }
    } catch (error) {
      return { error }
    } finally {
      this.#times.end(begunMs)
    }
  }

  /**
   * If one append is sent at a time, the next one is sent first: the servers work on it while the callers of this one
   * continue.
   */
  #next(): Promise<void> {
    this.#send()
    return new Promise((resolve) => nextTurn(resolve))
  }

  /** What goes out in the next append: an atomic batch alone, other events together. */
  #take(): QueuedAppend[] {
    let count = 0
    let events = 0
    let bytes = 0
    while (count < this.#queue.length && events < TOGETHER_EVENTS && bytes < TOGETHER_BYTES) {
      const next = this.#queue[count] as QueuedAppend
      if (next.atomic && count > 0) break
      count++
      events += next.items.length
      bytes += next.bytes
      if (next.atomic) break
    }
    return this.#queue.splice(0, count)
  }

  #tell(items: readonly AppendItem[], appended: readonly Appended[]): void {
    const parts = new Map<number, { next: number; before: number | undefined; readonly records: StoredRecord[] }>()
    let stored = 0
    for (let at = 0; at < appended.length; at++) {
      const { offset, duplicate, before, timeMs } = appended[at] as Appended
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
    this.meter.mark(stored, this.#host.clock.elapsed())
    for (const [partition, { next, before, records }] of parts)
      this.#host.appended(this.#channel, partition, next, before === undefined ? null : { before, records })
  }

  #tooMuch(): MillraceError {
    return new MillraceError(
      'BACKPRESSURE',
      `${this.#bytes} bytes of events for channel "${this.#channel}" wait for the server, more than the ${LIMITS.pendingBytesMax} allowed: await earlier publishes before making more`,
      { channel: this.#channel, pendingBytes: this.#bytes, pendingBytesMax: LIMITS.pendingBytesMax },
    )
  }
}

/** Errors of a whole channel or server: alone, each of its events would fail alike. */
const OF_ALL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'UNKNOWN_CHANNEL',
  'CHANNEL_CONFLICT',
  'CLAUSE_REFUSED',
  'CLOSED',
  'FORBIDDEN',
  'UNAUTHENTICATED',
])

/**
 * Whether events of several callers failed, perhaps because of one of them. All have ids that the backend compares: if
 * it stored some, it does not store them again.
 */
function isOfOne({ together, items, outcome }: Answer): boolean {
  if (together.length === 1 || !('error' in outcome)) return false
  const { error } = outcome
  if (!isMillraceError(error) || error.retryable || OF_ALL.has(error.code)) return false
  return items.every(({ dedupeId }) => dedupeId !== null)
}

function after(waiting: QueuedAppend, task: () => void): void {
  const { over } = waiting
  waiting.over =
    over === null
      ? task
      : () => {
          over()
          task()
        }
}

/** The appenders of all channels. */
export class Appenders {
  readonly #byChannel = new Map<string, ChannelAppender>()
  readonly #host: AppendingHost

  constructor(host: AppendingHost) {
    this.#host = host
  }

  of(channel: string): ChannelAppender {
    let appender = this.#byChannel.get(channel)
    if (appender === undefined) {
      appender = new ChannelAppender(channel, this.#host)
      this.#byChannel.set(channel, appender)
    }
    return appender
  }

  /** Events a second that this process publishes to a channel. */
  rate(channel: string): number {
    return this.#byChannel.get(channel)?.meter.rate(this.#host.clock.elapsed()) ?? 0
  }

  delete(channel: string): void {
    this.#byChannel.delete(channel)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#byChannel.values()].map((appender) => appender.close()))
  }
}

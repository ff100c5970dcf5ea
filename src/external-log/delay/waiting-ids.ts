/**
 * The ids of delayed events that wait (clause 8), so that the publish of such an id is answered as a duplicate at once,
 * whichever process delayed the first event.
 *
 * The queue of delayed events is the registry. Each process that publishes follows it, and keeps for each event a
 * number made of its id, and its offset in the queue. When a number is met again, the record at that offset is read, so
 * the id itself decides. An id is known until its channel's window has passed after the event was due. From then on the
 * channel would store it again.
 *
 * A cancellation is a record of the queue, later than the event that it is about. An id that is met is decided only
 * after the queue was read to its end. So an id is free as soon as its cancellation is answered, in every process.
 *
 * An event that another process delayed a moment ago may not be known here yet. The duplicate is then detected when it
 * becomes due, and the event is still stored once.
 */
import { hash } from 'node:crypto'
import { LIMITS } from '../../base/limits.ts'
import { OneAtATime } from '../../base/one-at-a-time.ts'
import type { ChannelEntry, LogBackend } from '../log-backend.ts'
import { cancelledIn, isFor, SCHEDULE, scheduledId, scheduledIn, waitingId } from './scheduler.ts'

const PAGE = { count: 1000, bytes: LIMITS.readAheadBytes }

export class WaitingIds {
  readonly #backend: LogBackend
  /** Offsets in the queue, by channel and number, in ascending order. */
  readonly #offsets = new Map<string, Map<number, number>>()
  /** Offsets of cancelled events, in the order of their cancellations. */
  readonly #cancelled = new Set<number>()
  #size = 0
  #next = 0
  #following: Promise<void> | null = null
  #stop: (() => void) | null = null
  readonly #reading = new OneAtATime(() => this.#readOn())
  #ended = false

  constructor(backend: LogBackend) {
    this.#backend = backend
  }

  /** Resolves when every event that waits now is known. Later ones become known as they come. */
  follow(alarm: (error: unknown) => void): Promise<void> {
    this.#following ??= this.#follow(alarm)
    this.#following.catch(() => {
      this.#following = null
    })
    return this.#following
  }

  async #follow(alarm: (error: unknown) => void): Promise<void> {
    this.#stop ??= await this.#backend.watch(SCHEDULE, () => void this.#reading.ask().catch(alarm))
    if (this.#ended) this.end()
    await this.#reading.ask()
  }

  end(): void {
    this.#ended = true
    this.#stop?.()
    this.#stop = null
  }

  /** Read on to the end of the queue, and forget the events that have left it at the front. */
  async #readOn(): Promise<void> {
    const { first } = await this.#backend.bounds(SCHEDULE, 0)
    for (const [channel, offsets] of this.#offsets) {
      for (const [number, queueOffset] of offsets) {
        if (queueOffset >= first && this.#size <= LIMITS.waitingIdsMax) break
        this.#forget(channel, number)
      }
    }
    for (const queueOffset of this.#cancelled)
      if (queueOffset < first || this.#cancelled.size > LIMITS.waitingIdsMax) this.#cancelled.delete(queueOffset)
    this.#next = Math.max(this.#next, first)
    for (;;) {
      const records = await this.#backend.read(SCHEDULE, 0, this.#next, PAGE)
      for (const { offset, event } of records) {
        const cancelled = cancelledIn(event.text)
        if (cancelled !== null) this.cancelled(cancelled.cancelled, cancelled.queueOffset)
        const id = cancelled === null ? waitingId(event) : null
        if (id !== null) this.add(id, offset)
      }
      const last = records.at(-1)
      if (last === undefined) return
      this.#next = Math.max(this.#next, last.offset + 1)
    }
  }

  /** An event waits from now on. `scheduledId` is its id in the queue. */
  add(scheduledId: string, queueOffset: number): void {
    if (queueOffset < 0 || this.#cancelled.has(queueOffset)) return
    const channel = channelIn(scheduledId)
    let offsets = this.#offsets.get(channel)
    if (offsets === undefined) {
      offsets = new Map()
      this.#offsets.set(channel, offsets)
    }
    const number = numberOf(scheduledId)
    // An event that waits again moves to the end, so the offsets of a channel ascend.
    if (!offsets.delete(number)) this.#size++
    offsets.set(number, queueOffset)
  }

  /** The event at an offset of the queue does not wait any more. Its id is free. */
  cancelled(scheduledId: string, queueOffset: number): void {
    this.#cancelled.add(queueOffset)
    const channel = channelIn(scheduledId)
    const number = numberOf(scheduledId)
    if (this.#offsets.get(channel)?.get(number) === queueOffset) this.#forget(channel, number)
  }

  #forget(channel: string, number: number): void {
    const offsets = this.#offsets.get(channel)
    if (offsets?.delete(number) !== true) return
    this.#size--
    if (offsets.size === 0) this.#offsets.delete(channel)
  }

  /**
   * Whether this process knows no waiting event with this id. This costs nothing for a channel without waiting events.
   */
  isFree(entry: ChannelEntry, id: string): boolean {
    const offsets = this.#offsets.get(entry.incarnation)
    return offsets === undefined || !offsets.has(numberOf(scheduledId(entry, id)))
  }

  /**
   * Those of the ids that wait, or were due so recently that the window still has them: when they are due, and their
   * offsets in the queue.
   */
  async known(entry: ChannelEntry, ids: readonly string[], nowMs: number): Promise<ReadonlyMap<string, WaitingEvent>> {
    const found = new Map<string, WaitingEvent>()
    const met = new Set(ids.filter((id) => !this.isFree(entry, id)))
    if (met.size > 0) await this.#reading.ask()
    for (const id of met) {
      const number = numberOf(scheduledId(entry, id))
      const queueOffset = this.#offsets.get(entry.incarnation)?.get(number)
      if (queueOffset === undefined) continue
      const [record] = await this.#backend.read(SCHEDULE, 0, queueOffset, { count: 1, bytes: 1 })
      const scheduled = record?.offset === queueOffset ? scheduledIn(record.event.text) : null
      const knownUntilMs = (scheduled?.dueAtMs ?? 0) + (entry.spec.dedupe?.ageMs ?? 0)
      if (scheduled === null || knownUntilMs < nowMs) this.#forget(entry.incarnation, number)
      else if (isFor(scheduled, entry) && scheduled.event.id === id)
        found.set(id, { dueAtMs: scheduled.dueAtMs ?? 0, queueOffset })
    }
    return found
  }
}

/** When an event is due, and its offset in the queue. */
export interface WaitingEvent {
  readonly dueAtMs: number
  readonly queueOffset: number
}

function channelIn(scheduledId: string): string {
  return scheduledId.slice(0, scheduledId.indexOf('/'))
}

/** A number made of as many bits of an id's hash as fit. */
function numberOf(id: string): number {
  return Number.parseInt(hash('sha256', id).slice(0, 13), 16)
}

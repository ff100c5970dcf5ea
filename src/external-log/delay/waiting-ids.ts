/**
 * The ids of delayed events that wait (clause 8): who publishes such an id again is told at once that it is known, by any process.
 *
 * The queue in which they wait is the registry. Each process that publishes follows it, and keeps of each event a number made of its id, and where it
 * waits; a number that is met again is looked up there, so that it is the id that decides. An id is known until its channel's window has passed after it
 * was due: from then on, and not before, the channel would take it again.
 *
 * A cancellation is a record of the queue, behind the event that it is about. An id that is met is decided only after the queue was read to its end: an
 * id that was cancelled, by any process, is new from the answer on.
 *
 * What another process has delayed a moment ago may not be here yet: it is then said when it is due, and stored once all the same.
 */
import { hash } from 'node:crypto'
import { LIMITS } from '../../base/limits.ts'
import { OneAtATime } from '../../base/one-at-a-time.ts'
import type { ChannelEntry, LogBackend } from '../log-backend.ts'
import { cancelledIn, isFor, SCHEDULE, scheduledId, scheduledIn, waitingId } from './scheduler.ts'

const PAGE = { count: 1000, bytes: LIMITS.readAheadBytes }

export class WaitingIds {
  readonly #backend: LogBackend
  /** Where they wait, by channel and number, in the order of their coming. */
  readonly #places = new Map<string, Map<number, number>>()
  /** Places of which the events were cancelled, in the order of their cancellations. */
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

  /** Resolves when all that waits now is known; from then on what comes is. */
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
    for (const [channel, places] of this.#places) {
      for (const [number, place] of places) {
        if (place >= first && this.#size <= LIMITS.waitingIdsMax) break
        this.#forget(channel, number)
      }
    }
    for (const place of this.#cancelled)
      if (place < first || this.#cancelled.size > LIMITS.waitingIdsMax) this.#cancelled.delete(place)
    this.#next = Math.max(this.#next, first)
    for (;;) {
      const records = await this.#backend.read(SCHEDULE, 0, this.#next, PAGE)
      for (const { offset, event } of records) {
        const cancelled = cancelledIn(event.text)
        if (cancelled !== null) this.cancelled(cancelled.cancelled, cancelled.place)
        const id = cancelled === null ? waitingId(event) : null
        if (id !== null) this.add(id, offset)
      }
      const last = records.at(-1)
      if (last === undefined) return
      this.#next = Math.max(this.#next, last.offset + 1)
    }
  }

  /** Of an event that waits from now on: the id that it has in the queue. */
  add(scheduledId: string, place: number): void {
    if (place < 0 || this.#cancelled.has(place)) return
    const channel = channelIn(scheduledId)
    let places = this.#places.get(channel)
    if (places === undefined) {
      places = new Map()
      this.#places.set(channel, places)
    }
    const number = numberOf(scheduledId)
    // One that waits again stands behind: the places of a channel ascend.
    if (!places.delete(number)) this.#size++
    places.set(number, place)
  }

  /** The event at a place of the queue waits no more, and its id is new. */
  cancelled(scheduledId: string, place: number): void {
    this.#cancelled.add(place)
    const channel = channelIn(scheduledId)
    const number = numberOf(scheduledId)
    if (this.#places.get(channel)?.get(number) === place) this.#forget(channel, number)
  }

  #forget(channel: string, number: number): void {
    const places = this.#places.get(channel)
    if (places?.delete(number) !== true) return
    this.#size--
    if (places.size === 0) this.#places.delete(channel)
  }

  /** Whether, as far as is known, an id does not wait: no work for a channel of which nothing does. */
  isFree(entry: ChannelEntry, id: string): boolean {
    const places = this.#places.get(entry.incarnation)
    return places === undefined || !places.has(numberOf(scheduledId(entry, id)))
  }

  /** Of these ids those that wait for their time, or were stored lately when it had come: when they are due, and where they wait. */
  async known(entry: ChannelEntry, ids: readonly string[], nowMs: number): Promise<ReadonlyMap<string, Waiting>> {
    const found = new Map<string, Waiting>()
    const met = new Set(ids.filter((id) => !this.isFree(entry, id)))
    if (met.size > 0) await this.#reading.ask()
    for (const id of met) {
      const number = numberOf(scheduledId(entry, id))
      const place = this.#places.get(entry.incarnation)?.get(number)
      if (place === undefined) continue
      const [record] = await this.#backend.read(SCHEDULE, 0, place, { count: 1, bytes: 1 })
      const scheduled = record?.offset === place ? scheduledIn(record.event.text) : null
      const knownUntilMs = (scheduled?.dueAtMs ?? 0) + (entry.spec.dedupe?.ageMs ?? 0)
      if (scheduled === null || knownUntilMs < nowMs) this.#forget(entry.incarnation, number)
      else if (isFor(scheduled, entry) && scheduled.event.id === id)
        found.set(id, { dueAtMs: scheduled.dueAtMs ?? 0, place })
    }
    return found
  }
}

/** When an event is due, and its place in the queue. */
export interface Waiting {
  readonly dueAtMs: number
  readonly place: number
}

function channelIn(scheduledId: string): string {
  return scheduledId.slice(0, scheduledId.indexOf('/'))
}

/** As many bits of an id's hash as a number holds. */
function numberOf(id: string): number {
  return Number.parseInt(hash('sha256', id).slice(0, 13), 16)
}

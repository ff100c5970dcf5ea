/** Delayed events on their way into the queue in which they wait, and out of it (clause 7), and the consumer that looks after all of them. */
import type { Clock } from '../../base/clock.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { ConsumerSpec, DeliverySink } from '../../broker/engine.ts'
import type { Receipt } from '../../broker/receipt.ts'
import type { Instance } from '../../delivery/dispatch/instance.ts'
import type { Appended, AppendItem, ChannelEntry, LogBackend } from '../log-backend.ts'
import { type Appenders, itemOf } from '../publish/appending.ts'
import type { Registry } from '../registry.ts'
import {
  cancellation,
  SCHEDULE,
  Scheduler,
  scheduled,
  scheduledId,
  schedulerSpec,
  scheduleSpec,
  waitingAgain,
} from './scheduler.ts'
import { type Waiting, WaitingIds } from './waiting-ids.ts'

const NONE: ReadonlyMap<string, Known> = new Map()
const NO_OFFSETS: ReadonlyMap<string, number> = new Map()
/** An event that is not in its channel so long after it was due was there, and was forgotten. */
const DUE_MS = 10_000

/** Where the first event with an id is. */
export type Known =
  | { readonly offset: number; readonly dueAtMs?: undefined }
  | { readonly offset: null; readonly dueAtMs: number }

type Waits = Known & { readonly duplicate: boolean }

export interface DelayingHost {
  readonly registry: Registry
  readonly appenders: Appenders
  readonly backend: LogBackend
  alarm(error: unknown): void
  readonly clock: Clock
  subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Instance>
}

export class Delaying {
  readonly #host: DelayingHost
  #waiting: WaitingIds
  #follows = false
  #scheduler: Promise<Scheduler> | null = null

  constructor(host: DelayingHost) {
    this.#host = host
    this.#waiting = new WaitingIds(host.backend)
  }

  /** Look after delayed events, with all others that are connected. */
  attend(): Promise<Scheduler> {
    this.#scheduler ??= this.#begin()
    this.#scheduler.catch(() => {
      this.#scheduler = null
    })
    return this.#host.registry.find(SCHEDULE) === undefined
      ? this.#scheduler.then((scheduler) => this.#declared(scheduler))
      : this.#scheduler
  }

  /** The queue is there, or it is made again: it may have been removed. */
  async #declared<T>(then: T): Promise<T> {
    const { registry } = this.#host
    if (registry.find(SCHEDULE) === undefined) await registry.declare(scheduleSpec, 1)
    return then
  }

  /** The queue is gone, and what waited in it. */
  forget(): void {
    this.#waiting.end()
    this.#waiting = new WaitingIds(this.#host.backend)
    this.#follows = false
  }

  async #begin(): Promise<Scheduler> {
    const { registry, clock, subscribe, alarm } = this.#host
    await this.#declared(null)
    const scheduler = new Scheduler(clock, (channel) => registry.find(channel)?.incarnation, alarm)
    const subscription = await subscribe(schedulerSpec, scheduler)
    scheduler.begin(subscription)
    subscription.begin()
    return scheduler
  }

  /** Keep events until they are due. Receipts of those whose ids are known name where the first one is. */
  async keep(entry: ChannelEntry, events: readonly EncodedEvent[], dueAtMs: number): Promise<Receipt[]> {
    const { name: channel, dedupe } = entry.spec
    const known = dedupe === null ? NONE : await this.#known(entry, idsOf(events))
    const fresh = events.filter(({ id }) => !known.has(id))
    const places = await this.#wait(entry, fresh, dueAtMs)
    let next = 0
    return events.map(({ id }): Receipt => {
      const first = known.get(id)
      if (first !== undefined) return { channel, id, ...first, duplicate: true }
      const { duplicate, ...waits } = places[next++] as Waits
      return { channel, id, ...waits, duplicate }
    })
  }

  /** Put events into the queue. It may know an id that was not known here: one that another process has put there, or one whose window is over. */
  async #wait(entry: ChannelEntry, events: readonly EncodedEvent[], dueAtMs: number): Promise<Waits[]> {
    const { registry, appenders } = this.#host
    const items = events.map((event) =>
      this.#item(scheduled(entry, event, dueAtMs), registry.known(SCHEDULE), entry.spec.dedupe !== null),
    )
    if (items.length === 0) return []
    const appended = await appenders.of(SCHEDULE).append(items, items.length > 1)
    const waits: Waits[] = []
    const seen = new Set<number>()
    for (const [at, { offset, duplicate }] of appended.entries()) {
      const item = items[at] as AppendItem
      if (!duplicate || seen.has(offset)) waits.push({ offset: null, dueAtMs, duplicate })
      else waits.push(await this.#again(entry, events[at] as EncodedEvent, item, offset, dueAtMs))
      if (!duplicate) this.#waiting.add(item.event.id, offset)
      seen.add(offset)
    }
    return waits
  }

  #item(event: EncodedEvent, queue: ChannelEntry, dedupes: boolean): AppendItem {
    return dedupes ? itemOf(event, queue) : { ...itemOf(event, queue), dedupeId: null }
  }

  /** An event whose id the queue knows: one with it waits there; or it was cancelled, or is in the channel for so long, that it is new again. */
  async #again(
    entry: ChannelEntry,
    event: EncodedEvent,
    item: AppendItem,
    place: number,
    dueAtMs: number,
  ): Promise<Waits> {
    const { appenders } = this.#host
    const { id } = event
    this.#waiting.add(item.event.id, place)
    const known = (await this.#known(entry, [id])).get(id)
    if (known !== undefined) return { ...known, duplicate: true }
    // By its place, so that of two processes that publish it again at the same time one does.
    const next = place < 0 ? item.event : waitingAgain(item.event, place)
    const [appended] = await appenders
      .of(SCHEDULE)
      .append([{ ...item, event: next, dedupeId: place < 0 ? null : next.id }], false)
    const { offset, duplicate } = appended as Appended
    if (duplicate && offset > place) return this.#again(entry, event, item, offset, dueAtMs)
    this.#waiting.add(item.event.id, offset)
    return { offset: null, dueAtMs, duplicate }
  }

  /** Of these ids those that wait already, or are in the channel. */
  async #known(entry: ChannelEntry, ids: readonly string[]): Promise<ReadonlyMap<string, Known>> {
    const [waiting, stored] = await Promise.all([
      this.waiting(entry, ids),
      this.#host.backend.known(entry.spec.name, ids),
    ])
    const known = new Map<string, Known>(waiting)
    for (const [id, offset] of stored) known.set(id, { offset })
    return known
  }

  /** Of these ids those that wait for their time; of those whose time has just come, where their events are. */
  async waiting(entry: ChannelEntry, ids: readonly string[]): Promise<ReadonlyMap<string, Known>> {
    const { clock, backend } = this.#host
    const waiting = await this.#places(entry, ids)
    const due = [...waiting].filter(([, { dueAtMs }]) => dueAtMs <= clock.now()).map(([id]) => id)
    const stored = due.length === 0 ? NO_OFFSETS : await backend.known(entry.spec.name, due)
    const known = new Map<string, Known>()
    for (const [id, { dueAtMs }] of waiting) {
      const offset = stored.get(id)
      if (offset !== undefined) known.set(id, { offset })
      else if (dueAtMs > clock.now() - DUE_MS) known.set(id, { offset: null, dueAtMs })
    }
    return known
  }

  async #places(entry: ChannelEntry, ids: readonly string[]): Promise<ReadonlyMap<string, Waiting>> {
    if (!this.#follows) {
      await this.#waiting.follow(this.#host.alarm)
      this.#follows = true
    }
    return this.#waiting.known(entry, ids, this.#host.clock.now())
  }

  /** Where the event with an id waits in the queue, as far as is known by its id; null is "look for it". */
  async placeOf(entry: ChannelEntry, id: string): Promise<number | null> {
    return entry.spec.dedupe === null ? null : ((await this.#places(entry, [id])).get(id)?.place ?? null)
  }

  /** The event at a place waits no more: its id is new, here now, and in every process that finds it and reads on. */
  async cancelled(entry: ChannelEntry, id: string, place: number): Promise<void> {
    const { registry, appenders } = this.#host
    const waited = scheduledId(entry, id)
    await appenders.of(SCHEDULE).append([itemOf(cancellation(waited, place), registry.known(SCHEDULE), true)], false)
    this.#waiting.cancelled(waited, place)
  }

  /** Whether it need not be asked if an event's id waits for its time: nothing was ever delayed, or nothing of this channel waits. */
  isFree(entry: ChannelEntry, { id }: EncodedEvent): boolean {
    if (entry.spec.dedupe === null || this.#host.registry.find(SCHEDULE) === undefined) return true
    return this.#follows && this.#waiting.isFree(entry, id)
  }

  async end(): Promise<void> {
    this.#waiting.end()
    await this.#scheduler?.then((scheduler) => scheduler.end()).catch(() => undefined)
  }
}

function idsOf(events: readonly EncodedEvent[]): string[] {
  return events.map(({ id }) => id)
}

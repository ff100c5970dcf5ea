/** How delayed events come into the queue in which they wait (clause 7), and the consumer that emits them. */
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
import { type WaitingEvent, WaitingIds } from './waiting-ids.ts'

const NONE: ReadonlyMap<string, Known> = new Map()
const NO_OFFSETS: ReadonlyMap<string, number> = new Map()
/** An event that is not in its channel this long after it was due has been there, and was deleted. */
const DUE_MS = 10_000

/** Where the first event with an id is: in the channel, or waiting until it is due. */
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

  /** Take part in the work on delayed events, with all other processes that are connected. */
  attend(): Promise<Scheduler> {
    this.#scheduler ??= this.#begin()
    this.#scheduler.catch(() => {
      this.#scheduler = null
    })
    return this.#host.registry.find(SCHEDULE) === undefined
      ? this.#scheduler.then((scheduler) => this.#declared(scheduler))
      : this.#scheduler
  }

  /** The queue exists, or is created again if it was removed. */
  async #declared<T>(then: T): Promise<T> {
    const { registry } = this.#host
    if (registry.find(SCHEDULE) === undefined) await registry.declare(scheduleSpec, 1)
    return then
  }

  /** The queue is gone, with the events that waited in it. */
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

  /**
   * Store events until they are due. The receipt of an event whose id is known says where the first event with this id
   * is.
   */
  async keep(entry: ChannelEntry, events: readonly EncodedEvent[], dueAtMs: number): Promise<Receipt[]> {
    const { name: channel, dedupe } = entry.spec
    const known = dedupe === null ? NONE : await this.#known(entry, idsOf(events))
    const fresh = events.filter(({ id }) => !known.has(id))
    const kept = await this.#wait(entry, fresh, dueAtMs)
    let next = 0
    return events.map(({ id }): Receipt => {
      const first = known.get(id)
      if (first !== undefined) return { channel, id, ...first, duplicate: true }
      const { duplicate, ...waits } = kept[next++] as Waits
      return { channel, id, ...waits, duplicate }
    })
  }

  /**
   * Store events in the queue. The queue may know an id that this process does not: another process has delayed an
   * event with it, or the window of an earlier one is over.
   */
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

  /**
   * The queue knows the id of an event. If an event with the id still waits, this one is a duplicate. If it was
   * cancelled, or was emitted long enough ago, the id is free again.
   */
  async #again(
    entry: ChannelEntry,
    event: EncodedEvent,
    item: AppendItem,
    queueOffset: number,
    dueAtMs: number,
  ): Promise<Waits> {
    const { appenders } = this.#host
    const { id } = event
    this.#waiting.add(item.event.id, queueOffset)
    const known = (await this.#known(entry, [id])).get(id)
    if (known !== undefined) return { ...known, duplicate: true }
    // The id depends on the offset of the earlier event. So if two processes publish the event again at the same time,
    // one event is stored.
    const next = queueOffset < 0 ? item.event : waitingAgain(item.event, queueOffset)
    const [appended] = await appenders
      .of(SCHEDULE)
      .append([{ ...item, event: next, dedupeId: queueOffset < 0 ? null : next.id }], false)
    const { offset, duplicate } = appended as Appended
    if (duplicate && offset > queueOffset) return this.#again(entry, event, item, offset, dueAtMs)
    this.#waiting.add(item.event.id, offset)
    return { offset: null, dueAtMs, duplicate }
  }

  /** Those of the ids that wait already, or are in the channel. */
  async #known(entry: ChannelEntry, ids: readonly string[]): Promise<ReadonlyMap<string, Known>> {
    const [waiting, stored] = await Promise.all([
      this.waiting(entry, ids),
      this.#host.backend.known(entry.spec.name, ids),
    ])
    const known = new Map<string, Known>(waiting)
    for (const [id, offset] of stored) known.set(id, { offset })
    return known
  }

  /** Which of the ids belong to events that wait. For an event that has just become due: its offset in its channel. */
  async waiting(entry: ChannelEntry, ids: readonly string[]): Promise<ReadonlyMap<string, Known>> {
    const { clock, backend } = this.#host
    const waiting = await this.#waitingOf(entry, ids)
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

  async #waitingOf(entry: ChannelEntry, ids: readonly string[]): Promise<ReadonlyMap<string, WaitingEvent>> {
    if (!this.#follows) {
      await this.#waiting.follow(this.#host.alarm)
      this.#follows = true
    }
    return this.#waiting.known(entry, ids, this.#host.clock.now())
  }

  /**
   * The offset in the queue at which an event waits, if this process knows it by its id. Null: the caller has to search
   * for it.
   */
  async queueOffsetOf(entry: ChannelEntry, id: string): Promise<number | null> {
    return entry.spec.dedupe === null ? null : ((await this.#waitingOf(entry, [id])).get(id)?.queueOffset ?? null)
  }

  /**
   * The event at an offset of the queue is cancelled. Its id is free: here at once, and in other processes when they
   * read on.
   */
  async cancelled(entry: ChannelEntry, id: string, queueOffset: number): Promise<void> {
    const { registry, appenders } = this.#host
    const waited = scheduledId(entry, id)
    await appenders
      .of(SCHEDULE)
      .append([itemOf(cancellation(waited, queueOffset), registry.known(SCHEDULE), true)], false)
    this.#waiting.cancelled(waited, queueOffset)
  }

  /**
   * Whether an id certainly has no delayed event, so that no lookup is needed: no event was ever delayed, or none of
   * this channel is.
   */
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

/** Delayed events on their way into the queue in which they wait, and out of it (clause 7): publishing, and the consumer that looks after all of them. */
import type { ConsumerSpec, DeliverySink, Emission, EncodedEvent, ScheduledReceipt } from '../broker/engine.ts'
import type { Instance } from '../delivery/instance.ts'
import { type Appenders, itemOf } from './appending.ts'
import type { AppendItem, ChannelEntry, LogBackend } from './log-backend.ts'
import type { Registry } from './registry.ts'
import { SCHEDULE, Scheduler, scheduled, schedulerSpec, scheduleSpec } from './scheduler.ts'
import { WaitingIds } from './waiting-ids.ts'

const NONE: ReadonlySet<string> = new Set()

export interface DelayingHost {
  readonly registry: Registry
  readonly appenders: Appenders
  readonly backend: LogBackend
  alarm(error: unknown): void
  nowMs(): number
  subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Instance>
}

export class Delaying {
  readonly #host: DelayingHost
  readonly #waiting: WaitingIds
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
    return this.#scheduler
  }

  async #begin(): Promise<Scheduler> {
    const { registry, nowMs, subscribe } = this.#host
    if (registry.find(SCHEDULE) === undefined) await registry.declare(scheduleSpec, 1)
    const scheduler = new Scheduler(nowMs, (channel) => registry.find(channel)?.incarnation)
    const subscription = await subscribe(schedulerSpec, scheduler)
    scheduler.begin(subscription)
    subscription.begin()
    return scheduler
  }

  /** Keep events until they are due. */
  async publish(channel: string, events: readonly EncodedEvent[], dueAtMs: number): Promise<ScheduledReceipt[]> {
    const { registry, appenders } = this.#host
    const entry = await registry.current(channel)
    // One promise for all who wait: they go on in the order in which they came.
    await this.attend()
    const known = entry.spec.dedupe === null ? NONE : await this.#known(entry, events)
    const fresh = events.filter(({ id }) => !known.has(id))
    const items = fresh.map((event) => itemOf(scheduled(entry, event, dueAtMs), registry.known(SCHEDULE)))
    const appended = items.length === 0 ? [] : await appenders.of(SCHEDULE).append(items, items.length > 1)
    for (const [at, { offset }] of appended.entries()) this.#waiting.add((items[at] as AppendItem).event.id, offset)
    let next = 0
    return events.map(({ id }) => ({ channel, id, offset: null, duplicate: known.has(id) || appended[next++]?.duplicate === true, dueAtMs }))
  }

  /** The ids of these events that wait already, or are in the channel. */
  async #known(entry: ChannelEntry, events: readonly EncodedEvent[]): Promise<ReadonlySet<string>> {
    const ids = events.map(({ id }) => id)
    const [waiting, stored] = await Promise.all([this.waiting(entry, ids), this.#host.backend.known(entry.spec.name, ids)])
    return stored.size === 0 ? waiting : new Set([...waiting, ...stored.keys()])
  }

  /** Which of these ids wait for their time. */
  async waiting(entry: ChannelEntry, ids: readonly string[]): Promise<ReadonlySet<string>> {
    const { alarm, nowMs } = this.#host
    if (!this.#follows) {
      await this.#waiting.follow(alarm)
      this.#follows = true
    }
    return this.#waiting.known(entry, ids, nowMs())
  }

  /** Whether it need not be asked if an event's id waits for its time: nothing was ever delayed, or nothing of this channel waits. */
  isFree(entry: ChannelEntry, { id }: EncodedEvent): boolean {
    if (entry.spec.dedupe === null || this.#host.registry.find(SCHEDULE) === undefined) return true
    return this.#follows && this.#waiting.isFree(entry, id)
  }

  /** Store what was emitted: now, or when it is due. What is known by its id is not stored again. */
  async emit(channel: string, emissions: readonly Emission[]): Promise<void> {
    const { registry, appenders, nowMs } = this.#host
    const later = emissions.filter(({ dueAtMs }) => dueAtMs !== null && dueAtMs > nowMs())
    for (const { event, dueAtMs } of later) await this.publish(channel, [event], dueAtMs as number)
    const entry = await registry.current(channel)
    const items = emissions.filter((emission) => !later.includes(emission)).map(({ event }) => itemOf(event, entry, true))
    if (items.length > 0) await appenders.of(channel).append(items, false)
  }

  async end(): Promise<void> {
    this.#waiting.end()
    await this.#scheduler?.then((scheduler) => scheduler.end()).catch(() => undefined)
  }
}

/** Delayed events on their way into the queue in which they wait, and out of it (clause 7): publishing, and the consumer that looks after all of them. */
import type { ConsumerSpec, DeliverySink, Emission, EncodedEvent, ScheduledReceipt } from '../broker/engine.ts'
import type { Instance } from '../delivery/instance.ts'
import { type Appenders, itemOf } from './appending.ts'
import type { Registry } from './registry.ts'
import { SCHEDULE, Scheduler, scheduled, schedulerSpec, scheduleSpec } from './scheduler.ts'

export interface DelayingHost {
  readonly registry: Registry
  readonly appenders: Appenders
  nowMs(): number
  subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Instance>
}

export class Delaying {
  readonly #host: DelayingHost
  #scheduler: Promise<Scheduler> | null = null

  constructor(host: DelayingHost) {
    this.#host = host
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
    const items = events.map((event) => itemOf(scheduled(entry, event, dueAtMs), registry.known(SCHEDULE)))
    const appended = await appenders.of(SCHEDULE).append(items, events.length > 1)
    return appended.map(({ duplicate }, at) => ({ channel, id: (events[at] as EncodedEvent).id, offset: null, duplicate, dueAtMs }))
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
    await this.#scheduler?.then((scheduler) => scheduler.end()).catch(() => undefined)
  }
}

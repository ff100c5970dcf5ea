/** The carriage of `millrace copy` over a backend: events, delayed events and what consumers have settled. */
import type { CarriedEvent, CarriedSchedule, Page } from '../broker/carriage.ts'
import { QUEUE_GROUP } from '../delivery/consumer-records.ts'
import { ConsumerCarriage, PAGE } from '../delivery/consumers/carriage.ts'
import { settledIn } from '../delivery/consumers/carried-state.ts'
import { fold } from './consumer-log/consumer-log-entry.ts'
import { consumerLogOf } from './consumer-log/consumer-log-name.ts'
import { isFor, SCHEDULE, scheduledIn } from './delay/scheduler.ts'
import type { ExternalLogHomes } from './homes.ts'
import type { Appended, AppendItem, LogBackend } from './log-backend.ts'
import type { PartitionHome } from './partition-home.ts'
import { itemOf } from './publish/appending.ts'
import type { Registry } from './registry.ts'

export interface CarryingHost {
  readonly backend: LogBackend
  readonly registry: Registry
  nowMs(): number
  append(channel: string, items: readonly AppendItem[]): Promise<readonly Appended[]>
  /** Resolves when everything that consumers of this engine have settled is in their consumer logs. */
  flushed(): Promise<void>
}

export class ExternalLogCarriage extends ConsumerCarriage<PartitionHome> {
  readonly #host: CarryingHost

  constructor(homes: ExternalLogHomes, host: CarryingHost) {
    super(homes)
    this.#host = host
  }

  async accepts(): Promise<{ readonly eventBytesMax: number; readonly keepsTimes: boolean }> {
    const { entryBytes, keepsTimes } = this.#host.backend.limits
    return { eventBytesMax: entryBytes, keepsTimes: keepsTimes === true }
  }

  async scheduled(channel: string, from: string | null): Promise<Page<CarriedSchedule>> {
    const { backend, registry, flushed } = this.#host
    const entry = await registry.current(channel)
    await flushed()
    if (registry.find(SCHEDULE) === undefined) return { items: [], next: null }
    const done = settledIn(
      fold((await backend.readConsumerLog(consumerLogOf(QUEUE_GROUP, SCHEDULE, 0))).entries).records,
      QUEUE_GROUP,
      0,
    )
    const found = await backend.read(SCHEDULE, 0, Math.max(Number(from ?? 0), done?.floor ?? 0), PAGE)
    const items: CarriedSchedule[] = []
    for (const record of found) {
      if (done?.has(record.offset) === true) continue
      const scheduled = scheduledIn(record.event.text)
      if (scheduled !== null && isFor(scheduled, entry))
        items.push({ event: scheduled.event, dueAtMs: scheduled.dueAtMs ?? 0 })
    }
    const last = found.at(-1)
    return { items, next: last === undefined ? null : String(last.offset + 1) }
  }

  /** Events of one key stay in order. When a call fails, some of its events may be stored. */
  async putEvents(channel: string, events: readonly CarriedEvent[]): Promise<void> {
    const entry = await this.#host.registry.current(channel)
    const windowMs = entry.spec.dedupe?.ageMs ?? 0
    const youngerThan = this.#host.nowMs() - windowMs
    // An id that is still in the window is known from now on. An older event may be stored although its id is known.
    const items = events.map((event) => ({
      ...itemOf(event, entry),
      timeMs: event.timeMs,
      ...(event.timeMs < youngerThan && { dedupeId: null }),
    }))
    const appended = await this.#host.append(channel, items)
    const dropped = items.filter((_, at) => appended[at]?.duplicate === true)
    if (dropped.length > 0) {
      await this.#host.append(
        channel,
        dropped.map((item) => ({ ...item, dedupeId: null })),
      )
    }
  }
}

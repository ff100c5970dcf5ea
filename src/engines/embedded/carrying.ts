/**
 * Reads delayed events out of the embedded engine, and writes events into it, for a copy. An event keeps its text, its
 * id, its key and the time at which it was first stored.
 */
import { LIMITS } from '../../base/limits.ts'
import type { CarriedEvent, CarriedSchedule, Page } from '../../broker/carriage.ts'
import { fromJson } from '../../delivery/consumer-records.ts'
import { ConsumerCarriage, PAGE } from '../../delivery/consumers/carriage.ts'
import type { Block } from '../../event/block.ts'
import { Carried, type ChannelLog, CONTINUES } from './channel-log.ts'
import type { Committer } from './committer.ts'
import type { EmbeddedHome, EmbeddedHomes } from './homes.ts'
import type { TimerRecord } from './records.ts'
import type { Store } from './store.ts'

export interface CarryingParts {
  readonly store: Store<Block>
  readonly committer: Committer
  readonly nowMs: () => number
  log(name: string): ChannelLog
}

export class EmbeddedCarriage extends ConsumerCarriage<EmbeddedHome> {
  readonly #parts: CarryingParts

  constructor(homes: EmbeddedHomes, parts: CarryingParts) {
    super(homes)
    this.#parts = parts
  }

  async accepts(): Promise<{ readonly eventBytesMax: number; readonly keepsTimes: boolean }> {
    return { eventBytesMax: LIMITS.eventBytesMax, keepsTimes: true }
  }

  async scheduled(channel: string, from: string | null): Promise<Page<CarriedSchedule>> {
    const { store, committer } = this.#parts
    const log = this.#parts.log(channel)
    await committer.flushed()
    const page = store.range(from ?? 't/', 't0', PAGE.count)
    const items: CarriedSchedule[] = []
    for (const [, bytes] of page) {
      const { channelId, dueAtMs, event } = fromJson<TimerRecord>(bytes)
      if (channelId === log.id) items.push({ event, dueAtMs })
    }
    const last = page.at(-1)
    return { items, next: page.length < PAGE.count || last === undefined ? null : `${last[0]}!` }
  }

  /** Appends all events or none. */
  async putEvents(channel: string, events: readonly CarriedEvent[]): Promise<void> {
    const { committer, nowMs } = this.#parts
    const log = this.#parts.log(channel)
    await log.recall(nowMs())
    await this.#recallTime(log)
    committer.admit()
    log.carries = true
    const { length } = events
    if (length === 0) return
    await new Promise<void>((resolve, reject) => {
      const last = { done: () => resolve(), fail: reject }
      for (let at = 0; at < length; at++) {
        const event = new Carried(events[at] as CarriedEvent)
        committer.publish(log, event, at === length - 1 ? last : CONTINUES)
      }
    })
  }

  /** Stored times never decrease, also after events that an earlier process stored. */
  async #recallTime(log: ChannelLog): Promise<void> {
    if (log.lastTimeMs > 0 || log.committed === 0) return
    const last = log.blockInMemory(log.committed - 1) ?? (await log.cache(log.committed - 1))
    log.lastTimeMs = Math.max(log.lastTimeMs, last?.timeAt(log.committed - 1 - last.firstOffset) ?? 0)
  }
}

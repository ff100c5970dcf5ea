/** The embedded engine's carriage: all of a channel and of its consumers is records and blocks, which are read and written as they are. */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Carriage, CarriedConsumer, CarriedEvent, CarriedLetter, CarriedSchedule, Page } from '../../broker/carriage.ts'
import { inFlightIn, letterRecords, lettersIn, progressRecords, retriesIn, settledIn } from '../../delivery/carried-state.ts'
import { fromJson, lastNumber, under } from '../../delivery/consumer-records.ts'
import type { Cursor } from '../../delivery/cursor.ts'
import type { RecordChange } from '../../delivery/cursor-host.ts'
import type { Block } from '../../event/block.ts'
import { Carried, type ChannelLog, CONTINUES } from './channel-log.ts'
import type { Committer } from './committer.ts'
import { keys, type TimerRecord } from './records.ts'
import type { Store } from './store.ts'

const PAGE = { count: 1000, bytes: LIMITS.readAheadBytes }

export interface CarryingParts {
  readonly store: Store<Block>
  readonly committer: Committer
  readonly nowMs: () => number
  readonly queueGroup: string
  log(name: string): ChannelLog
  cursor(group: string, log: ChannelLog): Cursor | undefined
  /** Delete the records of a consumer's in a channel, and forget its cursor. */
  removeCursor(group: string, log: ChannelLog): void
  /** The cursor is made anew of its records when it is needed. */
  forgetCursor(group: string, log: ChannelLog): void
}

export class EmbeddedCarriage implements Carriage {
  readonly #parts: CarryingParts

  constructor(parts: CarryingParts) {
    this.#parts = parts
  }

  async accepts(): Promise<{ readonly eventBytesMax: number; readonly keepsTimes: boolean }> {
    return { eventBytesMax: LIMITS.eventBytesMax, keepsTimes: true }
  }

  async consumers(channel: string): Promise<CarriedConsumer[]> {
    const { store, committer, queueGroup } = this.#parts
    const log = this.#parts.log(channel)
    await committer.flushed()
    const found: CarriedConsumer[] = []
    for (const [key] of store.range(...under('g/'))) {
      if (lastNumber(key) !== log.id) continue
      const group = key.slice(2, key.lastIndexOf('/'))
      const done = settledIn(store, group, log.id)
      if (done === null) continue
      done.raise(Math.min(log.first, log.committed))
      const consumer = group === queueGroup ? null : group
      const prefix = keys.worker(log.id, '')
      const workers = consumer === null ? store.range(...under(prefix)).map(([worker]) => worker.slice(prefix.length)) : []
      const retries = retriesIn(store, group, log.id)
      found.push({ channel, consumer, workers, floor: done.floor, settled: [...done.ranges()], retries, inFlight: inFlightIn(store, group, log.id) })
    }
    return found
  }

  async letters(channel: string, consumer: string | null, from: string | null): Promise<Page<CarriedLetter>> {
    const { store, committer, queueGroup } = this.#parts
    await committer.flushed()
    const items = await lettersIn(store, consumer ?? queueGroup, this.#parts.log(channel).id, Number(from ?? 0), PAGE)
    const last = items.at(-1)
    return { items, next: last === undefined ? null : String(last.offset + 1) }
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

  /** All or none. */
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

  /** Times do not go back, also behind what was there before this process. */
  async #recallTime(log: ChannelLog): Promise<void> {
    if (log.lastTimeMs > 0 || log.committed === 0) return
    const last = log.blockInMemory(log.committed - 1) ?? (await log.cache(log.committed - 1))
    log.lastTimeMs = Math.max(log.lastTimeMs, last?.timeMs ?? 0)
  }

  async putConsumer(state: CarriedConsumer): Promise<void> {
    const { queueGroup } = this.#parts
    const log = this.#parts.log(state.channel)
    const group = state.consumer ?? queueGroup
    this.#mustNotRun(group, log)
    this.#parts.removeCursor(group, log)
    this.#record(progressRecords(group, log.id, state))
    this.#record(state.workers.map((worker) => [keys.worker(log.id, worker), Buffer.alloc(0)]))
    await this.#parts.committer.flushed()
  }

  async putLetters(channel: string, consumer: string | null, letters: readonly CarriedLetter[]): Promise<void> {
    const { queueGroup } = this.#parts
    const log = this.#parts.log(channel)
    const group = consumer ?? queueGroup
    this.#mustNotRun(group, log)
    this.#parts.forgetCursor(group, log)
    this.#record(letterRecords(group, log.id, letters))
    await this.#parts.committer.flushed()
  }

  #mustNotRun(group: string, log: ChannelLog): void {
    if ((this.#parts.cursor(group, log)?.takers.instances.length ?? 0) === 0) return
    const who = group === this.#parts.queueGroup ? `queue "${log.name}"` : `consumer "${group}"`
    throw new MillraceError('INVALID_OPTION', `${who} is being worked on: stop its consumers before it is put elsewhere`, { channel: log.name })
  }

  #record(changes: readonly RecordChange[]): void {
    for (const [key, value] of changes) this.#parts.committer.record(key, value)
  }
}

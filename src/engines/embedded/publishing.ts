/**
 * Publishing: deduplication (clause 8), delay (clause 7), and the events that others emit.
 */

import type { Clock } from '../../base/clock.ts'
import { MillraceError } from '../../base/errors.ts'
import type { Emission, EncodedEvent, PublishWaiter, Receipt, ScheduledReceipt } from '../../broker/engine.ts'
import { fromJson, toJson } from '../../delivery/consumer-records.ts'
import type { DueQueue } from '../../delivery/due-queue.ts'
import type { Block } from '../../event/block.ts'
import { type ChannelLog, CONTINUES } from './channel-log.ts'
import type { Committer } from './committer.ts'
import { keys, type TimerRecord } from './records.ts'
import type { Store } from './store.ts'

/** Timers that come due together are moved in pages of so many. */
const TIMER_PAGE = 1000

class Single implements PublishWaiter {
  readonly promise: Promise<Receipt>
  readonly #channel: string
  readonly #id: string
  readonly #resolve: (receipt: Receipt) => void
  readonly fail: (error: Error) => void

  constructor(channel: string, id: string) {
    this.#channel = channel
    this.#id = id
    this.promise = new Promise(take)
    this.#resolve = taken.resolve
    this.fail = taken.reject
  }

  done(offset: number): void {
    this.#resolve({ channel: this.#channel, id: this.#id, offset, duplicate: false })
  }
}

/** The two ends of the promise that was made last: one function for all, and not a closure an event. */
const taken: { resolve: (receipt: Receipt) => void; reject: (error: Error) => void } = { resolve: () => undefined, reject: () => undefined }
function take(resolve: (receipt: Receipt) => void, reject: (error: Error) => void): void {
  taken.resolve = resolve
  taken.reject = reject
}

export interface PublishingParts {
  readonly store: Store<Block>
  readonly committer: Committer
  readonly clock: Clock
  readonly due: DueQueue
  logById(id: number): ChannelLog | undefined
  log(name: string): ChannelLog
}

export class Publishing {
  readonly #parts: PublishingParts
  #timerSequence: number
  #timerMs = Number.POSITIVE_INFINITY
  #firing = false

  constructor(parts: PublishingParts) {
    this.#parts = parts
    this.#timerSequence = parts.clock.now() * 1000
    const [first] = parts.store.range('t/', 't0', 1)
    if (first !== undefined) this.#arm(fromJson<TimerRecord>(first[1]).dueAtMs)
  }

  publish(log: ChannelLog, event: EncodedEvent): Promise<Receipt> {
    const { dedupe } = log
    if (dedupe !== null) {
      const offset = dedupe.find(event.id)
      if (offset >= 0) return this.#perhapsDuplicate(log, event, offset)
      if (log.mayHaveScheduled && this.#isScheduled(log, event.id)) return this.#duplicateOfScheduled(log, event)
    }
    const { committer } = this.#parts
    committer.admit()
    const waiter = new Single(log.name, event.id)
    const offset = committer.publish(log, event, waiter)
    dedupe?.addFound(offset, log.pendingMs)
    return waiter.promise
  }

  /** The window says "perhaps": compare with what is stored there. */
  async #perhapsDuplicate(log: ChannelLog, event: EncodedEvent, offset: number): Promise<Receipt> {
    if (await this.#isDuplicate(log, event.id, offset)) return { channel: log.name, id: event.id, offset, duplicate: true }
    this.#parts.committer.admit()
    const waiter = new Single(log.name, event.id)
    const at = this.#parts.committer.publish(log, event, waiter)
    log.dedupe?.add(event.id, at, this.#parts.clock.now())
    return waiter.promise
  }

  async #isDuplicate(log: ChannelLog, id: string, offset: number): Promise<boolean> {
    if (offset >= log.committed) await this.#parts.committer.flushed()
    if (offset >= log.committed) return false
    const block = log.blockInMemory(offset) ?? (await log.cache(offset))
    // What retention has taken cannot be compared any more; its 64-bit fingerprint is taken at its word.
    if (block === undefined || block.firstOffset > offset) return true
    const ageMs = log.spec.dedupe?.ageMs ?? 0
    return block.at(offset - block.firstOffset).id === id && this.#parts.clock.now() - block.timeMs <= ageMs
  }

  #isScheduled(log: ChannelLog, id: string): boolean {
    return log.schedulingIds.has(id) || this.#parts.store.get(keys.scheduledId(log.id, id)) !== undefined
  }

  async #duplicateOfScheduled(log: ChannelLog, event: EncodedEvent): Promise<Receipt> {
    await this.#parts.committer.flushed()
    return { channel: log.name, id: event.id, offset: -1, duplicate: true }
  }

  /** All or none: one unit of one commit. */
  async publishBatch(log: ChannelLog, events: readonly EncodedEvent[]): Promise<Receipt[]> {
    if (!this.#areNew(log, events)) return this.#publishNew(log, events)
    const first = await this.#append(log, events)
    return events.map(({ id }, index) => ({ channel: log.name, id, offset: first + index, duplicate: false }))
  }

  /** Whether no id is known, nor comes twice. False where that takes a closer look: ids made one after the other ascend. */
  #areNew(log: ChannelLog, events: readonly EncodedEvent[]): boolean {
    const { dedupe } = log
    if (dedupe === null) return true
    let before = ''
    for (const { id } of events) {
      if (id <= before || dedupe.find(id) >= 0 || (log.mayHaveScheduled && this.#isScheduled(log, id))) return false
      before = id
    }
    return true
  }

  /** Those of a batch that are not in the channel. */
  async #publishNew(log: ChannelLog, events: readonly EncodedEvent[]): Promise<Receipt[]> {
    const receipts = new Array<Receipt>(events.length)
    const fresh: EncodedEvent[] = []
    const freshAt: number[] = []
    const seen = new Map<string, number>()
    const repeats: [at: number, of: number][] = []
    for (let at = 0; at < events.length; at++) {
      const event = events[at] as EncodedEvent
      const of = log.dedupe === null ? undefined : seen.get(event.id)
      const offset = log.dedupe?.find(event.id) ?? -1
      if (of !== undefined) repeats.push([at, of])
      else if (offset >= 0 && (await this.#isDuplicate(log, event.id, offset))) receipts[at] = { channel: log.name, id: event.id, offset, duplicate: true }
      else if (log.mayHaveScheduled && log.dedupe !== null && this.#isScheduled(log, event.id)) receipts[at] = await this.#duplicateOfScheduled(log, event)
      else {
        seen.set(event.id, at)
        fresh.push(event)
        freshAt.push(at)
      }
    }
    const first = fresh.length === 0 ? 0 : await this.#append(log, fresh)
    freshAt.forEach((at, index) => {
      receipts[at] = { channel: log.name, id: (events[at] as EncodedEvent).id, offset: first + index, duplicate: false }
    })
    for (const [at, of] of repeats) receipts[at] = { ...(receipts[of] as Receipt), duplicate: true }
    return receipts
  }

  /** The same of events that stand in blocks, if no id may be known. */
  publishPlaces(log: ChannelLog, events: readonly EncodedEvent[], waiter: PublishWaiter): boolean {
    if (!this.#areNew(log, events)) return false
    this.#give(log, events, waiter)
    return true
  }

  #append(log: ChannelLog, events: readonly EncodedEvent[]): Promise<number> {
    return new Promise((resolve, reject) => this.#give(log, events, { done: resolve, fail: reject }))
  }

  #give(log: ChannelLog, events: readonly EncodedEvent[], waiter: PublishWaiter): void {
    const { committer, clock } = this.#parts
    committer.admit()
    const last: PublishWaiter = { done: (offset) => waiter.done(offset - events.length + 1), fail: (error) => waiter.fail(error) }
    for (let index = 0; index < events.length; index++) {
      const event = events[index] as EncodedEvent
      const offset = committer.publish(log, event, index === events.length - 1 ? last : CONTINUES)
      log.dedupe?.add(event.id, offset, clock.now())
    }
  }

  /** Keep events until they are due. */
  async schedule(log: ChannelLog, events: readonly EncodedEvent[], dueAtMs: number): Promise<ScheduledReceipt[]> {
    const { committer } = this.#parts
    if (committer.full !== null) throw committer.full
    const receipts: ScheduledReceipt[] = []
    for (const event of events) receipts.push({ channel: log.name, id: event.id, offset: null, dueAtMs, duplicate: !(await this.#hold(log, event, dueAtMs)) })
    await committer.flushed()
    this.#arm(dueAtMs)
    for (const event of events) log.schedulingIds.delete(event.id)
    return receipts
  }

  /** False when the id is known already. */
  async #hold(log: ChannelLog, event: EncodedEvent, dueAtMs: number): Promise<boolean> {
    if (log.dedupe !== null) {
      const offset = log.dedupe.find(event.id)
      if (offset >= 0 && (await this.#isDuplicate(log, event.id, offset))) return false
      if (this.#isScheduled(log, event.id)) return false
    }
    this.#writeTimer(log, event, dueAtMs)
    return true
  }

  #writeTimer(log: ChannelLog, event: EncodedEvent, dueAtMs: number): void {
    const { committer } = this.#parts
    log.mayHaveScheduled = true
    log.schedulingIds.add(event.id)
    const timer = keys.timer(dueAtMs, this.#timerSequence++)
    const { id, type, key, text } = event
    committer.record(timer, toJson({ channelId: log.id, dueAtMs, event: { id, type, key, text } }))
    committer.record(keys.scheduledId(log.id, id), Buffer.from(timer))
  }

  /** Store what a completed delivery emitted: in the commit of the completion, whose changes were put in within this turn. */
  emit(emissions: readonly Emission[]): void {
    const now = this.#parts.clock.now()
    for (const { channel, event, dueAtMs } of emissions) {
      const log = this.#parts.log(channel)
      if (dueAtMs !== null && dueAtMs > now) {
        this.#writeTimer(log, event, dueAtMs)
        void this.#parts.committer.flushed().then(
          () => this.#arm(dueAtMs),
          () => undefined,
        )
      } else if (log.dedupe === null || log.dedupe.find(event.id) < 0) this.#put(log, event)
    }
  }

  #put(log: ChannelLog, event: EncodedEvent): void {
    const offset = this.#parts.committer.append(log, event)
    log.dedupe?.add(event.id, offset, this.#parts.clock.now())
  }

  #arm(dueAtMs: number): void {
    if (dueAtMs >= this.#timerMs) return
    this.#timerMs = dueAtMs
    this.#parts.due.add(dueAtMs, () => {
      this.#timerMs = Number.POSITIVE_INFINITY
      void this.#fire()
    })
  }

  /** Move what is due into its channels; the timer's deletion and the event are in one commit. */
  async #fire(): Promise<void> {
    if (this.#firing) return
    this.#firing = true
    const { store, committer, clock } = this.#parts
    try {
      for (;;) {
        const timers = store.range(...keys.timersUpTo(clock.now()), TIMER_PAGE)
        for (const [key, bytes] of timers) {
          const { channelId, event } = fromJson<TimerRecord>(bytes)
          const log = this.#parts.logById(channelId)
          if (log !== undefined) this.#put(log, event)
          committer.record(key, null)
          committer.record(keys.scheduledId(channelId, event.id), null)
        }
        if (timers.length > 0) await committer.flushed()
        if (timers.length < TIMER_PAGE) break
      }
      const [next] = store.range('t/', 't0', 1)
      if (next !== undefined) this.#arm(fromJson<TimerRecord>(next[1]).dueAtMs)
    } catch {
      // The store failed: the alarm is raised where it failed, and the timers are still there for the next opening.
    } finally {
      this.#firing = false
    }
  }
}

/** @throws UNKNOWN_CHANNEL with the nearest names */
export function unknownChannel(name: string, known: Iterable<string>): MillraceError {
  const names = [...known].slice(0, 20)
  const there = names.length === 0 ? 'no channel has been declared' : `there are ${names.map((each) => `"${each}"`).join(', ')}`
  return new MillraceError('UNKNOWN_CHANNEL', `channel "${name}" is not declared: ${there}`, { channel: name })
}

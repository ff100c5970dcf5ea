/**
 * Publishing: the only way in which events come into channels or become delayed. The id of an event is looked up in the
 * turn of the event loop in which the event is stored (clause 8). This holds for single publishes, batches, delayed
 * events, emissions, and delayed events that become due (`timers.ts`).
 */

import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Emission, PublishWaiter } from '../../broker/engine.ts'
import type { Receipt } from '../../broker/receipt.ts'
import { type ChannelLog, CONTINUES } from './channel-log.ts'
import { EmbeddedDelays } from './delays.ts'
import { IdLook, type Known, UNSURE, waitingUntil } from './id-look.ts'
import { Timers, type TimersParts } from './timers.ts'

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

/**
 * The two functions of the promise that was made last. One shared function takes them, to avoid a closure for each
 * event.
 */
const taken: { resolve: (receipt: Receipt) => void; reject: (error: Error) => void } = {
  resolve: () => undefined,
  reject: () => undefined,
}
function take(resolve: (receipt: Receipt) => void, reject: (error: Error) => void): void {
  taken.resolve = resolve
  taken.reject = reject
}

/** Stores new events in the turn in which it is called. The promise resolves when they are durable. */
type Put = (fresh: readonly EncodedEvent[]) => Promise<readonly Receipt[]>

export interface PublishingParts extends TimersParts {
  log(name: string): ChannelLog
  /** @throws CLOSED */
  open(): void
}

export class Publishing {
  readonly #parts: PublishingParts
  readonly #timers: Timers
  readonly delays: EmbeddedDelays

  constructor(parts: PublishingParts) {
    this.#parts = parts
    this.#timers = new Timers(parts)
    this.delays = new EmbeddedDelays(parts, this.#timers, (name) => {
      parts.open()
      return parts.log(name)
    })
  }

  /** Whether due events are being moved. */
  get busy(): boolean {
    return this.#timers.busy
  }

  publish(log: ChannelLog, event: EncodedEvent): Promise<Receipt> {
    if (!this.#isNew(log, event.id))
      return this.#once(log, [event], (fresh) => this.#append(log, fresh)).then(([receipt]) => receipt as Receipt)
    const { committer } = this.#parts
    committer.admit()
    const waiter = new Single(log.name, event.id)
    committer.publish(log, event, waiter)
    return waiter.promise
  }

  /** Whether an id is certainly new. False also means that a closer look is necessary. */
  #isNew(log: ChannelLog, id: string): boolean {
    const { dedupe } = log
    if (dedupe === null) return true
    return (
      log.recalled &&
      dedupe.find(id) < 0 &&
      !(log.mayHaveScheduled && waitingUntil(this.#parts.store, log, id) !== null)
    )
  }

  /** All or none: the batch is in one commit. */
  publishBatch(log: ChannelLog, events: readonly EncodedEvent[]): Promise<Receipt[]> {
    const put: Put = (fresh) => this.#append(log, fresh)
    return this.#areNew(log, events) ? this.#append(log, events) : this.#once(log, events, put)
  }

  /**
   * Whether all ids are certainly new and each occurs once. False also means that a closer look is necessary: only
   * ascending ids are accepted here, the order in which ids are made.
   */
  #areNew(log: ChannelLog, events: readonly EncodedEvent[]): boolean {
    if (log.dedupe === null) return true
    let before = ''
    for (const { id } of events) {
      if (id <= before || !this.#isNew(log, id)) return false
      before = id
    }
    return true
  }

  /**
   * Like `publishBatch`, for events that arrived in blocks. Returns false, and publishes nothing, if an id may be
   * known.
   */
  publishBlocks(log: ChannelLog, events: readonly EncodedEvent[], waiter: PublishWaiter): boolean {
    if (!this.#areNew(log, events)) return false
    this.#give(log, events, waiter)
    return true
  }

  /** Delay events until they are due. */
  async schedule(log: ChannelLog, events: readonly EncodedEvent[], dueAtMs: number): Promise<Receipt[]> {
    const { committer } = this.#parts
    if (committer.full !== null) throw committer.full
    return this.#once(log, events, async (fresh) => {
      for (const event of fresh) this.#timers.hold(log, event, dueAtMs)
      const ids = fresh.map(({ id }) => id)
      await this.#timers.written(log, ids)
      return ids.map((id) => ({ channel: log.name, id, offset: null, dueAtMs, duplicate: false }))
    })
  }

  /**
   * Look up the ids, and store the new events in the same turn. The receipts of duplicates name the first event, once
   * it is durable.
   */
  async #once(log: ChannelLog, events: readonly EncodedEvent[], put: Put): Promise<Receipt[]> {
    const { committer, clock, alarm } = this.#parts
    // Callers that wait here continue in their order of arrival, and before later callers.
    if (!log.recalled) await log.recall(clock.now(), alarm)
    if (log.dedupe === null) return [...(await put(events))]
    const look = new IdLook(this.#parts)
    for (;;) {
      const found = events.map(({ id }) => look.at(log, id))
      if (!look.sure) await look.closer()
      // An event that cannot be refused keeps its id until it is durable, but its offset may change.
      else if (found.some((known) => isUncommitted(log, known))) await committer.flushed()
      else return this.#answered(log, events, found as readonly (Known | null)[], put)
    }
  }

  async #answered(
    log: ChannelLog,
    events: readonly EncodedEvent[],
    found: readonly (Known | null)[],
    put: Put,
  ): Promise<Receipt[]> {
    const fresh: EncodedEvent[] = []
    /** The index of each new id in `fresh`. */
    const places = new Map<string, number>()
    for (const [at, event] of events.entries()) {
      if (found[at] !== null || places.has(event.id)) continue
      places.set(event.id, fresh.length)
      fresh.push(event)
    }
    const stored = fresh.length === 0 ? null : put(fresh)
    if (log.scheduling.size > 0) await Promise.all([stored, this.#parts.committer.flushed()])
    const receipts = (await stored) ?? []
    const told = new Set<string>()
    return events.map(({ id }, at) => {
      const known = found[at]
      if (known !== null && known !== undefined) return { channel: log.name, id, ...known, duplicate: true }
      const receipt = receipts[places.get(id) as number] as Receipt
      if (!told.has(id)) {
        told.add(id)
        return receipt
      }
      return { ...receipt, duplicate: true }
    })
  }

  #append(log: ChannelLog, events: readonly EncodedEvent[]): Promise<Receipt[]> {
    return new Promise((resolve, reject) => {
      const done = (first: number): void =>
        resolve(events.map(({ id }, index) => ({ channel: log.name, id, offset: first + index, duplicate: false })))
      this.#give(log, events, { done, fail: reject })
    })
  }

  #give(log: ChannelLog, events: readonly EncodedEvent[], waiter: PublishWaiter): void {
    const { committer } = this.#parts
    committer.admit()
    const last: PublishWaiter = {
      done: (offset) => waiter.done(offset - events.length + 1),
      fail: (error) => waiter.fail(error),
    }
    for (let index = 0; index < events.length; index++) {
      committer.publish(log, events[index] as EncodedEvent, index === events.length - 1 ? last : CONTINUES)
    }
  }

  /**
   * Store the emissions of a completed delivery in the commit of the completion, whose changes were handed over in this
   * turn. If it is not known at once whether an id is new, the emission is stored as undecided. Later emissions into
   * the same channel are stored as undecided too, to keep their order.
   */
  emit(emissions: readonly Emission[]): void {
    const { clock, committer } = this.#parts
    const now = clock.now()
    const look = new IdLook(this.#parts)
    const written = new Map<ChannelLog, string[]>()
    for (const { channel, event, dueAtMs } of emissions) {
      const log = this.#parts.log(channel)
      const known = log.undecided > 0 ? UNSURE : look.at(log, event.id)
      const dueMs = dueAtMs ?? now
      if (known === null && dueMs <= now) committer.append(log, event)
      if (known === UNSURE) this.#timers.undecided(log, event, dueMs)
      if (known === null && dueMs > now) this.#timers.hold(log, event, dueMs)
      if (known === UNSURE || (known === null && dueMs > now)) written.set(log, [...(written.get(log) ?? []), event.id])
    }
    // A store that fails raises its own alarm.
    for (const [log, ids] of written) void this.#timers.written(log, ids).catch(() => undefined)
  }
}

function isUncommitted(log: ChannelLog, known: Known | null | typeof UNSURE): boolean {
  return known !== null && known !== UNSURE && known.offset !== null && known.offset >= log.committed
}

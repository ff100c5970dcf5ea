/**
 * Delayed events of one channel for people: to list them and to cancel them.
 *
 * A cancellation is a completion without an emission, in the consumer log of the queue of delayed events. The event
 * would be emitted by the same conditional write. So exactly one of the two happens, whichever process asks and
 * whatever dies meanwhile. The same entry emits the record by which all processes learn that the id is free again. That
 * record is in the queue before the call is answered.
 */
import { LIMITS } from '../../base/limits.ts'
import { type DelayedEvent, type DelayedQuery, type Delays, Soonest } from '../../broker/delays.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import { QUEUE_GROUP } from '../../delivery/consumer-records.ts'
import { settledIn } from '../../delivery/consumers/carried-state.ts'
import { fold } from '../consumer-log/consumer-log-entry.ts'
import { consumerLogOf } from '../consumer-log/consumer-log-name.ts'
import type { ExternalLogHomes } from '../homes.ts'
import type { ChannelEntry, LogBackend } from '../log-backend.ts'
import { homeOf } from '../partition-home.ts'
import type { Publishing } from '../publish/publishing.ts'
import type { Registry } from '../registry.ts'
import { cancellation, isFor, SCHEDULE, type Scheduled, scheduledId, scheduledIn } from './scheduler.ts'

const PAGE = { count: 1000, bytes: LIMITS.readAheadBytes }

export interface CancellingHost {
  readonly backend: LogBackend
  readonly registry: Registry
  readonly publishing: Publishing
  readonly homes: ExternalLogHomes
  /** @throws CLOSED */
  open(): void
  /** Resolves when everything that consumers of this engine have settled is in their consumer logs. */
  flushed(): Promise<void>
}

interface Withdrawal {
  readonly offset: number
  /** The record by which processes learn of the cancellation. */
  readonly says: EncodedEvent
  readonly resolve: (withdrawn: boolean) => void
  readonly reject: (error: Error) => void
}

export class ExternalLogDelays implements Delays {
  readonly #host: CancellingHost
  readonly #withdrawals: Withdrawal[] = []
  #withdrawing = false

  constructor(host: CancellingHost) {
    this.#host = host
  }

  async list(channel: string, query: DelayedQuery): Promise<DelayedEvent[]> {
    const entry = await this.#entry(channel)
    const soonest = new Soonest(channel, query)
    for await (const [, { event, dueAtMs }] of this.#waiting(entry)) soonest.add(event, dueAtMs ?? 0)
    return soonest.page()
  }

  async cancel(channel: string, id: string): Promise<boolean> {
    const entry = await this.#entry(channel)
    // Not at the same time as a publish of this id, which looks for the id.
    return this.#host.publishing.alone(entry, [{ id }], () => this.#cancel(entry, id))
  }

  async #entry(channel: string): Promise<ChannelEntry> {
    const { registry, open } = this.#host
    open()
    const entry = await registry.current(channel)
    if (registry.find(SCHEDULE) === undefined) await registry.lookAt(SCHEDULE)
    return entry
  }

  async #cancel(entry: ChannelEntry, id: string): Promise<boolean> {
    const { registry, publishing } = this.#host
    if (registry.find(SCHEDULE) === undefined) return false
    const known = await publishing.delaying.queueOffsetOf(entry, id)
    const queueOffsets = known === null ? await this.#queueOffsetsOf(entry, id) : [known]
    let cancelled = false
    for (const queueOffset of queueOffsets) {
      if (!(await this.#withdraw(entry, id, queueOffset))) continue
      await publishing.delaying.cancelled(entry, id, queueOffset)
      cancelled = true
    }
    return cancelled
  }

  /**
   * Without deduplication, several events with one id may wait. With very many waiting events, some ids are not in
   * memory.
   */
  async #queueOffsetsOf(entry: ChannelEntry, id: string): Promise<number[]> {
    const queueOffsets: number[] = []
    for await (const [queueOffset, { event }] of this.#waiting(entry))
      if (event.id === id) queueOffsets.push(queueOffset)
    return queueOffsets
  }

  /**
   * Take the event at an offset out of the queue. Events that are asked for meanwhile are taken out together, by one
   * change of the consumer log.
   */
  #withdraw(entry: ChannelEntry, id: string, offset: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#withdrawals.push({ offset, says: cancellation(scheduledId(entry, id), offset), resolve, reject })
      if (this.#withdrawing) return
      this.#withdrawing = true
      void this.#withdrawAll()
    })
  }

  async #withdrawAll(): Promise<void> {
    while (this.#withdrawals.length > 0) {
      const together = this.#withdrawals.splice(0)
      try {
        const withdrawn = await this.#withdrawn(together)
        for (const each of together) each.resolve(withdrawn.has(each))
      } catch (error) {
        for (const { reject } of together) reject(error as Error)
      }
    }
    this.#withdrawing = false
  }

  /** Those of the events that were still waiting. */
  async #withdrawn(withdrawals: readonly Withdrawal[]): Promise<ReadonlySet<Withdrawal>> {
    const { registry, homes } = this.#host
    const schedule = registry.known(SCHEDULE)
    let withdrawn: ReadonlySet<Withdrawal> | null = null
    await homes.within(homeOf(QUEUE_GROUP, schedule, 0), async ({ cursor, ownership }) => {
      // The change is durable already. Another process took the consumer log before it was released.
      if (withdrawn !== null) return
      const taken = new Set(withdrawals.filter(({ offset }) => cursor.withdraw(offset)))
      ownership.emit([...taken].map(({ says }) => ({ channel: SCHEDULE, event: says, dueAtMs: null })))
      await ownership.flushed()
      withdrawn = taken
    })
    return withdrawn ?? new Set()
  }

  /** The events that wait, with their offsets in the queue. */
  async *#waiting(entry: ChannelEntry): AsyncGenerator<readonly [queueOffset: number, scheduled: Scheduled]> {
    const { backend, registry, flushed } = this.#host
    if (registry.find(SCHEDULE) === undefined) return
    // What was settled in a partition that is lost has no effect.
    await flushed().catch(() => undefined)
    const done = settledIn(
      fold((await backend.readConsumerLog(consumerLogOf(QUEUE_GROUP, SCHEDULE, 0))).entries).records,
      QUEUE_GROUP,
      0,
    )
    for (let from = done?.floor ?? 0; ; ) {
      const found = await backend.read(SCHEDULE, 0, from, PAGE)
      for (const { offset, event } of found) {
        if (done?.has(offset) === true) continue
        const scheduled = scheduledIn(event.text)
        if (scheduled !== null && isFor(scheduled, entry)) yield [offset, scheduled]
      }
      const last = found.at(-1)
      if (last === undefined) return
      from = last.offset + 1
    }
  }
}

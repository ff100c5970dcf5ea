/**
 * Appending to a channel: events that are appended together are one record batch, so all or none are stored, in order.
 *
 * A batch carries this process's producer id and a sequence number, so a batch that is sent again after a lost
 * connection is stored once. Events with a deduplication id carry the offset up to which their writer had seen the log.
 * If others wrote in between, their records are read before the answer. The first record with an id is the event; every
 * reader skips later ones.
 */
import { MillraceError } from '../../base/errors.ts'
import type { Appended, AppendItem } from '../../external-log/log-backend.ts'
import type { ChannelTopic } from './channel-topic.ts'
import type { KeptEvent } from './chunk-cache.ts'
import { encodeEvents } from './event-batch.ts'
import { EMISSION_WINDOW, IdWindow, type WindowSize } from './id-window.ts'
import { CODES, KafkaError, millraceError } from './kafka-error.ts'
import { type Produced, produce } from './requests.ts'
import { BATCH_BYTES_MAX } from './topic-plans.ts'

const PRODUCER_ERRORS: ReadonlySet<number> = new Set([
  CODES.OUT_OF_ORDER_SEQUENCE_NUMBER,
  CODES.INVALID_PRODUCER_EPOCH,
  CODES.UNKNOWN_PRODUCER_ID,
])
const SEQUENCES = 0x8000_0000

/** The part of an append that is to be stored. */
interface Fresh {
  readonly items: readonly AppendItem[]
  /** The index of each item in the append. */
  readonly indexes: readonly number[]
  /**
   * Events of the append whose id an item has: the index of the item among these, and the index of the event in the
   * append.
   */
  readonly repeats: readonly (readonly [number, number])[]
}

export class ChannelWriter {
  readonly #log: ChannelTopic
  #window: Promise<IdWindow> | null = null
  #producer: Promise<{ readonly producerId: bigint; readonly producerEpoch: number }> | null = null
  #sequence = 0
  /** How far the server's clock is ahead of ours. */
  #aheadMs = 0

  constructor(log: ChannelTopic) {
    this.#log = log
  }

  /** The approximate time by the server's clock. */
  get nowMs(): number {
    return Date.now() + this.#aheadMs
  }

  get #windowSize(): WindowSize {
    return this.#log.entry.spec.dedupe ?? EMISSION_WINDOW
  }

  /** The window of ids, read back when it is first needed. */
  #known(): Promise<IdWindow> {
    this.#window ??= this.#openWindow()
    this.#window.catch(() => {
      this.#window = null
    })
    return this.#window
  }

  async #openWindow(): Promise<IdWindow> {
    const log = this.#log
    await log.follow()
    const { ageMs, count } = this.#windowSize
    const window = new IdWindow(this.#windowSize)
    const young = await log.seek(this.nowMs - ageMs)
    await log.fold(window, Math.max(young, log.first, (log.tail ?? 0) - count))
    return window
  }

  /** Those of the ids that are in the window, with the offsets of their events. */
  async known(ids: readonly string[]): Promise<Map<string, number>> {
    const window = await this.#known()
    await this.#log.catchUp()
    const found = new Map<string, number>()
    for (const id of ids) {
      const offset = window.find(id, this.nowMs)
      if (offset !== undefined) found.set(id, offset)
    }
    return found
  }

  /** @throws UNKNOWN_CHANNEL · UNAVAILABLE · EVENT_TOO_LARGE */
  async append(items: readonly AppendItem[]): Promise<Appended[]> {
    const answers: Appended[] = []
    const window = items.some(({ dedupeId }) => dedupeId !== null) ? await this.#known() : null
    const fresh = this.#fresh(items, window, answers)
    if (fresh.items.length === 0) return answers
    const seen = this.#log.tail ?? 0
    const { base, timeMs, batch } = await this.#store(fresh.items, seen)
    const events = fresh.items.map(
      ({ partition, event }, at): KeptEvent => ({ offset: base + at, timeMs, partition, event }),
    )
    const before = this.#log.acceptOwn(base, events, batch, seen)
    if (before === null) await this.#between(window)
    const brings = before !== null && before.length > 0 && !this.#log.entry.spec.retain.latestByKey
    for (let at = 0; at < events.length; at++) {
      const { dedupeId } = fresh.items[at] as AppendItem
      const stored =
        before !== null || window === null || dedupeId === null ? base + at : (window.offsetOf(dedupeId) ?? base + at)
      const lost = stored !== base + at && stored >= seen && stored < base
      const answer = { offset: lost ? stored : base + at, duplicate: lost }
      answers[fresh.indexes[at] as number] = brings ? { ...answer, before: before[at] as number, timeMs } : answer
    }
    for (const [at, which] of fresh.repeats)
      answers[which] = { offset: (answers[fresh.indexes[at] as number] as Appended).offset, duplicate: true }
    return answers
  }

  /**
   * Others appended before this batch. With deduplication, read their records before answering; otherwise only notify
   * followers.
   */
  async #between(window: IdWindow | null): Promise<void> {
    if (window !== null) await this.#log.catchUp()
    else if (this.#log.listeners.size > 0) void this.#log.catchUp().catch(() => undefined)
  }

  /** What is to be stored. Duplicates are answered here. */
  #fresh(items: readonly AppendItem[], window: IdWindow | null, answers: Appended[]): Fresh {
    const [fresh, indexes, repeats]: [AppendItem[], number[], [number, number][]] = [[], [], []]
    const together = new Together(fresh)
    const now = this.nowMs
    if (window !== null) window.size = this.#windowSize
    window?.expire(now)
    for (let at = 0; at < items.length; at++) {
      const item = items[at] as AppendItem
      const { dedupeId } = item
      const known = dedupeId === null ? undefined : window?.find(dedupeId, now)
      const same = known !== undefined || dedupeId === null ? undefined : together.find(dedupeId)
      if (known !== undefined) answers[at] = { offset: known, duplicate: true }
      else if (same !== undefined) repeats.push([same, at])
      else {
        fresh.push(item)
        indexes.push(at)
      }
    }
    return { items: fresh, indexes, repeats }
  }

  async #store(items: readonly AppendItem[], seen: number): Promise<Produced & { readonly batch: Buffer }> {
    for (;;) {
      try {
        return await this.#send(items, seen)
      } catch (error) {
        if (!(error instanceof KafkaError) || !PRODUCER_ERRORS.has(error.code))
          throw millraceError(`publishing to ${this.#log.topic}`, error)
        // The topic was created again, or the brokers have forgotten this producer: continue with a new producer id.
        this.#producer = null
      }
    }
  }

  async #send(items: readonly AppendItem[], seen: number): Promise<Produced & { readonly batch: Buffer }> {
    const { client, topic } = this.#log
    const { library } = client
    const { producerId, producerEpoch } = await this.#become()
    const stamp = { id: producerId, epoch: producerEpoch, sequence: this.#sequence }
    const batch = encodeEvents(items, this.#log.entry, seen, stamp, library)
    if (batch.length > BATCH_BYTES_MAX) throw this.#tooLarge(items.length, batch.length)
    let sentMs = 0
    try {
      const produced = await client.leader(`publishing to ${topic}`, topic, 'publish', async (connection) => {
        sentMs = Date.now()
        try {
          return await produce(library, connection, topic, batch)
        } catch (error) {
          throw await this.#log.judge(error)
        }
      })
      this.#sequence = (this.#sequence + items.length) % SEQUENCES
      if (produced.timeMs >= 0) this.#aheadMs = produced.timeMs - (sentMs + Date.now()) / 2
      return { base: produced.base, timeMs: produced.timeMs >= 0 ? produced.timeMs : this.nowMs, batch }
    } catch (error) {
      // It is not known whether the batch was stored. The next batch must not be taken for a repetition of it.
      this.#producer = null
      throw error
    }
  }

  #become(): Promise<{ readonly producerId: bigint; readonly producerEpoch: number }> {
    if (this.#producer === null) {
      this.#sequence = 0
      const { client } = this.#log
      this.#producer = client.any('becoming a producer', (connection) =>
        client.library.initProducerIdV4.api.async(connection, null, 60_000, -1n, -1),
      )
      this.#producer.catch(() => {
        this.#producer = null
      })
    }
    return this.#producer
  }

  #tooLarge(events: number, bytes: number): MillraceError {
    const message = `${events} events that are stored together have ${bytes} bytes, and a batch on Kafka has at most ${BATCH_BYTES_MAX}: publish fewer at once`
    return new MillraceError('EVENT_TOO_LARGE', message, {
      channel: this.#log.entry.spec.name,
      bytes,
      bytesMax: BATCH_BYTES_MAX,
    })
  }
}

/** Finds which of the items that come one by one have an id. */
class Together {
  readonly #items: readonly AppendItem[]
  /** Created when an id is asked for that is not greater than all earlier ones. New ids of version 7 are. */
  #table: Map<string, number> | null = null
  #tabled = 0
  #greatest = ''

  constructor(items: readonly AppendItem[]) {
    this.#items = items
  }

  find(id: string): number | undefined {
    if (id > this.#greatest) {
      this.#greatest = id
      return undefined
    }
    this.#table ??= new Map()
    for (; this.#tabled < this.#items.length; this.#tabled++) {
      const { dedupeId } = this.#items[this.#tabled] as AppendItem
      if (dedupeId !== null) this.#table.set(dedupeId, this.#tabled)
    }
    return this.#table.get(id)
  }
}

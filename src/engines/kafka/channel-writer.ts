/**
 * Appending to a channel: one record batch for what is appended together, so all of it or nothing is stored, in order.
 *
 * A batch carries this process's producer id and a sequence number: sent again after a lost connection, it is stored once. Events whose ids are
 * deduplicated carry the offset up to which their writer had seen the log. Where others wrote in between, what they wrote is read before the answer,
 * and who was first in the log has stored the event; the other's copy is passed over by every reader.
 */
import { MillraceError } from '../../base/errors.ts'
import type { Appended, AppendItem } from '../../partitioned/log-backend.ts'
import type { ChannelLog } from './channel-log.ts'
import type { KeptEvent } from './chunk-cache.ts'
import { toRecord } from './event-record.ts'
import { EMISSION_WINDOW, IdWindow, type WindowSize } from './id-window.ts'
import { CODES, KafkaError, millraceError } from './kafka-error.ts'
import { encodeBatch, type NewRecord } from './record-batch.ts'
import { type Produced, produce } from './requests.ts'
import { BATCH_BYTES_MAX } from './topic-plans.ts'

const PRODUCER_ERRORS: ReadonlySet<number> = new Set([CODES.OUT_OF_ORDER_SEQUENCE_NUMBER, CODES.INVALID_PRODUCER_EPOCH, CODES.UNKNOWN_PRODUCER_ID])
const SEQUENCES = 0x8000_0000

/** An event to store, and the items that it answers: those of one id are one event. */
interface Fresh {
  readonly item: AppendItem
  readonly answers: number[]
}

export class ChannelWriter {
  readonly #log: ChannelLog
  #window: Promise<IdWindow> | null = null
  #producer: Promise<{ readonly producerId: bigint; readonly producerEpoch: number }> | null = null
  #sequence = 0
  /** The server's clock is ahead by so much. */
  #aheadMs = 0

  constructor(log: ChannelLog) {
    this.#log = log
  }

  /** The server's time, as far as is known here. */
  get nowMs(): number {
    return Date.now() + this.#aheadMs
  }

  get #windowSize(): WindowSize {
    return this.#log.entry.spec.dedupe ?? EMISSION_WINDOW
  }

  /** The window, read back when it is first wanted. */
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

  /** @throws UNKNOWN_CHANNEL · UNAVAILABLE · EVENT_TOO_LARGE */
  async append(items: readonly AppendItem[]): Promise<Appended[]> {
    const answers: Appended[] = []
    const window = items.some(({ dedupeId }) => dedupeId !== null) ? await this.#known() : null
    const fresh = this.#fresh(items, window, answers)
    if (fresh.length === 0) return answers
    const seen = this.#log.tail ?? 0
    const { base, timeMs } = await this.#store(fresh, seen)
    const events = fresh.map(({ item }, at): KeptEvent => ({ offset: base + at, timeMs, partition: item.partition, event: eventOf(item) }))
    const first = this.#log.acceptOwn(base, events)
    if (!first && window !== null) await this.#log.catchUp()
    for (const [at, { item, answers: whose }] of fresh.entries()) {
      const stored = first || window === null || item.dedupeId === null ? base + at : (window.offsetOf(item.dedupeId) ?? base + at)
      const lost = stored !== base + at && stored >= seen && stored < base
      for (const [which, answer] of whose.entries()) answers[answer] = { offset: lost ? stored : base + at, duplicate: lost || which > 0 }
    }
    return answers
  }

  /** What is to be stored. What is known is answered. */
  #fresh(items: readonly AppendItem[], window: IdWindow | null, answers: Appended[]): Fresh[] {
    const fresh: Fresh[] = []
    const together = new Map<string, Fresh>()
    const now = this.nowMs
    if (window !== null) window.size = this.#windowSize
    window?.expire(now)
    for (const [at, item] of items.entries()) {
      const { dedupeId } = item
      const known = dedupeId === null ? undefined : window?.find(dedupeId, now)
      const same = dedupeId === null ? undefined : together.get(dedupeId)
      if (known !== undefined) answers[at] = { offset: known, duplicate: true }
      else if (same !== undefined) same.answers.push(at)
      else {
        const one = { item, answers: [at] }
        fresh.push(one)
        if (dedupeId !== null) together.set(dedupeId, one)
      }
    }
    return fresh
  }

  async #store(fresh: readonly Fresh[], seen: number): Promise<Produced> {
    const { entry } = this.#log
    const { partitions } = entry
    const byKey = entry.spec.retain.latestByKey
    const records = fresh.map(({ item }) => toRecord(item.event, { partition: item.partition, partitions, seen: item.dedupeId === null ? null : seen }, byKey))
    for (;;) {
      try {
        return await this.#send(records)
      } catch (error) {
        if (!(error instanceof KafkaError) || !PRODUCER_ERRORS.has(error.code)) throw millraceError(`publishing to ${this.#log.topic}`, error)
        // The topic was made anew, or the brokers have forgotten this producer: begin as another.
        this.#producer = null
      }
    }
  }

  async #send(records: readonly NewRecord[]): Promise<Produced> {
    const { client, topic } = this.#log
    const { library } = client
    const { producerId, producerEpoch } = await this.#become()
    const stamp = { id: producerId, epoch: producerEpoch, sequence: this.#sequence }
    const batch = encodeBatch(records, Date.now(), stamp, library)
    if (batch.length > BATCH_BYTES_MAX) throw this.#tooLarge(records.length, batch.length)
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
      this.#sequence = (this.#sequence + records.length) % SEQUENCES
      if (produced.timeMs >= 0) this.#aheadMs = produced.timeMs - (sentMs + Date.now()) / 2
      return produced.timeMs >= 0 ? produced : { ...produced, timeMs: this.nowMs }
    } catch (error) {
      // Whether it was stored is not known: what comes next must not be taken for it.
      this.#producer = null
      throw error
    }
  }

  #become(): Promise<{ readonly producerId: bigint; readonly producerEpoch: number }> {
    if (this.#producer === null) {
      this.#sequence = 0
      const { client } = this.#log
      this.#producer = client.any('becoming a producer', (connection) => client.library.initProducerIdV4.api.async(connection, null, 60_000, -1n, -1))
      this.#producer.catch(() => {
        this.#producer = null
      })
    }
    return this.#producer
  }

  #tooLarge(events: number, bytes: number): MillraceError {
    const message = `${events} events that are stored together have ${bytes} bytes, more than the ${BATCH_BYTES_MAX} of a batch on Kafka: publish fewer at once`
    return new MillraceError('EVENT_TOO_LARGE', message, { channel: this.#log.entry.spec.name, bytes, bytesMax: BATCH_BYTES_MAX })
  }
}

function eventOf({ event: { id, type, key, text } }: AppendItem): KeptEvent['event'] {
  return { id, type, key, text }
}

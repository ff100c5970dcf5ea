/**
 * A channel's topic, as this process reads it: a log of one Kafka partition. The channel's partitions are a part of
 * each record. So the offset of an event is its offset in Kafka, and the order over all keys is the order of
 * publishing.
 *
 * The tail is the part of the log that this process has seen without a gap since it began to follow. It grows by own
 * writes, if nothing came in between, and by fetches. Listeners are told when it grows. The window of known ids and the
 * indexes of retention are folds of the tail.
 *
 * A record is a duplicate if its id is among the records between the offset that its writer had seen and its own batch.
 * All readers find the same duplicates.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { OneAtATime } from '../../base/one-at-a-time.ts'
import { PartitionEnds } from '../../external-log/backend/partition-ends.ts'
import type { ChannelEntry, OnAppend, ReadLimit, StoredRecord, Tail } from '../../external-log/log-backend.ts'
import { Chunk, ChunkCache, type KeptEvent } from './chunk-cache.ts'
import type { KafkaClient } from './client.ts'
import { eventsOf } from './event-batch.ts'
import { fromRecord } from './event-record.ts'
import { CODES, KafkaError } from './kafka-error.ts'
import type { ConnectionLike } from './library.ts'
import { decodeBatches, type FetchedRecord } from './record-batch.ts'
import { EARLIEST, type Fetched, fetch, LATEST, offsetAt } from './requests.ts'

const FETCH_BYTES = 1024 * 1024

/** A batch of at least this many events is kept as bytes until it is read. */
const PACKED_EVENTS = 32
/** Delay before followers hear of our own writes; the writer already has them from the produce response. */
const OWN_MS = 1

/** Gets the new events at the end of the topic, in order. */
export interface TailFold {
  add(events: readonly KeptEvent[]): void
}

export class ChannelTopic {
  readonly topic: string
  readonly client: KafkaClient
  entry: ChannelEntry
  readonly listeners: Set<OnAppend> = new Set()
  readonly #folds = new Set<TailFold>()
  #cache = new ChunkCache(LIMITS.kafkaCacheBytes)
  /** Whether the registry still has the channel. */
  readonly #exists: () => Promise<boolean>
  /** The offset up to which the tail is seen; null until a reader follows it. */
  #at: number | null = null
  /** Where each partition ends in the part of the log that is seen. */
  #ends = new PartitionEnds(0)
  /** Partitions with own writes of which the listeners are not told yet, and where they end. */
  readonly #untold = new Map<number, number>()
  #first = 0
  #next: number | null = null
  readonly #looking = new OneAtATime(() => this.#look())
  #chasing: Promise<void> | null = null

  constructor(client: KafkaClient, topic: string, entry: ChannelEntry, exists: () => Promise<boolean>) {
    this.client = client
    this.topic = topic
    this.entry = entry
    this.#exists = exists
  }

  get tail(): number | null {
    return this.#at
  }

  /** The oldest offset that Kafka keeps, as last seen. */
  get first(): number {
    return this.#first
  }

  /** The offset after the last known event. */
  get next(): number {
    return this.#next ?? 0
  }

  /** Send a request about this topic. @throws UNKNOWN_CHANNEL */
  ask<T>(what: string, send: (connection: ConnectionLike) => Promise<T>): Promise<T> {
    return this.client.leader(`${what} ${this.topic}`, this.topic, 'ask', async (connection) => {
      try {
        return await send(connection)
      } catch (error) {
        throw await this.judge(error)
      }
    })
  }

  /** If the topic does not exist, the channel does not exist, unless it is just being created. */
  async judge(error: unknown): Promise<unknown> {
    const code =
      error instanceof KafkaError
        ? error.code
        : ((error as { errors?: { apiCode?: number }[] }).errors?.[0]?.apiCode ?? 0)
    if (code !== CODES.UNKNOWN_TOPIC_OR_PARTITION || (await this.#exists())) return error
    const { name } = this.entry.spec
    return new MillraceError('UNKNOWN_CHANNEL', `channel "${name}" no longer exists: declare it again`, {
      channel: name,
    })
  }

  /** Ask where the log begins and ends. */
  look(): Promise<void> {
    return this.#looking.ask()
  }

  async #look(): Promise<void> {
    const { library } = this.client
    const [first, next] = await this.ask('looking at', (connection) =>
      Promise.all([
        offsetAt(library, connection, this.topic, EARLIEST),
        offsetAt(library, connection, this.topic, LATEST),
      ]),
    )
    this.#first = Math.max(this.#first, first)
    this.#seen(next)
  }

  #seen(next: number): void {
    this.#next = Math.max(this.#next ?? 0, next)
  }

  /** The first offset at or after a time, or the end of the log. */
  async seek(timeMs: number): Promise<number> {
    const { library } = this.client
    const at = Math.max(0, Math.ceil(timeMs))
    const offset = await this.ask('seeking in', (connection) => offsetAt(library, connection, this.topic, at))
    if (offset >= 0) return offset
    await this.look()
    return this.next
  }

  /** Begin to see the tail, at the end of the log. */
  async follow(): Promise<void> {
    if (this.#at !== null) return
    await this.look()
    if (this.#at !== null) return
    this.#at = this.next
    this.#ends = new PartitionEnds(this.next)
  }

  /** Fold what is stored from an offset on, and everything that comes later. */
  async fold(fold: TailFold, from: number): Promise<void> {
    await this.follow()
    for (let at = from; at < (this.#at ?? 0); ) {
      const chunk = await this.load(at)
      if (chunk === null) break
      // The tail may have moved into the middle of the chunk. The rest of the chunk comes with the tail.
      const end = Math.min(chunk.end, this.#at ?? 0)
      fold.add(chunk.events.filter(({ offset }) => offset >= at && offset < end))
      at = end
    }
    this.#folds.add(fold)
  }

  /** See the tail up to where the log ends now. */
  async catchUp(): Promise<void> {
    await this.follow()
    await this.look()
    const end = this.next
    while ((this.#at ?? 0) < end) {
      this.#chasing ??= this.#chase().finally(() => {
        this.#chasing = null
      })
      await this.#chasing
    }
  }

  async #chase(): Promise<void> {
    const answer = await this.#fetch(this.#at ?? 0)
    await this.accept(answer)
  }

  /** Take the new part of what was fetched at the tail, or before it. Answers whether there was one. */
  async accept(answer: Fetched): Promise<boolean> {
    if (answer.code === CODES.OFFSET_OUT_OF_RANGE) {
      await this.look()
      // Events that were deleted before they were seen are gone. An offset beyond the end is from the topic's
      // predecessor.
      if ((this.#at ?? 0) < this.#first) this.#at = this.#first
      else this.#restart(this.#first)
      return true
    }
    this.#seen(answer.next)
    this.#first = Math.max(this.#first, answer.first)
    for (;;) {
      const at = this.#at ?? 0
      const chunk = await this.#decode(answer.bytes, at)
      // An own write may have moved the tail meanwhile.
      if ((this.#at ?? 0) !== at) continue
      if (chunk.end <= at) return false
      this.#grow(chunk, chunk.events)
      this.#tell(chunk.events)
      return true
    }
  }

  /**
   * Take an own write, whose writer had seen the log up to `seen`. If it follows the tail, answers where the partition
   * of each event ended before it. Answers an empty list if it was fetched before the write was answered, and null if
   * something stands between.
   */
  acceptOwn(base: number, events: readonly KeptEvent[], batch: Buffer, seen: number): number[] | null {
    const end = base + events.length
    if (base < (this.#at ?? 0)) {
      if (seen === base && this.#holds(base, events[0])) return []
      this.#restart(base)
    }
    this.#seen(end)
    if (this.#at !== base) return null
    const before = events.map(({ partition, offset }) => this.#ends.extend(partition, offset))
    const timeMs = events[0]?.timeMs ?? 0
    const isPacked = events.length >= PACKED_EVENTS
    const chunk = isPacked
      ? Chunk.packed(base, end, batch, () => eventsOf(batch, base, timeMs, this.entry))
      : new Chunk(base, end, [...events])
    this.#grow(chunk, events)
    this.#tellSoon(events)
    return before
  }

  #holds(offset: number, event: KeptEvent | undefined): boolean {
    const found = this.#cache.find(offset)?.events.find((each) => each.offset === offset)
    return found !== undefined && found.event.id === event?.event.id
  }

  /**
   * What was seen was in the topic's predecessor, which a broker had not removed yet. The new topic is read from here.
   */
  #restart(from: number): void {
    this.#cache = new ChunkCache(LIMITS.kafkaCacheBytes)
    this.#at = from
    this.#ends = new PartitionEnds(from)
    this.#first = 0
    this.#next = from
  }

  #grow(chunk: Chunk, events: readonly KeptEvent[]): void {
    this.#at = chunk.end
    this.#cache.add(chunk)
    if (events.length > 0) for (const fold of this.#folds) fold.add(events)
  }

  /**
   * Tell the listeners of events of others, with the events themselves. If only the latest event of each key counts,
   * listeners read the events, because a read finds out which those are.
   */
  #tell(events: readonly KeptEvent[]): void {
    const tails = new Map<number, Tail & { readonly records: KeptEvent[] }>()
    for (const event of events) {
      const before = this.#ends.extend(event.partition, event.offset)
      const tail = tails.get(event.partition)
      if (tail === undefined) tails.set(event.partition, { before, records: [event] })
      else tail.records.push(event)
    }
    const brings = !this.entry.spec.retain.latestByKey
    for (const listener of [...this.listeners]) {
      for (const [partition, tail] of tails) listener(partition, this.#ends.of(partition), brings ? tail : undefined)
    }
  }

  #tellSoon(events: readonly KeptEvent[]): void {
    if (this.listeners.size === 0) return
    if (this.#untold.size === 0) setTimeout(() => this.#tellOwn(), OWN_MS)
    for (const { partition, offset } of events) this.#untold.set(partition, offset + 1)
  }

  #tellOwn(): void {
    const told = [...this.#untold]
    this.#untold.clear()
    for (const listener of [...this.listeners]) for (const [partition, next] of told) listener(partition, next)
  }

  /** Events at and after an offset, up to a limit, without those that `shows` rejects. */
  async read(
    partition: number | null,
    from: number,
    limit: ReadLimit,
    shows: (event: KeptEvent) => boolean,
  ): Promise<StoredRecord[]> {
    if (this.#next === null || from >= this.#next) await this.look()
    const found: StoredRecord[] = []
    let bytes = 0
    for (let at = Math.max(from, this.#first); at < this.next; ) {
      const chunk = await this.load(at)
      if (chunk === null) break
      for (const event of chunk.of(partition)) {
        if (event.offset < at || !shows(event)) continue
        if (found.length >= limit.count || bytes >= limit.bytes) return found
        found.push(event)
        bytes += event.event.text.length
      }
      at = chunk.end
    }
    return found
  }

  /** The events from an offset on, as many as one fetch brings; null if there are none. */
  async load(offset: number): Promise<Chunk | null> {
    const known = this.#cache.find(offset)
    if (known !== undefined) return known
    const answer = await this.#fetch(offset)
    if (answer.code === CODES.OFFSET_OUT_OF_RANGE) {
      await this.look()
      return offset < this.#first ? new Chunk(offset, this.#first, []) : null
    }
    this.#seen(answer.next)
    const chunk = await this.#decode(answer.bytes, offset)
    return chunk.end > offset ? this.#cache.add(chunk) : null
  }

  #fetch(offset: number, bytes: number = FETCH_BYTES): Promise<Fetched> {
    const { library } = this.client
    return this.ask('reading', async (connection) => {
      const [answer] = await fetch(library, connection, [{ topic: this.topic, offset }], 0, bytes)
      if (answer === undefined)
        throw new KafkaError(CODES.UNKNOWN_TOPIC_OR_PARTITION, `topic ${this.topic} does not exist`)
      if (answer.code !== 0 && answer.code !== CODES.OFFSET_OUT_OF_RANGE)
        throw new KafkaError(answer.code, `Kafka's error ${answer.code}`)
      return answer
    })
  }

  #records(bytes: Buffer, from: number): { readonly records: readonly FetchedRecord[]; readonly end: number } {
    const algorithms = this.client.library.compressionsAlgorithmsByBitmask
    return decodeBatches(bytes, from, {
      decompress: (algorithm, compressed) => {
        const known = algorithms[algorithm]
        if (known === undefined)
          throw new MillraceError('STORE_FAILED', `a batch of topic ${this.topic} is compressed in an unknown way`)
        return known.decompressSync(compressed)
      },
    })
  }

  async #decode(bytes: Buffer, from: number): Promise<Chunk> {
    const { records, end } = this.#records(bytes, from)
    const events: KeptEvent[] = []
    const race = new Race(from, (first, until) => this.#idsFrom(Math.max(first, this.#first), until))
    for (const record of records) {
      const { event, partition, seen } = fromRecord(record, this.entry)
      if (seen !== null && seen < record.base && (await race.lost(event.id, seen, record.base))) continue
      events.push({ offset: record.offset, timeMs: record.timeMs, partition, event })
      race.passed(record.offset, event.id)
    }
    return new Chunk(from, end, events)
  }

  /** Ids and offsets as they are stored, duplicates included. */
  async #idsFrom(from: number, end: number): Promise<[number, string][]> {
    const ids: [number, string][] = []
    for (let at = from; at < end; ) {
      const answer = await this.#fetch(at)
      const { records, end: after } = this.#records(answer.bytes, at)
      for (const record of records) {
        const { event } = fromRecord(record, this.entry)
        if (record.offset < end) ids.push([record.offset, event.id])
      }
      if (after <= at) break
      at = after
    }
    return ids
  }
}

/** Decides which of two writers was first, if both wrote an id and neither had seen the other's record. */
class Race {
  /** Ids in the order of their offsets. */
  readonly #ids: [offset: number, id: string][] = []
  readonly #load: (from: number, until: number) => Promise<[number, string][]>
  #oldest: number
  #base = -1
  #between = new Set<string>()

  constructor(from: number, load: (from: number, until: number) => Promise<[number, string][]>) {
    this.#oldest = from
    this.#load = load
  }

  passed(offset: number, id: string): void {
    this.#ids.push([offset, id])
  }

  /** Whether an id is among the records from `seen` up to `base`, where its batch begins. */
  async lost(id: string, seen: number, base: number): Promise<boolean> {
    if (base !== this.#base) {
      if (seen < this.#oldest) {
        this.#ids.unshift(...(await this.#load(seen, this.#oldest)))
        this.#oldest = seen
      }
      this.#between = new Set()
      for (let at = this.#ids.length - 1; at >= 0; at--) {
        const [offset, known] = this.#ids[at] as [number, string]
        if (offset < seen) break
        if (offset < base) this.#between.add(known)
      }
      this.#base = base
    }
    return this.#between.has(id)
  }
}

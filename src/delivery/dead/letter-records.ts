/**
 * The records of the events that a cursor keeps: for each event its text (`DeadRecord`), written once, and its state
 * (`ChainRecord`), which alone says whether the event is a dead letter or waits to be delivered.
 *
 * A record that was just written cannot be read before its commit is durable. Until then it is kept here.
 */
import type { DeadLetterQuery } from '../../broker/description.ts'
import {
  type ChainRecord,
  consumerKeys,
  type DeadRecord,
  fromJson,
  lastNumber,
  toJson,
  under,
} from '../consumer-records.ts'

/** Reads the texts of kept events where they are not in memory at once, as on servers. */
export interface LetterReader {
  /** Resolves when `get` may have the text, for a while. Resolves to false where the text is gone. */
  fetch(offset: number): Promise<boolean>
  /** The records of these offsets, in this order, a few in memory at a time. Records that are gone are left out. */
  load(offsets: readonly number[]): AsyncIterable<readonly [offset: number, record: DeadRecord]>
  /** Whether the texts that wait to be written take as much memory as they may. */
  readonly crowded: boolean
}

export interface LetterHost {
  readonly group: string
  readonly channelId: number
  readonly channel: string
  get(key: string): Uint8Array | undefined
  range(from: string, to: string, limit?: number): [string, Uint8Array][]
  write(key: string, value: Uint8Array | null): void
  flushed(): Promise<void>
  readonly letters?: LetterReader
}

type Found<Record> = readonly [offset: number, record: Record]

/** How many records are read, and changed, between two pauses. */
export const PAGE = 500

export class LetterRecords {
  readonly #host: LetterHost
  /** State records that cannot be read yet: those of the commit under way, and those after it. null: deleted. */
  #unread: readonly [saving: Map<number, ChainRecord | null>, next: Map<number, ChainRecord | null>] = [
    new Map(),
    new Map(),
  ]

  constructor(host: LetterHost) {
    this.#host = host
  }

  #chainKey(offset: number): string {
    return consumerKeys.chain(this.#host.group, this.#host.channelId, offset)
  }

  #deadKey(offset: number): string {
    return consumerKeys.dead(this.#host.group, this.#host.channelId, offset)
  }

  get #table(): readonly [from: string, to: string] {
    return under(consumerKeys.table('k', this.#host.group, this.#host.channelId))
  }

  get crowded(): boolean {
    return this.#host.letters?.crowded === true
  }

  /** The state of an event as it was written last. */
  state(offset: number): ChainRecord | undefined {
    const [saving, next] = this.#unread
    const unread = next.has(offset) ? next.get(offset) : saving.get(offset)
    if (unread !== undefined) return unread ?? undefined
    const bytes = this.#host.get(this.#chainKey(offset))
    return bytes === undefined ? undefined : fromJson<ChainRecord>(bytes)
  }

  /** The states of all events at and after an offset, in order. */
  states(fromOffset = 0): readonly Found<ChainRecord>[] {
    return this.#range(this.#chainKey(fromOffset), this.#table[1], Number.POSITIVE_INFINITY).records
  }

  /** The states in a range of keys as they were written last, and the next key where there may be more. */
  #range(
    from: string,
    to: string,
    limit: number,
  ): { readonly records: readonly Found<ChainRecord>[]; readonly more: string | null } {
    const stored = this.#host.range(from, to, limit)
    const last = stored.length < limit ? undefined : stored.at(-1)?.[0]
    const found = new Map(
      stored.map(([key, bytes]): [number, ChainRecord] => [lastNumber(key), fromJson<ChainRecord>(bytes)]),
    )
    for (const unread of this.#unread) {
      for (const [offset, record] of unread) {
        const key = this.#chainKey(offset)
        if (key < from || key >= to || (last !== undefined && key > last)) continue
        if (record === null) found.delete(offset)
        else found.set(offset, record)
      }
    }
    return { records: [...found].sort(([a], [b]) => a - b), more: last === undefined ? null : `${last}!` }
  }

  /** The event with its text, if it is in memory. `fetch` brings it there. */
  event(offset: number): DeadRecord | undefined {
    const bytes = this.#host.get(this.#deadKey(offset))
    return bytes === undefined ? undefined : fromJson<DeadRecord>(bytes)
  }

  /** Resolves when `event` may have the event. Resolves to false where the event is gone. */
  async fetch(offset: number): Promise<boolean> {
    if (this.#host.letters !== undefined) return this.#host.letters.fetch(offset)
    await this.#host.flushed()
    return this.event(offset) !== undefined
  }

  /** Write the text and the state of an event. */
  write(offset: number, record: DeadRecord, state: Pick<ChainRecord, 'key' | 'blocks'>): void {
    this.#host.write(this.#deadKey(offset), toJson(record))
    this.writeState(offset, { consumer: record.consumer, state: record.state, ...state })
  }

  writeState(offset: number, record: ChainRecord): void {
    this.#host.write(this.#chainKey(offset), toJson(record))
    this.#remember(offset, record)
  }

  delete(offset: number): void {
    this.#host.write(this.#deadKey(offset), null)
    this.#host.write(this.#chainKey(offset), null)
    this.#remember(offset, null)
  }

  /** Keep a state until it can be read. On servers it can be read at once. */
  #remember(offset: number, record: ChainRecord | null): void {
    if (this.#host.letters !== undefined) return
    const [saving, next] = this.#unread
    next.set(offset, record)
    if (saving.size === 0) this.#forgetWhenSaved()
  }

  #forgetWhenSaved(): void {
    const [, saving] = this.#unread
    this.#unread = [saving, new Map()]
    const saved = (): void => {
      const [, next] = this.#unread
      this.#unread = [new Map(), next]
      if (next.size > 0) this.#forgetWhenSaved()
    }
    this.#host.flushed().then(saved, () => undefined)
  }

  /**
   * Pages of offsets of a consumer's dead letters, oldest first. Whether an id or a key matches is in the text only.
   */
  *pages(consumer: string, query: DeadLetterQuery): Generator<readonly number[]> {
    const { channel } = this.#host
    if (query.channel !== undefined && query.channel !== channel) return
    if (query.places !== undefined) return yield this.#at(consumer, query)
    let [from, to] = this.#table
    const { after } = query
    if (after?.channel === channel) from = this.#chainKey(after.offset + 1)
    if (query.offset !== undefined) {
      from = this.#chainKey(query.offset)
      to = `${from}!`
    }
    for (let next: string | null = from; next !== null; ) {
      const { records, more } = this.#range(next, to, PAGE)
      yield records.flatMap(([offset, record]) =>
        record.state === 'dead' && record.consumer === consumer ? [offset] : [],
      )
      next = more
    }
  }

  /** The offsets of the dead letters at the places of a query. */
  #at(consumer: string, { places = [], after, offset }: DeadLetterQuery): readonly number[] {
    const { channel } = this.#host
    const first = after?.channel === channel ? after.offset + 1 : 0
    const offsets = places.filter((place) => place.channel === channel).map((place) => place.offset)
    return [...new Set(offsets)]
      .filter((each) => each >= first && (offset === undefined || offset === each))
      .filter((each) => {
        const record = this.state(each)
        return record?.state === 'dead' && record.consumer === consumer
      })
      .sort((a, b) => a - b)
  }

  async *#load(offsets: readonly number[]): AsyncGenerator<Found<DeadRecord>> {
    if (this.#host.letters !== undefined) return yield* this.#host.letters.load(offsets)
    for (const offset of offsets) {
      const record = this.event(offset)
      if (record !== undefined) yield [offset, record]
    }
  }

  /** The dead letters that a query names, with their texts, oldest first. */
  async *matching(consumer: string, query: DeadLetterQuery): AsyncGenerator<Found<DeadRecord>> {
    let left = query.limit ?? Number.POSITIVE_INFINITY
    if (left <= 0) return
    const matches = this.#textTest(query)
    for (const page of this.pages(consumer, query)) {
      // If every letter matches, no more texts are read than the query wants.
      const wanted = matches === null ? page.slice(0, left) : page
      for await (const [offset, record] of this.#load(wanted)) {
        if (matches !== null && !matches(offset, record)) continue
        yield [offset, record]
        if (--left <= 0) return
      }
      if (left <= 0) return
    }
  }

  /**
   * The part of a query that needs the stored record: the id, the key, or when the event became a dead letter. Null if
   * the query has none of them.
   */
  #textTest({ id, key, places }: DeadLetterQuery): ((offset: number, record: DeadRecord) => boolean) | null {
    const deaths = new Map(
      places?.flatMap(({ channel, offset, deadAtMs }) =>
        channel === this.#host.channel && deadAtMs !== undefined ? [[offset, deadAtMs] as const] : [],
      ),
    )
    if (id === undefined && key === undefined && deaths.size === 0) return null
    return (offset, record) =>
      (id === undefined || id === record.id) &&
      (key === undefined || key === record.key) &&
      (deaths.get(offset) ?? record.deadAtMs) === record.deadAtMs
  }

  /** The offsets of the dead letters that a query names, oldest first. */
  async *offsets(consumer: string, query: DeadLetterQuery): AsyncGenerator<number> {
    if (this.#textTest(query) !== null) {
      for await (const [offset] of this.matching(consumer, query)) yield offset
      return
    }
    let left = query.limit ?? Number.POSITIVE_INFINITY
    for (const page of this.pages(consumer, query)) {
      for (const offset of page) {
        if (left-- <= 0) return
        yield offset
      }
    }
  }
}

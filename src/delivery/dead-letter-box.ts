/**
 * The dead letters of a consumer in one channel, and the events that wait behind them (clause 6).
 *
 * A **chain** is what of one key is kept here, oldest first. While its head is dead, later events of the key join it instead of being
 * delivered (`park`). When the head is redriven or dropped, the chain is delivered in order, and events that arrive
 * meanwhile join its end; when it is empty, the key is back to normal.
 * With `block`, everything waits while there is a dead letter; with `skip`, nothing does.
 *
 * Texts are on disk only, or on the servers (`LetterReader`). In memory are the offsets of chains, so their number is bounded: a consumer at the bound takes no
 * more (it stalls, and says why). Whether an event is dead or waits is what its chain record says: its text is written once, when it comes here.
 */
import { LIMITS } from '../base/limits.ts'
import type { DeadLetter, DeadLetterQuery } from '../broker/description.ts'
import type { EncodedEvent, Failure, OnDead } from '../broker/engine.ts'
import { type ChainRecord, consumerKeys, type DeadRecord, fromJson, lastNumber, toJson, under } from './consumer-records.ts'

/** What of one key is kept here. */
export interface Chain {
  readonly key: string
  /** Sorted. The first is the head. */
  readonly offsets: number[]
  /** The head is dead: nothing of the chain is delivered. */
  dead: boolean
}

/** Where texts cannot be had at once. */
export interface LetterReader {
  /** Resolves when `get` may have the event, for a while. */
  fetch(offset: number): Promise<void>
  /** The events at these offsets, in this order, a few in memory at a time; without those that are gone. */
  load(offsets: readonly number[]): AsyncIterable<readonly [offset: number, record: DeadRecord]>
  /** As much waits to be written as may be in memory. */
  readonly crowded: boolean
}

/** What the box needs of its cursor. */
export interface BoxHost {
  readonly group: string
  readonly channelId: number
  readonly channel: string
  get(key: string): Uint8Array | undefined
  range(from: string, to: string, limit?: number): [string, Uint8Array][]
  write(key: string, value: Uint8Array | null): void
  flushed(): Promise<void>
  readonly blocking?: Set<number>
  readonly letters?: LetterReader
}

/** Which dead letters, and what becomes of each; null for no change beyond what is done with its text. */
type Change = (offset: number, chain: Chain | undefined) => void

const PAGE = 500

export class DeadLetterBox {
  readonly chains: Map<string, Chain> = new Map()
  /** Redriven events that belong to no chain, to be delivered next. */
  readonly loose: number[] = []
  /** Dead letters that stop everything (`block`). */
  readonly blocking: Set<number>
  dead = 0
  waiting = 0
  readonly #host: BoxHost
  #turn: Promise<unknown> = Promise.resolve()

  constructor(host: BoxHost) {
    this.#host = host
    this.blocking = host.blocking ?? new Set()
    for (const [key, bytes] of host.range(...under(consumerKeys.table('k', host.group, host.channelId)))) {
      this.#load(lastNumber(key), fromJson<ChainRecord>(bytes))
    }
  }

  #load(offset: number, record: ChainRecord): void {
    const dead = record.state === 'dead'
    if (record.key !== null) {
      const chain = this.#chain(record.key)
      chain.offsets.push(offset)
      if (chain.offsets.length === 1) chain.dead = dead
    } else if (!dead) this.loose.push(offset)
    if (record.blocks) this.blocking.add(offset)
    if (dead) this.dead++
    else if (record.key !== null) this.waiting++
  }

  #chain(key: string): Chain {
    let chain = this.chains.get(key)
    if (chain === undefined) {
      chain = { key, offsets: [], dead: false }
      this.chains.set(key, chain)
    }
    return chain
  }

  /** No room for more chains in memory. */
  get full(): boolean {
    return this.waiting + this.chains.size >= LIMITS.outstandingMax
  }

  /** No more may join now: there is no room for more chains, or what has joined is still being written. */
  get closed(): boolean {
    return (this.full && this.chains.size > 0) || this.crowded
  }

  get crowded(): boolean {
    return this.#host.letters?.crowded === true
  }

  /** Its own among those that stop everything. */
  get blockers(): number[] {
    return [...this.blocking].filter((offset) => this.#chainRecord(offset) !== undefined)
  }

  #chainRecord(offset: number): ChainRecord | undefined {
    const bytes = this.#host.get(consumerKeys.chain(this.#host.group, this.#host.channelId, offset))
    return bytes === undefined ? undefined : fromJson<ChainRecord>(bytes)
  }

  /** The event, if its text is at hand: `fetch` brings it. */
  event(offset: number): DeadRecord | undefined {
    const bytes = this.#host.get(consumerKeys.dead(this.#host.group, this.#host.channelId, offset))
    return bytes === undefined ? undefined : fromJson<DeadRecord>(bytes)
  }

  /** Resolves when the event may be at hand. */
  fetch(offset: number): Promise<void> {
    return this.#host.letters === undefined ? this.#host.flushed() : this.#host.letters.fetch(offset)
  }

  /** Give up on an event. */
  add(consumer: string, onDead: OnDead, event: EncodedEvent, offset: number, timeMs: number, attempts: number, failure: Failure, nowMs: number): void {
    const key = onDead === 'park' ? event.key : null
    if (onDead === 'block') this.blocking.add(offset)
    this.#write(offset, { consumer, state: 'dead', timeMs, attempts, failure, deadAtMs: nowMs, ...plain(event) }, key)
    this.dead++
    if (key === null) return
    const chain = this.#chain(key)
    if (chain.offsets[0] === offset) this.waiting--
    else chain.offsets.unshift(offset)
    chain.dead = true
  }

  /** An event joins the chain of its key. */
  join(chain: Chain, consumer: string, event: EncodedEvent, offset: number, timeMs: number): void {
    if ((chain.offsets.at(-1) ?? -1) >= offset && chain.offsets.includes(offset)) return
    this.#write(offset, { consumer, state: 'live', timeMs, attempts: 0, failure: null, deadAtMs: 0, ...plain(event) }, chain.key)
    chain.offsets.push(offset)
    this.waiting++
  }

  /** A redriven or waiting event was completed. */
  done(offset: number, key: string | null): void {
    this.#delete(offset)
    this.blocking.delete(offset)
    const chain = key === null ? undefined : this.chains.get(key)
    if (chain === undefined || chain.offsets[0] !== offset) return
    chain.offsets.shift()
    this.waiting--
    if (chain.offsets.length === 0) this.chains.delete(chain.key)
  }

  #write(offset: number, record: DeadRecord, key: string | null): void {
    const { group, channelId } = this.#host
    this.#host.write(consumerKeys.dead(group, channelId, offset), toJson(record))
    this.#writeChain(offset, { consumer: record.consumer, state: record.state, key, blocks: this.blocking.has(offset) })
  }

  #writeChain(offset: number, record: ChainRecord): void {
    this.#host.write(consumerKeys.chain(this.#host.group, this.#host.channelId, offset), toJson(record))
  }

  #delete(offset: number): void {
    const { group, channelId } = this.#host
    this.#host.write(consumerKeys.dead(group, channelId, offset), null)
    this.#host.write(consumerKeys.chain(group, channelId, offset), null)
  }

  /** Offsets of dead letters that may be those a query names, oldest first, in pages: with an id or a key, its texts must be looked at. */
  *#pages(consumer: string, query: DeadLetterQuery): Generator<readonly number[]> {
    if (query.channel !== undefined && query.channel !== this.#host.channel) return
    const { group, channelId } = this.#host
    let [from, to] = under(consumerKeys.table('k', group, channelId))
    if (query.offset !== undefined) {
      from = consumerKeys.chain(group, channelId, query.offset)
      to = `${from}!`
    }
    for (;;) {
      const page = this.#host.range(from, to, PAGE)
      const last = page.at(-1)
      if (last === undefined) return
      from = `${last[0]}!`
      yield page.flatMap(([key, bytes]) => {
        const record = fromJson<ChainRecord>(bytes)
        return record.state === 'dead' && record.consumer === consumer ? [lastNumber(key)] : []
      })
      if (page.length < PAGE) return
    }
  }

  async *#records(offsets: readonly number[]): AsyncGenerator<readonly [offset: number, record: DeadRecord]> {
    if (this.#host.letters !== undefined) return yield* this.#host.letters.load(offsets)
    for (const offset of offsets) {
      const record = this.event(offset)
      if (record !== undefined) yield [offset, record]
    }
  }

  async *#matching(consumer: string, query: DeadLetterQuery): AsyncGenerator<readonly [offset: number, record: DeadRecord]> {
    let left = query.limit ?? Number.POSITIVE_INFINITY
    for (const page of this.#pages(consumer, query)) {
      // Without an id or a key each of them is meant: no more texts are read than are wanted.
      const wanted = query.id === undefined && query.key === undefined ? page.slice(0, left) : page
      for await (const [offset, record] of this.#records(wanted)) {
        if ((query.id !== undefined && query.id !== record.id) || (query.key !== undefined && query.key !== record.key)) continue
        yield [offset, record]
        if (--left <= 0) return
      }
      if (left <= 0) return
    }
  }

  /** Offsets of the dead letters that a query names, oldest first; their texts are read only where the query asks about them. */
  async *offsets(consumer: string, query: DeadLetterQuery): AsyncGenerator<number> {
    if (query.id !== undefined || query.key !== undefined) {
      for await (const [offset] of this.#matching(consumer, query)) yield offset
      return
    }
    let left = query.limit ?? Number.POSITIVE_INFINITY
    for (const page of this.#pages(consumer, query)) {
      for (const offset of page) {
        if (left-- <= 0) return
        yield offset
      }
    }
  }

  /** How many dead letters a consumer has here. */
  count(consumer: string): number {
    let count = 0
    for (const page of this.#pages(consumer, {})) count += page.length
    return count
  }

  async list(consumer: string, query: DeadLetterQuery): Promise<DeadLetter[]> {
    const letters: DeadLetter[] = []
    for await (const [offset, record] of this.#matching(consumer, query)) {
      const { key, id, type, text, attempts, deadAtMs } = record
      const chain = key === null ? undefined : this.chains.get(key)
      const waiting = chain !== undefined && chain.offsets[0] === offset ? chain.offsets.length - 1 : 0
      const failure = record.failure ?? { name: 'Error', message: 'unknown', kind: 'error' }
      letters.push({ consumer, channel: this.#host.channel, offset, key, id, type, text, attempts, failure, deadAtMs, waiting })
    }
    return letters
  }

  /** Give dead letters back. Answers the keys whose chains go on, and how many letters there were. */
  async redrive(consumer: string, query: DeadLetterQuery): Promise<{ readonly count: number; readonly keys: string[] }> {
    return this.#settle(consumer, query, (offset, chain) => {
      this.#writeChain(offset, { consumer, state: 'live', key: chain?.key ?? null, blocks: this.blocking.has(offset) })
      if (chain === undefined) this.loose.push(offset)
      else {
        chain.dead = false
        this.waiting++
      }
    })
  }

  /** Delete dead letters; what waited behind them goes on. */
  async drop(consumer: string, query: DeadLetterQuery): Promise<{ readonly count: number; readonly keys: string[] }> {
    return this.#settle(consumer, query, (offset, chain) => {
      this.#delete(offset)
      this.blocking.delete(offset)
      if (chain === undefined) return
      chain.offsets.shift()
      chain.dead = false
      if (chain.offsets.length === 0) this.chains.delete(chain.key)
    })
  }

  /** One after the other, and each after what was put in before is durable: what is on disk is what there is. */
  #settle(consumer: string, query: DeadLetterQuery, change: Change): Promise<{ readonly count: number; readonly keys: string[] }> {
    const settling = this.#turn.then(() => this.#host.flushed()).then(() => this.#change(consumer, query, change))
    this.#turn = settling.catch(() => undefined)
    return settling
  }

  async #change(consumer: string, query: DeadLetterQuery, change: Change): Promise<{ readonly count: number; readonly keys: string[] }> {
    const touched = new Set<string>()
    let count = 0
    for await (const offset of this.offsets(consumer, query)) {
      const record = this.#chainRecord(offset)
      // While its text was looked at, it may have gone.
      if (record?.state !== 'dead') continue
      const candidate = record.key === null ? undefined : this.chains.get(record.key)
      const chain = candidate?.offsets[0] === offset ? candidate : undefined
      change(offset, chain)
      this.dead--
      if (chain !== undefined) touched.add(chain.key)
      if (++count % PAGE === 0) await this.#host.flushed()
    }
    await this.#host.flushed()
    return { count, keys: [...touched] }
  }

  /** Forget what will be read again from the channel: everything at and after an offset. */
  forget(fromOffset: number): void {
    const { blockers } = this
    const { group, channelId } = this.#host
    for (const [key, bytes] of this.#host.range(consumerKeys.chain(group, channelId, fromOffset), under(consumerKeys.table('k', group, channelId))[1])) {
      if (fromJson<ChainRecord>(bytes).state === 'dead') this.dead--
      this.#delete(lastNumber(key))
    }
    for (const chain of this.chains.values()) {
      const kept = chain.offsets.filter((offset) => offset < fromOffset)
      this.waiting -= chain.offsets.length - kept.length - (chain.dead && kept.length === 0 ? 1 : 0)
      chain.offsets.splice(0, chain.offsets.length, ...kept)
      if (kept.length === 0) this.chains.delete(chain.key)
    }
    for (const offset of blockers) if (offset >= fromOffset) this.blocking.delete(offset)
    this.loose.splice(0, this.loose.length, ...this.loose.filter((offset) => offset < fromOffset))
  }
}

/** The event alone: a record holds nothing else of a delivery or a block. */
function plain(event: EncodedEvent): EncodedEvent {
  return { id: event.id, type: event.type, key: event.key, text: event.text }
}

/**
 * The dead letters of a consumer in one channel, and the events that wait behind them (clause 6).
 *
 * A **chain** is what of one key is kept here, oldest first. While its head is dead, later events of the key join it instead of being
 * delivered (`park`). When the head is redriven or dropped, the chain is delivered in order, and events that arrive
 * meanwhile join it in their places; when it is empty, the key is back to normal.
 * With `block`, everything waits while there is a dead letter; with `skip`, nothing does: such a letter makes a chain when it comes back (`enchain`),
 * so that it is not handled beside others of its key.
 *
 * Texts are on disk only, or on the servers (`LetterReader`). In memory are the offsets of chains, so their number is bounded: a consumer at the bound takes no
 * more (it stalls, and says why). Whether an event is dead or waits is what its chain record says: its text is written once, when it comes here.
 */
import { LIMITS } from '../../base/limits.ts'
import { OffsetQueue } from '../../base/offset-queue.ts'
import type { DeadLetter, DeadLetterQuery } from '../../broker/description.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { OnDead } from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import {
  type ChainRecord,
  consumerKeys,
  type DeadRecord,
  fromJson,
  lastNumber,
  toJson,
  under,
} from '../consumer-records.ts'
import { Blockade } from './blockade.ts'

/** What of one key is kept here. */
export interface Chain {
  readonly key: string
  /** The first is the head. */
  readonly offsets: OffsetQueue
  /** The head is dead: nothing of the chain is delivered. */
  dead: boolean
}

/** Where texts cannot be had at once. */
export interface LetterReader {
  /** Resolves when `get` may have the event, for a while: false where it is gone. */
  fetch(offset: number): Promise<boolean>
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
  readonly blockade?: Blockade
  readonly letters?: LetterReader
}

/** Which dead letters, and what becomes of each; null for no change beyond what is done with its text. */
type Change = (offset: number, chain: Chain | undefined) => void

const PAGE = 500

/** A delivery that no attempt is to follow. */
export interface GivenUp {
  readonly consumer: string
  readonly onDead: OnDead
  readonly event: EncodedEvent
  readonly offset: number
  readonly timeMs: number
  /** Attempts that it has used. */
  readonly attempt: number
}

export class DeadLetterBox {
  readonly chains: Map<string, Chain> = new Map()
  /** Redriven events that belong to no chain, to be delivered next, by their consumers. None of them is empty. */
  readonly loose: Map<string, OffsetQueue> = new Map()
  /** What stops everything (`block`). */
  readonly blockade: Blockade
  dead = 0
  waiting = 0
  readonly #host: BoxHost
  /** Its own letters that stop everything. */
  readonly #blocking = new Set<number>()
  /** Chain records that were written and cannot be read yet: those of the commit that is waited for, and those after it. */
  #unread: readonly [saving: Map<number, ChainRecord | null>, next: Map<number, ChainRecord | null>] = [
    new Map(),
    new Map(),
  ]
  #turn: Promise<unknown> = Promise.resolve()

  constructor(host: BoxHost) {
    this.#host = host
    this.blockade = host.blockade ?? new Blockade()
    for (const [key, bytes] of host.range(...under(consumerKeys.table('k', host.group, host.channelId)))) {
      this.#load(lastNumber(key), fromJson<ChainRecord>(bytes))
    }
  }

  #load(offset: number, record: ChainRecord): void {
    const dead = record.state === 'dead'
    if (record.key !== null) {
      const chain = this.#chain(record.key)
      chain.offsets.add(offset)
      if (chain.offsets.size === 1) chain.dead = dead
    } else if (!dead) this.loosen(record.consumer, offset)
    if (record.blocks) this.#block(offset)
    if (dead) this.dead++
    else if (record.key !== null) this.waiting++
  }

  #chain(key: string): Chain {
    let chain = this.chains.get(key)
    if (chain === undefined) {
      chain = { key, offsets: new OffsetQueue(), dead: false }
      this.chains.set(key, chain)
    }
    return chain
  }

  get channel(): string {
    return this.#host.channel
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

  /** Whether a chain waits while there is a letter that stops everything: not where that letter is in it. */
  stops(chain: Chain): boolean {
    if (!this.blockade.stands) return false
    for (const offset of this.#blocking) if (chain.offsets.has(offset)) return false
    return true
  }

  #blocks(offset: number): boolean {
    return this.#blocking.has(offset)
  }

  #block(offset: number): void {
    this.#blocking.add(offset)
    this.blockade.set(this, this.#blocking.size)
  }

  #unblock(offset: number): void {
    if (this.#blocking.delete(offset)) this.blockade.set(this, this.#blocking.size)
  }

  #chainRecord(offset: number): ChainRecord | undefined {
    const [saving, next] = this.#unread
    const unread = next.has(offset) ? next.get(offset) : saving.get(offset)
    if (unread !== undefined) return unread ?? undefined
    const bytes = this.#host.get(consumerKeys.chain(this.#host.group, this.#host.channelId, offset))
    return bytes === undefined ? undefined : fromJson<ChainRecord>(bytes)
  }

  /** Chain records of a range of keys as they were written last, and the key behind them where there may be more. */
  #chainRecords(
    from: string,
    to: string,
    limit: number,
  ): { readonly records: (readonly [offset: number, record: ChainRecord])[]; readonly more: string | null } {
    const stored = this.#host.range(from, to, limit)
    const last = stored.length < limit ? undefined : stored.at(-1)?.[0]
    const found = new Map(
      stored.map(([key, bytes]): [number, ChainRecord] => [lastNumber(key), fromJson<ChainRecord>(bytes)]),
    )
    for (const unread of this.#unread) {
      for (const [offset, record] of unread) {
        const key = consumerKeys.chain(this.#host.group, this.#host.channelId, offset)
        if (key < from || key >= to || (last !== undefined && key > last)) continue
        if (record === null) found.delete(offset)
        else found.set(offset, record)
      }
    }
    return { records: [...found].sort(([a], [b]) => a - b), more: last === undefined ? null : `${last}!` }
  }

  /** Keep what was written until it can be read. Over servers it can at once. */
  #remember(offset: number, record: ChainRecord | null): void {
    if (this.#host.letters !== undefined) return
    const [saving, next] = this.#unread
    next.set(offset, record)
    if (saving.size === 0) this.#whenSaved()
  }

  #whenSaved(): void {
    const [, saving] = this.#unread
    this.#unread = [saving, new Map()]
    const saved = (): void => {
      const [, next] = this.#unread
      this.#unread = [new Map(), next]
      if (next.size > 0) this.#whenSaved()
    }
    this.#host.flushed().then(saved, () => undefined)
  }

  /** The event, if its text is at hand: `fetch` brings it. */
  event(offset: number): DeadRecord | undefined {
    const bytes = this.#host.get(consumerKeys.dead(this.#host.group, this.#host.channelId, offset))
    return bytes === undefined ? undefined : fromJson<DeadRecord>(bytes)
  }

  /** Resolves when the event may be at hand: false where it is gone. */
  async fetch(offset: number): Promise<boolean> {
    if (this.#host.letters !== undefined) return this.#host.letters.fetch(offset)
    await this.#host.flushed()
    return this.event(offset) !== undefined
  }

  /** Give up on an event. */
  add({ consumer, onDead, event, offset, timeMs, attempt }: GivenUp, failure: Failure, nowMs: number): void {
    const key = onDead === 'park' ? event.key : null
    if (onDead === 'block') this.#block(offset)
    this.#write(
      offset,
      { consumer, state: 'dead', timeMs, attempts: attempt, failure, deadAtMs: nowMs, ...plain(event) },
      key,
    )
    this.dead++
    const before = event.key === null ? undefined : this.chains.get(event.key)
    if (before?.offsets.has(offset) === true) this.waiting--
    if (key !== null) this.#insert(key, offset, true)
    else if (before !== undefined) this.#leave(before, offset)
  }

  /** An event joins the chain of its key. */
  join(chain: Chain, consumer: string, event: EncodedEvent, offset: number, timeMs: number): void {
    if (chain.offsets.has(offset)) return
    this.#write(
      offset,
      { consumer, state: 'live', timeMs, attempts: 0, failure: null, deadAtMs: 0, ...plain(event) },
      chain.key,
    )
    this.#insert(chain.key, offset, false)
    this.waiting++
  }

  /** A redriven event of a key makes a chain, or takes its place in the one that there is. */
  enchain(consumer: string, key: string, offset: number): void {
    this.#writeChain(offset, { consumer, state: 'live', key, blocks: this.#blocks(offset) })
    this.#insert(key, offset, false)
    this.waiting++
  }

  #insert(key: string, offset: number, dead: boolean): void {
    const chain = this.#chain(key)
    chain.offsets.add(offset)
    if (chain.offsets.first === offset) chain.dead = dead
  }

  /** The event is of the chain no more; what is behind it may be dead, or go on. */
  #leave(chain: Chain, offset: number): void {
    const wasHead = chain.offsets.first === offset
    chain.offsets.remove(offset)
    const { first } = chain.offsets
    if (first === undefined) this.chains.delete(chain.key)
    else if (wasHead) chain.dead = this.#chainRecord(first)?.state === 'dead'
  }

  /** A redriven event without a chain waits to be delivered. */
  loosen(consumer: string, offset: number): void {
    let offsets = this.loose.get(consumer)
    if (offsets === undefined) {
      offsets = new OffsetQueue()
      this.loose.set(consumer, offsets)
    }
    offsets.add(offset)
  }

  /** Which of these redriven events without a chain is delivered next: while a letter stops everything, only such a letter. */
  nextLoose(offsets: OffsetQueue): number | undefined {
    if (!this.blockade.stands) return offsets.first
    const next = Math.min(...[...this.#blocking].filter((offset) => offsets.has(offset)))
    return Number.isFinite(next) ? next : undefined
  }

  /** A redriven event without a chain is taken out, to be delivered. */
  takeLoose(consumer: string, offset: number): void {
    const offsets = this.loose.get(consumer)
    offsets?.remove(offset)
    if (offsets?.size === 0) this.loose.delete(consumer)
  }

  /** Whether it was redriven and is not settled. */
  isLive(offset: number): boolean {
    return this.#chainRecord(offset)?.state === 'live'
  }

  /** A redriven or waiting event was completed, or is gone. */
  done(offset: number, key: string | null): void {
    this.#delete(offset)
    this.#unblock(offset)
    const chain = key === null ? undefined : this.chains.get(key)
    if (chain?.offsets.has(offset) !== true) return
    this.waiting--
    this.#leave(chain, offset)
  }

  #write(offset: number, record: DeadRecord, key: string | null): void {
    const { group, channelId } = this.#host
    this.#host.write(consumerKeys.dead(group, channelId, offset), toJson(record))
    this.#writeChain(offset, { consumer: record.consumer, state: record.state, key, blocks: this.#blocks(offset) })
  }

  #writeChain(offset: number, record: ChainRecord): void {
    this.#host.write(consumerKeys.chain(this.#host.group, this.#host.channelId, offset), toJson(record))
    this.#remember(offset, record)
  }

  #delete(offset: number): void {
    const { group, channelId } = this.#host
    this.#host.write(consumerKeys.dead(group, channelId, offset), null)
    this.#host.write(consumerKeys.chain(group, channelId, offset), null)
    this.#remember(offset, null)
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
    for (let next: string | null = from; next !== null; ) {
      const { records, more } = this.#chainRecords(next, to, PAGE)
      yield records.flatMap(([offset, record]) =>
        record.state === 'dead' && record.consumer === consumer ? [offset] : [],
      )
      next = more
    }
  }

  async *#records(offsets: readonly number[]): AsyncGenerator<readonly [offset: number, record: DeadRecord]> {
    if (this.#host.letters !== undefined) return yield* this.#host.letters.load(offsets)
    for (const offset of offsets) {
      const record = this.event(offset)
      if (record !== undefined) yield [offset, record]
    }
  }

  async *#matching(
    consumer: string,
    query: DeadLetterQuery,
  ): AsyncGenerator<readonly [offset: number, record: DeadRecord]> {
    let left = query.limit ?? Number.POSITIVE_INFINITY
    if (left <= 0) return
    for (const page of this.#pages(consumer, query)) {
      // Without an id or a key each of them is meant: no more texts are read than are wanted.
      const wanted = query.id === undefined && query.key === undefined ? page.slice(0, left) : page
      for await (const [offset, record] of this.#records(wanted)) {
        if ((query.id !== undefined && query.id !== record.id) || (query.key !== undefined && query.key !== record.key))
          continue
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

  /** The dead letters that a query names, in offset order. */
  async *letters(consumer: string, query: DeadLetterQuery): AsyncGenerator<DeadLetter> {
    for await (const [offset, record] of this.#matching(consumer, query)) {
      const { key, id, type, text, attempts, deadAtMs } = record
      const chain = key === null ? undefined : this.chains.get(key)
      const waiting = chain !== undefined && chain.offsets.first === offset ? chain.offsets.size - 1 : 0
      const failure = record.failure ?? { name: 'Error', message: 'unknown', kind: 'error' }
      yield { consumer, channel: this.#host.channel, offset, key, id, type, text, attempts, failure, deadAtMs, waiting }
    }
  }

  /** Give dead letters back. Answers the keys whose chains go on, and how many letters there were. */
  async redrive(
    consumer: string,
    query: DeadLetterQuery,
  ): Promise<{ readonly count: number; readonly keys: string[] }> {
    return this.#settle(consumer, query, (offset, chain) => {
      this.#writeChain(offset, { consumer, state: 'live', key: chain?.key ?? null, blocks: this.#blocks(offset) })
      if (chain === undefined) return this.loosen(consumer, offset)
      this.waiting++
      if (chain.offsets.first === offset) chain.dead = false
    })
  }

  /** Delete dead letters; what waited behind them goes on. */
  async drop(consumer: string, query: DeadLetterQuery): Promise<{ readonly count: number; readonly keys: string[] }> {
    return this.#settle(consumer, query, (offset, chain) => {
      this.#delete(offset)
      this.#unblock(offset)
      if (chain !== undefined) this.#leave(chain, offset)
    })
  }

  /** One after the other, and each after what was put in before is durable: what is on disk is what there is. */
  #settle(
    consumer: string,
    query: DeadLetterQuery,
    change: Change,
  ): Promise<{ readonly count: number; readonly keys: string[] }> {
    const settling = this.#turn.then(() => this.#host.flushed()).then(() => this.#change(consumer, query, change))
    this.#turn = settling.catch(() => undefined)
    return settling
  }

  async #change(
    consumer: string,
    query: DeadLetterQuery,
    change: Change,
  ): Promise<{ readonly count: number; readonly keys: string[] }> {
    const touched = new Set<string>()
    let count = 0
    for await (const offset of this.offsets(consumer, query)) {
      const record = this.#chainRecord(offset)
      // While its text was looked at, it may have gone.
      if (record?.state !== 'dead') continue
      const chain = record.key === null ? undefined : this.chains.get(record.key)
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
    const { group, channelId } = this.#host
    const [, end] = under(consumerKeys.table('k', group, channelId))
    for (const [offset, record] of this.#chainRecords(
      consumerKeys.chain(group, channelId, fromOffset),
      end,
      Number.POSITIVE_INFINITY,
    ).records) {
      if (record.state === 'dead') this.dead--
      else if (record.key !== null) this.waiting--
      this.#delete(offset)
      this.#unblock(offset)
    }
    for (const chain of this.chains.values()) {
      chain.offsets.cut(fromOffset)
      if (chain.offsets.size === 0) this.chains.delete(chain.key)
    }
    for (const [consumer, offsets] of this.loose) {
      offsets.cut(fromOffset)
      if (offsets.size === 0) this.loose.delete(consumer)
    }
  }
}

/** The event alone: a record holds nothing else of a delivery or a block. */
function plain(event: EncodedEvent): EncodedEvent {
  return { id: event.id, type: event.type, key: event.key, text: event.text }
}

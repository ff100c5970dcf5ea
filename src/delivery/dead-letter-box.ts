/**
 * The dead letters of a consumer in one channel, and the events that wait behind them (clause 6).
 *
 * A **chain** is what of one key is kept here, oldest first. While its head is dead, later events of the key join it instead of being
 * delivered (`park`). When the head is redriven or dropped, the chain is delivered in order, and events that arrive
 * meanwhile join its end; when it is empty, the key is back to normal.
 * With `block`, everything waits while there is a dead letter; with `skip`, nothing does.
 *
 * Texts are on disk only. In memory are the offsets of chains, so their number is bounded: a consumer at the bound takes no more (it stalls, and says why).
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
}

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

  /** Its own among those that stop everything. */
  get blockers(): number[] {
    return [...this.blocking].filter((offset) => this.#host.get(consumerKeys.dead(this.#host.group, this.#host.channelId, offset)) !== undefined)
  }

  event(offset: number): DeadRecord | undefined {
    const bytes = this.#host.get(consumerKeys.dead(this.#host.group, this.#host.channelId, offset))
    return bytes === undefined ? undefined : fromJson<DeadRecord>(bytes)
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
    if (chain.offsets.includes(offset)) return
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
    this.#host.write(
      consumerKeys.chain(group, channelId, offset),
      toJson({ consumer: record.consumer, state: record.state, key, blocks: this.blocking.has(offset) }),
    )
  }

  #delete(offset: number): void {
    const { group, channelId } = this.#host
    this.#host.write(consumerKeys.dead(group, channelId, offset), null)
    this.#host.write(consumerKeys.chain(group, channelId, offset), null)
  }

  /** Dead letters that a query names, oldest first, a page at a time. */
  *#matching(consumer: string, query: DeadLetterQuery): Generator<readonly [offset: number, record: DeadRecord]> {
    if (query.channel !== undefined && query.channel !== this.#host.channel) return
    let left = query.limit ?? Number.POSITIVE_INFINITY
    let [from, to] = under(consumerKeys.table('d', this.#host.group, this.#host.channelId))
    if (query.offset !== undefined) {
      from = consumerKeys.dead(this.#host.group, this.#host.channelId, query.offset)
      to = `${from}!`
    }
    while (left > 0) {
      const page = this.#host.range(from, to, PAGE)
      for (const [key, bytes] of page) {
        from = `${key}!`
        const record = fromJson<DeadRecord>(bytes)
        if (record.state !== 'dead' || record.consumer !== consumer || left <= 0) continue
        if ((query.id !== undefined && query.id !== record.id) || (query.key !== undefined && query.key !== record.key)) continue
        left--
        yield [lastNumber(key), record]
      }
      if (page.length < PAGE) return
    }
  }

  list(consumer: string, query: DeadLetterQuery): DeadLetter[] {
    const letters: DeadLetter[] = []
    for (const [offset, record] of this.#matching(consumer, query)) {
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
    return this.#settle(consumer, query, (offset, record, chain) => {
      this.#write(offset, { ...record, state: 'live', attempts: 0 }, chain?.key ?? null)
      if (chain === undefined) this.loose.push(offset)
      else {
        chain.dead = false
        this.waiting++
      }
    })
  }

  /** Delete dead letters; what waited behind them goes on. */
  async drop(consumer: string, query: DeadLetterQuery): Promise<{ readonly count: number; readonly keys: string[] }> {
    return this.#settle(consumer, query, (offset, _record, chain) => {
      this.#delete(offset)
      this.blocking.delete(offset)
      if (chain === undefined) return
      chain.offsets.shift()
      chain.dead = false
      if (chain.offsets.length === 0) this.chains.delete(chain.key)
    })
  }

  /** One after the other, and each after what was put in before is durable: what is on disk is what there is. */
  #settle(
    consumer: string,
    query: DeadLetterQuery,
    change: (offset: number, record: DeadRecord, chain: Chain | undefined) => void,
  ): Promise<{ readonly count: number; readonly keys: string[] }> {
    const settling = this.#turn.then(() => this.#host.flushed()).then(() => this.#change(consumer, query, change))
    this.#turn = settling.catch(() => undefined)
    return settling
  }

  async #change(
    consumer: string,
    query: DeadLetterQuery,
    change: (offset: number, record: DeadRecord, chain: Chain | undefined) => void,
  ): Promise<{ readonly count: number; readonly keys: string[] }> {
    const touched = new Set<string>()
    let count = 0
    for (const [offset, record] of this.#matching(consumer, query)) {
      const candidate = record.key === null ? undefined : this.chains.get(record.key)
      const chain = candidate?.offsets[0] === offset ? candidate : undefined
      change(offset, record, chain)
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

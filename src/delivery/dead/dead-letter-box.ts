/**
 * The dead letters of a consumer in one log, and the events that wait behind them (clause 6).
 *
 * A **chain** is what is kept of one key, oldest first. While the first event of the chain, its head, is dead, later
 * events of the key join the chain instead of being delivered (`park`). After the head is redriven or dropped, the
 * chain is delivered in order, and events that arrive meanwhile join it in offset order. When the chain is empty,
 * events of the key are delivered from the log again.
 *
 * With `block`, a dead letter holds back every event of the consumer in this channel. With `skip`, it holds back none:
 * when such a letter is redriven and has a key, it makes a chain (`enchain`), so that it is not handled beside others
 * of its key.
 *
 * Texts are on disk or on the servers only. The offsets of chains are in memory, so their number is bounded: at the
 * bound, the consumer takes no more events, is stalled, and says why.
 */
import { LIMITS } from '../../base/limits.ts'
import { OffsetQueue } from '../../base/offset-queue.ts'
import type { DeadLetter, DeadLetterQuery } from '../../broker/description.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { OnDead } from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import type { ChainRecord, DeadRecord } from '../consumer-records.ts'
import { Blockade } from './blockade.ts'
import { type LetterHost, LetterRecords, PAGE } from './letter-records.ts'

/** The kept events of one key. */
export interface Chain {
  readonly key: string
  /** In order; the first is the head. */
  readonly offsets: Pick<OffsetQueue, 'first' | 'has' | 'size'>
  /** The head is a dead letter: no event of the chain is delivered. */
  readonly dead: boolean
}

interface OwnChain extends Chain {
  readonly offsets: OffsetQueue
  dead: boolean
}

/** What the box needs of its cursor. */
export interface BoxHost extends LetterHost {
  readonly blockade?: Blockade
}

/** What happens to each letter that a query names. */
type Change = (offset: number, chain: OwnChain | undefined) => void

export interface Settled {
  /** How many letters were changed. */
  readonly count: number
  /** The keys of the chains that may continue. */
  readonly keys: string[]
}

/** A delivery that is given up. */
export interface GivenUp {
  readonly consumer: string
  readonly onDead: OnDead
  readonly event: EncodedEvent
  /** The key that orders it for the consumer. */
  readonly key: string | null
  readonly offset: number
  readonly timeMs: number
  /** The attempts that it has used. */
  readonly attempt: number
}

export class DeadLetterBox {
  readonly #host: BoxHost
  readonly #records: LetterRecords
  /** What stops everything (`block`). The boxes of a channel with several logs share it. */
  readonly blockade: Blockade
  readonly #chains = new Map<string, OwnChain>()
  readonly #unchained = new Map<string, OffsetQueue>()
  /** The letters of this box that stop everything. */
  readonly #blocking = new Set<number>()
  #dead = 0
  #waiting = 0
  /** The redrive or drop that was called last. */
  #lastChange: Promise<unknown> = Promise.resolve()

  constructor(host: BoxHost) {
    this.#host = host
    this.#records = new LetterRecords(host)
    this.blockade = host.blockade ?? new Blockade()
    for (const [offset, record] of this.#records.states()) this.#restore(offset, record)
  }

  #restore(offset: number, record: ChainRecord): void {
    const dead = record.state === 'dead'
    if (record.key !== null) {
      const chain = this.#chainOf(record.key)
      chain.offsets.add(offset)
      if (chain.offsets.size === 1) chain.dead = dead
    } else if (!dead) this.addUnchained(record.consumer, offset)
    if (record.blocks) this.#block(offset)
    if (dead) this.#dead++
    else if (record.key !== null) this.#waiting++
  }

  #chainOf(key: string): OwnChain {
    let chain = this.#chains.get(key)
    if (chain === undefined) {
      chain = { key, offsets: new OffsetQueue(), dead: false }
      this.#chains.set(key, chain)
    }
    return chain
  }

  get channel(): string {
    return this.#host.channel
  }

  /** By key. */
  get chains(): ReadonlyMap<string, Chain> {
    return this.#chains
  }

  /** By consumer: offsets of redriven events outside chains, to be delivered next. No queue is empty. */
  get unchained(): ReadonlyMap<string, Pick<OffsetQueue, 'first' | 'has'>> {
    return this.#unchained
  }

  /** How many dead letters there are. */
  get dead(): number {
    return this.#dead
  }

  /** How many events of chains wait to be delivered. */
  get waiting(): number {
    return this.#waiting
  }

  /** There is no memory for more chains. */
  get full(): boolean {
    return this.#waiting + this.#chains.size >= LIMITS.outstandingMax
  }

  /** No more events may join now: the memory for chains is used up, or earlier ones are still being written. */
  get closed(): boolean {
    return (this.full && this.#chains.size > 0) || this.crowded
  }

  get crowded(): boolean {
    return this.#records.crowded
  }

  /** Whether the chain waits for a letter that stops everything. A chain that holds such a letter itself does not. */
  stops(chain: Chain): boolean {
    if (!this.blockade.stands) return false
    for (const offset of this.#blocking) if (chain.offsets.has(offset)) return false
    return true
  }

  #block(offset: number): void {
    this.#blocking.add(offset)
    this.blockade.set(this, this.#blocking.size)
  }

  #unblock(offset: number): void {
    if (this.#blocking.delete(offset)) this.blockade.set(this, this.#blocking.size)
  }

  /** The event with its text, if it is in memory. `fetch` brings it there. */
  event(offset: number): DeadRecord | undefined {
    return this.#records.event(offset)
  }

  /** Resolves when `event` may have the event. Resolves to false where the event is gone. */
  fetch(offset: number): Promise<boolean> {
    return this.#records.fetch(offset)
  }

  /** Make an event a dead letter. */
  add({ consumer, onDead, event, key, offset, timeMs, attempt }: GivenUp, failure: Failure, nowMs: number): void {
    const chained = onDead === 'park' ? key : null
    if (onDead === 'block') this.#block(offset)
    this.#write(
      offset,
      { consumer, state: 'dead', timeMs, attempts: attempt, failure, deadAtMs: nowMs, ...plain(event, key) },
      chained,
    )
    this.#dead++
    const before = key === null ? undefined : this.#chains.get(key)
    if (before?.offsets.has(offset) === true) this.#waiting--
    if (chained !== null) this.#insert(chained, offset, true)
    else if (before !== undefined) this.#leave(before, offset)
  }

  /** An event joins the chain of its key. */
  join({ key, offsets }: Chain, consumer: string, event: EncodedEvent, offset: number, timeMs: number): void {
    if (offsets.has(offset)) return
    this.#write(
      offset,
      { consumer, state: 'live', timeMs, attempts: 0, failure: null, deadAtMs: 0, ...plain(event, key) },
      key,
    )
    this.#insert(key, offset, false)
    this.#waiting++
  }

  /** A redriven event joins the chain of its key, which is made if there is none. */
  enchain(consumer: string, key: string, offset: number): void {
    this.#records.writeState(offset, { consumer, state: 'live', key, blocks: this.#blocking.has(offset) })
    this.#insert(key, offset, false)
    this.#waiting++
  }

  /** The head of a chain, which is to be delivered, has another key now: it joins the chain of that key. */
  move({ key }: Chain, offset: number, to: string): void {
    const record = this.#records.state(offset)
    if (record === undefined) return
    this.#records.writeState(offset, { ...record, key: to })
    this.#leave(this.#chainOf(key), offset)
    this.#insert(to, offset, false)
  }

  #insert(key: string, offset: number, dead: boolean): void {
    const chain = this.#chainOf(key)
    chain.offsets.add(offset)
    if (chain.offsets.first === offset) chain.dead = dead
  }

  /** The event leaves the chain. The next head may be a dead letter, or may be delivered. */
  #leave(chain: OwnChain, offset: number): void {
    const wasHead = chain.offsets.first === offset
    chain.offsets.remove(offset)
    const { first } = chain.offsets
    if (first === undefined) this.#chains.delete(chain.key)
    else if (wasHead) chain.dead = this.#records.state(first)?.state === 'dead'
  }

  /** A redriven event outside chains waits to be delivered. */
  addUnchained(consumer: string, offset: number): void {
    let offsets = this.#unchained.get(consumer)
    if (offsets === undefined) {
      offsets = new OffsetQueue()
      this.#unchained.set(consumer, offsets)
    }
    offsets.add(offset)
  }

  /** The next of these offsets to deliver. While letters stop everything, only such a letter is delivered. */
  nextUnchained(offsets: Pick<OffsetQueue, 'first' | 'has'>): number | undefined {
    if (!this.blockade.stands) return offsets.first
    const next = Math.min(...[...this.#blocking].filter((offset) => offsets.has(offset)))
    return Number.isFinite(next) ? next : undefined
  }

  /** Take an event out of the unchained ones, to deliver it. */
  takeUnchained(consumer: string, offset: number): void {
    const offsets = this.#unchained.get(consumer)
    offsets?.remove(offset)
    if (offsets?.size === 0) this.#unchained.delete(consumer)
  }

  /** The state of an event that is kept here. */
  stateOf(offset: number): ChainRecord | undefined {
    return this.#records.state(offset)
  }

  /** Whether the event is kept here and is to be delivered. */
  isLive(offset: number): boolean {
    return this.#records.state(offset)?.state === 'live'
  }

  /** A redriven or waiting event was completed, or its text is gone. */
  done(offset: number, key: string | null): void {
    this.#records.delete(offset)
    this.#unblock(offset)
    const chain = key === null ? undefined : this.#chains.get(key)
    if (chain?.offsets.has(offset) !== true) return
    this.#waiting--
    this.#leave(chain, offset)
  }

  #write(offset: number, record: DeadRecord, key: string | null): void {
    this.#records.write(offset, record, { key, blocks: this.#blocking.has(offset) })
  }

  /** The offsets of the dead letters that a query names, oldest first. Texts are read only for an id or a key. */
  offsets(consumer: string, query: DeadLetterQuery): AsyncGenerator<number> {
    return this.#records.offsets(consumer, query)
  }

  /** The dead letters that a query names, oldest first. */
  async *letters(consumer: string, query: DeadLetterQuery): AsyncGenerator<DeadLetter> {
    for await (const [offset, record] of this.#records.matching(consumer, query)) {
      const { key, id, type, text, attempts, deadAtMs } = record
      const chain = key === null ? undefined : this.#chains.get(key)
      const waiting = chain !== undefined && chain.offsets.first === offset ? chain.offsets.size - 1 : 0
      const failure = record.failure ?? { name: 'Error', message: 'unknown', kind: 'error' }
      yield { consumer, channel: this.#host.channel, offset, key, id, type, text, attempts, failure, deadAtMs, waiting }
    }
  }

  /** Give dead letters back to their consumer. */
  redrive(consumer: string, query: DeadLetterQuery): Promise<Settled> {
    return this.#changeInTurn(consumer, query, (offset, chain) => {
      const blocks = this.#blocking.has(offset)
      this.#records.writeState(offset, { consumer, state: 'live', key: chain?.key ?? null, blocks })
      if (chain === undefined) return this.addUnchained(consumer, offset)
      this.#waiting++
      if (chain.offsets.first === offset) chain.dead = false
    })
  }

  /** Delete dead letters. The events behind them are delivered. */
  drop(consumer: string, query: DeadLetterQuery): Promise<Settled> {
    return this.#changeInTurn(consumer, query, (offset, chain) => {
      this.#records.delete(offset)
      this.#unblock(offset)
      if (chain !== undefined) this.#leave(chain, offset)
    })
  }

  /**
   * One change after the other, each after earlier writes are durable: a query sees everything that was kept before
   * it.
   */
  #changeInTurn(consumer: string, query: DeadLetterQuery, change: Change): Promise<Settled> {
    const changing = this.#lastChange.then(() => this.#host.flushed()).then(() => this.#change(consumer, query, change))
    this.#lastChange = changing.catch(() => undefined)
    return changing
  }

  async #change(consumer: string, query: DeadLetterQuery, change: Change): Promise<Settled> {
    const touched = new Set<string>()
    let count = 0
    for await (const offset of this.offsets(consumer, query)) {
      const record = this.#records.state(offset)
      // The letter may be gone since its text was read.
      if (record?.state !== 'dead') continue
      const chain = record.key === null ? undefined : this.#chains.get(record.key)
      change(offset, chain)
      this.#dead--
      if (chain !== undefined) touched.add(chain.key)
      if (++count % PAGE === 0) await this.#host.flushed()
    }
    await this.#host.flushed()
    return { count, keys: [...touched] }
  }

  /** After a rewind: forget everything at and after an offset, as it is read from the log again. */
  forget(fromOffset: number): void {
    for (const [offset, record] of this.#records.states(fromOffset)) {
      if (record.state === 'dead') this.#dead--
      else if (record.key !== null) this.#waiting--
      this.#records.delete(offset)
      this.#unblock(offset)
    }
    for (const chain of this.#chains.values()) {
      chain.offsets.cut(fromOffset)
      if (chain.offsets.size === 0) this.#chains.delete(chain.key)
    }
    for (const [consumer, offsets] of this.#unchained) {
      offsets.cut(fromOffset)
      if (offsets.size === 0) this.#unchained.delete(consumer)
    }
  }
}

/** The event alone, without what else its object holds of a delivery or a block, and with the consumer's key. */
function plain(event: EncodedEvent, key: string | null): EncodedEvent {
  return { id: event.id, type: event.type, key, text: event.text }
}

/**
 * An instance of a consumer on the embedded engine: its credit, what it holds, its lease.
 */

import type { Clock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import { SlotSet } from '../../base/slot-set.ts'
import { afterThis, nextTick, nextTurn } from '../../base/timers.ts'
import type {
  ClaimOutcome,
  ConsumerSpec,
  Delivery,
  DeliverySink,
  Emission,
  HeldClaim,
  Subscription,
} from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import type { Cursor } from '../cursor/cursor.ts'
import { progressOf, stallOf } from '../cursor/stall.ts'
import { type Shape, shapeOf } from './agreement.ts'
import { claimEvents } from './claims.ts'
import type { ConsumerKeys, KeyTables } from './consumer-keys.ts'
import type { HeldDelivery } from './held-delivery.ts'
import { WantFilter } from './want-filter.ts'

/**
 * Where handlers never wait for anything, the next events are given in the same turn of the event loop: after so many of them everything else has its turn,
 * the commit of what they settled too.
 */
const TURN_MAX = 500

/** What an instance needs of its engine. */
export interface InstanceHost {
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  readonly keys: KeyTables
  /** Check emissions before anything of the delivery is settled. @throws UNKNOWN_CHANNEL */
  checkEmissions(emissions: readonly Emission[]): void
  /** Take effect with what the cursor settles in this turn. */
  emit(emissions: readonly Emission[], cursor: Cursor): void
  /** Resolves when what the instance has settled is durable. */
  flushed(instance: Instance): Promise<void>
  /** It takes no more. Resolves when what it has settled is durable; rejects where that cannot be waited for. */
  closed(instance: Instance): Promise<void>
}

export class Instance implements Subscription {
  readonly spec: ConsumerSpec
  readonly filter: WantFilter
  readonly shape: Shape
  readonly cursors: Set<Cursor> = new Set()
  /** Cursors that have events for this instance and found no credit. */
  readonly hungry: Set<Cursor> = new Set()
  /** Which keys its consumer's instances have in hands. */
  readonly keys: ConsumerKeys
  readonly held: SlotSet<HeldDelivery> = new SlotSet()
  free: number
  paused = false
  /** Its consumer is paused as a whole. */
  suspended = false
  closing = false
  #closed: Promise<void> = Promise.resolve()
  /** Whoever subscribes has not got its subscription yet: nothing is given to it before. */
  starting = true
  /** It lost its lease: nothing is given to it before it is heard of again. */
  lapsed = false
  /** Its worker goes on without this engine: what it holds stays as it is, for the next. */
  abandoned = false
  /** When it was heard of last, by the clock's `elapsed`: a lease is a span. */
  #renewedMs: number
  readonly #sink: DeliverySink
  readonly #host: InstanceHost
  #outbox: HeldDelivery[] = []
  /** Channels in which something was settled since places were given away last. */
  readonly #settled = new Set<Cursor>()
  #feeding = false
  /** So many more are settled before the event loop has its turn. */
  #turn = TURN_MAX

  constructor(spec: ConsumerSpec, sink: DeliverySink, host: InstanceHost) {
    this.spec = spec
    this.filter = new WantFilter(spec.wants)
    this.shape = shapeOf(spec)
    this.free = spec.credit
    this.#sink = sink
    this.#host = host
    this.#renewedMs = host.clock.elapsed()
    this.keys = host.keys.of(spec.name)
    this.keys.join(this)
  }

  get passesOn(): boolean {
    return this.#sink.passesOn === true
  }

  get takes(): boolean {
    return this.free > 0 && this.ready
  }

  get ready(): boolean {
    return !this.idle && !this.closing && !this.lapsed && !this.starting && !this.abandoned
  }

  /** Put a delivery into the hands of this instance; `send` hands them over together. */
  take(delivery: HeldDelivery): void {
    // A place was kept for what it claimed.
    const { claims } = delivery.cursor.takers
    if (claims.size === 0 || !claims.delete(delivery.offset)) this.free--
    this.held.add(delivery)
    this.keys.take(delivery.key, delivery.cursor)
    this.#outbox.push(delivery)
  }

  send(): void {
    if (this.#outbox.length === 0) return
    const deliveries = this.#outbox
    this.#outbox = []
    try {
      this.#sink.deliver(deliveries)
    } catch (error) {
      // They may not have arrived: they are given again.
      for (const delivery of deliveries) if (delivery.live) delivery.cursor.release(delivery)
      throw error
    }
  }

  /** An event was given up that this instance would have been given. */
  buried(delivery: HeldDelivery, failure: Failure): void {
    afterThis(() => this.#sink.buried?.(delivery, failure))
  }

  complete(delivery: Delivery, emissions: readonly Emission[] | null): boolean {
    const held = this.#own(delivery)
    if (held === null) return false
    if (emissions !== null && emissions.length > 0) this.#host.checkEmissions(emissions)
    if (!held.cursor.complete(held)) return false
    if (emissions !== null && emissions.length > 0) this.#host.emit(emissions, held.cursor)
    return true
  }

  retry(delivery: Delivery, delayMs: number, failure: Failure): boolean {
    return this.retryAt(delivery, this.#host.clock.now() + delayMs, failure)
  }

  /** The same at a time, and not after one: those of one time keep their order. */
  retryAt(delivery: Delivery, dueAtMs: number, failure: Failure): boolean {
    const held = this.#own(delivery)
    if (held === null) return false
    held.cursor.retry(held, dueAtMs, failure)
    return true
  }

  deadLetter(delivery: Delivery, failure: Failure): boolean {
    const held = this.#own(delivery)
    if (held === null) return false
    held.cursor.deadLetter(held, failure)
    return true
  }

  release(delivery: Delivery): boolean {
    const held = this.#own(delivery)
    if (held === null) return false
    held.cursor.release(held)
    return true
  }

  /** The delivery, if it is live and in this instance's hands. */
  #own(delivery: Delivery): HeldDelivery | null {
    const held = delivery as HeldDelivery
    return held.instance === this && held.live ? held : null
  }

  /** It is settled: its place is free, for any of this instance's channels. */
  letGo(delivery: HeldDelivery): void {
    delivery.live = false
    this.held.delete(delivery)
    this.keys.give(delivery.key, delivery.cursor)
    this.free++
    this.#settled.add(delivery.cursor)
    delivery.cursor.takers.onLetGo?.()
    this.#turn--
    if (this.#feeding) return
    this.#feeding = true
    if (this.#turn > 0) afterThis(() => this.#feed())
    else nextTurn(() => this.#feedAnew())
  }

  #feedAnew(): void {
    this.#turn = TURN_MAX
    this.#feed()
  }

  /** Give free places away: to the channels that waited longest first, so that a busy one does not keep a quiet one waiting. */
  #feed(): void {
    this.#feeding = false
    const settled = [...this.#settled]
    this.#settled.clear()
    const elapsedMs = this.#host.clock.elapsed()
    for (const cursor of settled) cursor.progress.made(elapsedMs)
    for (const cursor of [...this.hungry]) {
      if (!this.takes) break
      this.hungry.delete(cursor)
      cursor.pump()
    }
    for (const cursor of settled) cursor.pump()
  }

  /** Take deliveries away: what it settles of them from now on is refused. */
  revoke(deliveries: readonly HeldDelivery[]): void {
    for (const delivery of deliveries) {
      delivery.live = false
      this.held.delete(delivery)
      this.keys.give(delivery.key, delivery.cursor)
      this.free++
    }
    this.#outbox = this.#outbox.filter((delivery) => delivery.live)
    if (deliveries.length > 0) this.#sink.revoked(deliveries)
    for (const { takers } of new Set(deliveries.map(({ cursor }) => cursor))) takers.onLetGo?.()
  }

  claim(claims: readonly HeldClaim[]): ClaimOutcome[] {
    return claimEvents(this, claims)
  }

  abandon(): void {
    this.abandoned = true
  }

  renew(): void {
    this.#renewedMs = this.#host.clock.elapsed()
    if (!this.lapsed) return
    this.lapsed = false
    for (const cursor of this.cursors) cursor.pumpSoon()
  }

  /** Whether it was not heard of for its lease. */
  get expired(): boolean {
    return this.#host.clock.elapsed() - this.#renewedMs > Math.max(LIMITS.leaseMsMin, this.spec.leaseMs)
  }

  /** The subscription is being handed over: deliveries come after that. Its lease begins now, because nobody could renew it before. */
  begin(): void {
    nextTick(() => {
      this.starting = false
      this.renew()
      for (const cursor of this.cursors) cursor.pump()
    })
  }

  /** It was told to take nothing for a while: by whoever runs it, or for its consumer as a whole. */
  get idle(): boolean {
    return this.paused || this.suspended
  }

  suspend(suspended: boolean): void {
    if (this.suspended === suspended) return
    this.suspended = suspended
    if (!suspended) for (const cursor of this.cursors) cursor.pumpSoon()
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    for (const cursor of this.cursors) cursor.pumpSoon()
  }

  stalled(): string | null {
    return stallOf([...this.cursors].map(progressOf), [this], this.#host.clock)?.reason ?? null
  }

  flushed(): Promise<void> {
    return this.#host.flushed(this)
  }

  async close(): Promise<void> {
    if (!this.closing) {
      this.closing = true
      for (const delivery of [...this.held]) delivery.cursor.release(delivery)
      for (const cursor of this.cursors) cursor.detach(this)
      this.keys.leave(this)
      this.#host.keys.left(this.spec.name)
      this.#closed = this.#host.closed(this)
    }
    await this.#closed
  }
}

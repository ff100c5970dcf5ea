/** One instance of a consumer: its credit, the deliveries that it holds, its pauses and its lease. */
import type { Clock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import { isStateChannel } from '../../base/names.ts'
import { SlotSet } from '../../base/slot-set.ts'
import { afterThis, nextTick, nextTurn } from '../../base/timers.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type {
  ClaimOutcome,
  ConsumerSpec,
  Delivery,
  DeliverySink,
  Emission,
  EventAttempt,
  HeldClaim,
  Subscription,
} from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import { refuseStateChannel } from '../../channel/state-channel.ts'
import type { TypeVersion } from '../../event/event-version.ts'
import { backlogOf, stallOf } from '../cursor/stall.ts'
import type { Flow } from '../flow/flow.ts'
import type { FlowTables } from '../flow/flow-tables.ts'
import type { Held } from '../flow/limit-table.ts'
import { type Shape, shapeOf } from './agreement.ts'
import { claimEvents } from './claims.ts'
import type { ConsumerKeys, KeyTables } from './consumer-keys.ts'
import type { DeliveringCursor, HeldDelivery, HoldingInstance } from './held-delivery.ts'
import { Tally } from './tally.ts'
import { WantFilter } from './want-filter.ts'

/**
 * When handlers never wait, the next events are delivered in the same turn of the event loop. After this number of
 * settled deliveries the event loop gets its turn, so that timers, sockets and the commit of what was settled are not
 * held up.
 */
const TURN_MAX = 500

/** What an instance needs of its engine. */
export interface InstanceHost {
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  readonly keys: KeyTables
  /** The limits of all consumers; absent where the engine refuses them. */
  readonly flows?: Pick<FlowTables, 'of'>
  /**
   * Check the emissions of a delivery before it is settled.
   * @throws UNKNOWN_CHANNEL · EVENT_TOO_LARGE where a server cannot store an event of this size
   */
  checkEmissions(emissions: readonly Emission[]): void
  /** Publish the emissions in one commit with what the cursor settles in this turn. */
  emit(emissions: readonly Emission[], cursor: DeliveringCursor): void
  /** The states of keys; they are asked for, and emitted to, only where a spec has `state`. */
  readonly states: States
  /** Resolves when everything that the instance has settled is durable. */
  flushed(instance: Instance): Promise<void>
  /**
   * The instance has ended. Resolves when everything that it has settled is durable; rejects where that cannot be
   * known.
   */
  closed(instance: Instance): Promise<void>
}

/**
 * A completion sets the state of its own consumer, and of its event's key, only.
 * @throws FORBIDDEN
 */
function checkStates(emissions: readonly Emission[], own: string | null, key: string | null): void {
  for (const { channel, event, dueAtMs } of emissions)
    if (isStateChannel(channel) && (channel !== own || event.key !== key || dueAtMs !== null))
      refuseStateChannel(channel)
}

/** The state of each key (clause 19), by the channel that holds it. */
export interface States {
  stateOf(channel: string, key: string): EncodedEvent | null | Promise<EncodedEvent | null>
  /** These emissions were made in this turn. Those into the channel set states. */
  emitted(channel: string, emissions: readonly Emission[]): void
}

export class Instance implements Subscription, HoldingInstance {
  readonly spec: ConsumerSpec
  readonly filter: WantFilter
  /** What the instances of its consumer must agree on. */
  readonly shape: Shape
  readonly keys: ConsumerKeys
  /** The limits of its consumer (clause 21); null where it has none. */
  readonly flow: Flow | null
  readonly held: SlotSet<HeldDelivery> = new SlotSet()
  readonly tally: Tally = new Tally()
  readonly #sink: DeliverySink
  readonly #host: InstanceHost
  readonly #cursors = new Set<DeliveringCursor>()
  /** Cursors that have events for this instance and found it without credit, longest wait first. */
  readonly #waitingForCredit = new Set<DeliveringCursor>()
  #credit: number
  #paused = false
  #circuit: string | null = null
  #suspended = false
  #closing = false
  #closed: Promise<void> = Promise.resolve()
  #begun = false
  #lapsed = false
  #abandoned = false
  /** When the lease was renewed last, by the clock's `elapsed`: the wall clock may jump. */
  #renewedMs: number
  /** Deliveries that were taken and not handed to the sink yet. */
  #outbox: HeldDelivery[] = []
  /** The cursors in which something was settled since the last `#feed`. */
  readonly #settledCursors = new Set<DeliveringCursor>()
  #feeding = false
  /** How many more deliveries may be settled before the event loop gets its turn. */
  #turn = TURN_MAX

  constructor(spec: ConsumerSpec, sink: DeliverySink, host: InstanceHost) {
    this.spec = spec
    this.filter = new WantFilter(spec.wants)
    this.shape = shapeOf(spec)
    this.#credit = spec.credit
    this.#sink = sink
    this.#host = host
    this.#renewedMs = host.clock.elapsed()
    this.keys = host.keys.of(spec.name)
    this.flow = host.flows?.of(spec) ?? null
    this.keys.join(this)
  }

  /** The cursors that the instance is attached to. */
  get cursors(): ReadonlySet<DeliveringCursor> {
    return this.#cursors
  }

  get passesOn(): boolean {
    return this.#sink.passesOn
  }

  /** How many more deliveries the instance can hold. */
  get credit(): number {
    return this.#credit
  }

  get hasCredit(): boolean {
    return this.#credit > 0 && this.isReady && (this.flow === null || this.flow.shut === null)
  }

  get isReady(): boolean {
    return !this.idle && !this.#closing && !this.#lapsed && this.#begun && !this.#abandoned
  }

  /** The instance, or its consumer as a whole, is paused. */
  get idle(): boolean {
    return this.#paused || this.#suspended
  }

  /** The limit that holds back events now; null where none does. */
  get limited(): Held | null {
    return this.flow?.holding ?? null
  }

  /** Why its circuit breaker is open; null where it is not. */
  get circuit(): string | null {
    return this.#circuit
  }

  get closing(): boolean {
    return this.#closing
  }

  /** The lease has ended. The instance gets nothing until it renews its lease. */
  get lapsed(): boolean {
    return this.#lapsed
  }

  /** The subscriber has the subscription: deliveries may come. */
  get begun(): boolean {
    return this.#begun
  }

  /** The engine is about to close, and the worker continues under the next engine: its deliveries stay as they are. */
  get abandoned(): boolean {
    return this.#abandoned
  }

  attached(cursor: DeliveringCursor): void {
    this.#cursors.add(cursor)
    this.keys.attended()
  }

  detached(cursor: DeliveringCursor): void {
    this.#cursors.delete(cursor)
    this.#waitingForCredit.delete(cursor)
  }

  waitForCredit(cursor: DeliveringCursor): void {
    this.#waitingForCredit.add(cursor)
    this.flow?.waitUntilOpen(this.tally.id, () => this.#giveCredit())
  }

  reserve(): void {
    this.#credit--
  }

  unreserve(): void {
    this.#credit++
  }

  take(delivery: HeldDelivery, reserved: boolean): void {
    if (!reserved) this.#credit--
    if (this.flow !== null) delivery.permitted(this.flow.begin(delivery, this.tally.id, reserved))
    this.held.add(delivery)
    this.keys.take(delivery.key, delivery.cursor)
    this.#outbox.push(delivery)
  }

  send(): void {
    if (this.#outbox.length === 0) return
    const deliveries = this.#outbox
    this.#outbox = []
    this.tally.sent(deliveries.length)
    const elapsedMs = this.#host.clock.elapsed()
    for (const delivery of deliveries) delivery.sent(elapsedMs)
    try {
      this.#sink.deliver(deliveries)
    } catch (error) {
      // They may not have arrived: they are delivered again.
      for (const delivery of deliveries) if (delivery.live) delivery.cursor.release(delivery)
      throw error
    }
  }

  gaveUp(event: EventAttempt, failure: Failure): void {
    afterThis(() => this.#sink.buried?.(event, failure))
  }

  complete(delivery: Delivery, emissions: readonly Emission[] | null): boolean {
    const held = this.#own(delivery)
    if (held === null) return false
    const { state } = this.spec
    if (emissions !== null && emissions.length > 0) {
      checkStates(emissions, state?.name ?? null, held.key)
      this.#host.checkEmissions(emissions)
    }
    if (!held.cursor.complete(held)) return false
    this.tally.completed(this.#host.clock.now() - held.timeMs, this.#tookMs(held))
    if (emissions !== null && emissions.length > 0) {
      this.#host.emit(emissions, held.cursor)
      if (state !== undefined) this.#host.states.emitted(state.name, emissions)
    }
    return true
  }

  stateOf(delivery: Delivery): EncodedEvent | null | Promise<EncodedEvent | null> {
    const { state } = this.spec
    const { key } = delivery
    return state === undefined || key === null ? null : this.#host.states.stateOf(state.name, key)
  }

  retry(delivery: Delivery, delayMs: number, failure: Failure): boolean {
    return this.retryAt(delivery, this.#host.clock.now() + delayMs, failure)
  }

  /** The same with the time instead of a delay: several deliveries with one time are delivered again in their order. */
  retryAt(delivery: Delivery, dueAtMs: number, failure: Failure): boolean {
    const held = this.#own(delivery)
    if (held === null) return false
    held.cursor.retry(held, dueAtMs, failure)
    this.tally.retried(this.#tookMs(held))
    return true
  }

  deadLetter(delivery: Delivery, failure: Failure): boolean {
    const held = this.#own(delivery)
    if (held === null) return false
    held.cursor.deadLetter(held, failure)
    this.tally.deadLettered(this.#tookMs(held))
    return true
  }

  release(delivery: Delivery): boolean {
    const held = this.#own(delivery)
    if (held === null) return false
    held.cursor.release(held)
    return true
  }

  hold(delivery: Delivery, needs: TypeVersion): boolean {
    const held = this.#own(delivery)
    if (held === null) return false
    held.cursor.hold(held, needs)
    return true
  }

  #tookMs(held: HeldDelivery): number {
    return this.#host.clock.elapsed() - held.sentMs
  }

  /** The delivery, if it is live and this instance holds it. */
  #own(delivery: Delivery): HeldDelivery | null {
    const held = delivery as HeldDelivery
    return held.instance === this && held.live ? held : null
  }

  settled(delivery: HeldDelivery): void {
    this.#drop(delivery)
    this.#settledCursors.add(delivery.cursor)
    this.#turn--
    if (this.#feeding) return
    this.#feeding = true
    if (this.#turn > 0) afterThis(() => this.#feed())
    else nextTurn(() => this.#feedAnew())
  }

  #drop(delivery: HeldDelivery): void {
    delivery.end()
    this.held.delete(delivery)
    this.keys.give(delivery.key, delivery.cursor)
    this.#credit++
    if (delivery.permit !== null) this.flow?.end(delivery.permit)
  }

  #feedAnew(): void {
    this.#turn = TURN_MAX
    this.#feed()
  }

  /**
   * Give credit to cursors: to those that have waited longest first, so that a busy channel does not starve a quiet
   * one.
   */
  #feed(): void {
    this.#feeding = false
    const settled = [...this.#settledCursors]
    this.#settledCursors.clear()
    const elapsedMs = this.#host.clock.elapsed()
    for (const cursor of settled) cursor.progress.settled(elapsedMs)
    this.#giveCredit()
    for (const cursor of settled) cursor.pump()
  }

  #giveCredit(): void {
    for (const cursor of [...this.#waitingForCredit]) {
      if (!this.hasCredit) break
      this.#waitingForCredit.delete(cursor)
      cursor.pump()
    }
    // What waits still, although there is credit for it, waits for a limit.
    if (this.#waitingForCredit.size > 0) this.flow?.waitUntilOpen(this.tally.id, () => this.#giveCredit())
  }

  revoke(deliveries: readonly HeldDelivery[]): void {
    for (const delivery of deliveries) this.#drop(delivery)
    this.#outbox = this.#outbox.filter((delivery) => delivery.live)
    if (deliveries.length > 0) this.#sink.revoked(deliveries)
  }

  claim(claims: readonly HeldClaim[]): ClaimOutcome[] {
    return claimEvents(this, this.#cursors, claims)
  }

  abandon(): boolean {
    this.#abandoned = true
    return true
  }

  renew(): void {
    this.#renewedMs = this.#host.clock.elapsed()
    if (!this.#lapsed) return
    this.#lapsed = false
    for (const cursor of this.#cursors) cursor.pumpSoon()
  }

  /** When the lease was renewed last, by the clock's `elapsed`. */
  get renewedMs(): number {
    return this.#renewedMs
  }

  /** Whether the lease has ended: the instance did not renew it in time. */
  get expired(): boolean {
    return this.#host.clock.elapsed() - this.#renewedMs > Math.max(LIMITS.leaseMsMin, this.spec.leaseMs)
  }

  /** The lease has ended: all deliveries are revoked. Returns them. */
  lapse(): readonly HeldDelivery[] {
    const lost = [...this.held]
    this.#lapsed = true
    this.revoke(lost)
    return lost
  }

  /**
   * The engine returns the subscription now. Deliveries begin after the subscriber has it. The lease begins then too:
   * before it, the subscriber could not renew the lease.
   */
  begin(): void {
    nextTick(() => {
      this.#begun = true
      this.renew()
      for (const cursor of this.#cursors) cursor.pump()
    })
  }

  /** The consumer as a whole is paused, or resumed. */
  suspend(suspended: boolean): void {
    if (this.#suspended === suspended) return
    this.#suspended = suspended
    if (!suspended) for (const cursor of this.#cursors) cursor.pumpSoon()
  }

  pause(why: string | null = null): void {
    this.#paused = true
    this.#circuit = why
  }

  resume(): void {
    this.#paused = false
    this.#circuit = null
    for (const cursor of this.#cursors) cursor.pumpSoon()
  }

  stalled(): string | null {
    return stallOf([...this.#cursors].map(backlogOf), [this], this.#host.clock)?.reason ?? null
  }

  flushed(): Promise<void> {
    return this.#host.flushed(this)
  }

  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true
      for (const delivery of [...this.held]) delivery.cursor.release(delivery)
      for (const cursor of this.#cursors) cursor.detach(this)
      this.keys.leave(this)
      this.#host.keys.left(this.spec.name)
      this.#closed = this.#host.closed(this)
    }
    await this.#closed
  }
}

/**
 * A subscription at the server, from the client's side: deliveries arrive in frames, and settlements are sent together.
 *
 * A settling method returns `true` if the delivery still belongs to this instance as far as this end knows. The server
 * may have given it to another instance meanwhile, and then says so with `revoked`.
 *
 * If the session is lost, deliveries in flight, and settlements not known to be durable, are claimed in the next
 * session (`orphans.ts`).
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { SlotSet } from '../../base/slot-set.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
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
import type { TypeVersion } from '../../event/event-version.ts'
import { errorOfWire } from '../access.ts'
import { EventColumns } from '../event-columns.ts'
import { FRAME, FRAME_HEADER_BYTES, jsonOf, malformed, newFrame } from '../frame.ts'
import { SettleBatch, type SettleDetail, VERB } from '../settle-frame.ts'
import { buriedOf, type SentState } from './answers.ts'
import { Orphans } from './orphans.ts'
import { RemoteDelivery } from './remote-delivery.ts'
import { type Settled, Unconfirmed } from './unconfirmed.ts'

/** What a subscription needs from its engine. */
export interface SubscriptionLink {
  send(frame: Buffer): void
  sendUncounted(frame: Buffer): void
  soon(): void
  /** Send pending publishes, if there are any. */
  flushPublished(): void
  /** Send a request and wait for its answer. */
  ask(type: number, subscription: number): Promise<void>
  /** Ask for the states of the keys of deliveries, by their numbers. */
  states(subscription: number, numbers: readonly number[]): Promise<readonly SentState[]>
  /**
   * Calls `done` when the server has handled everything sent before this call. Frames that the server sends later
   * arrive after it.
   */
  mark(subscription: number, done: () => void): void
  ended(subscription: RemoteSubscription): void
}

/** The reason that a server of an older version keeps: it tries the event again after a while. */
const UNKNOWN_VERSION = { name: 'MillraceError', code: 'UNKNOWN_VERSION', kind: 'error' } as const

/**
 * Deliveries above the credit that are tolerated. A server that respects the credit exceeds it only by deliveries that
 * cross with our settlements, far fewer than this.
 */
const CREDIT_SLACK = 1024

export class RemoteSubscription implements Subscription {
  readonly number: number
  readonly spec: ConsumerSpec
  readonly #sink: DeliverySink
  readonly #link: SubscriptionLink
  readonly #inFlight = new SlotSet<RemoteDelivery>()
  readonly #settled = new SettleBatch()
  /** Settlements not yet known to be durable. */
  readonly #unconfirmed = new Unconfirmed()
  readonly #orphans: Orphans
  /**
   * Keys with an event that was not completed, with that event's offset, when several events of a key may be in flight.
   * Later events of the key that are already on their way are released unhandled, until the server has answered `mark`:
   * then none of them is on its way.
   */
  readonly #behind = new Map<string, { readonly offset: number; readonly mark: number }>()
  #marks = 0
  #renewedMs = Number.NEGATIVE_INFINITY
  #marking = false
  /** Deliveries not yet given to the subscriber. */
  #arrived: RemoteDelivery[] = []
  /** The subscriber has received its subscription object. */
  #begun = false
  #giving = false
  #paused = false
  /** Why the circuit breaker of the instance is open. */
  #circuit: string | null = null
  /** The server has accepted it, so a new session must subscribe again. */
  established = false
  #closing: Promise<void> | null = null
  /** The deliveries whose states are asked for in this turn, and the answer. */
  #statesOf: number[] = []
  #states: Promise<readonly SentState[]> | null = null
  /** A settlement made since the last `flushed` was lost with its session. */
  #lost = false

  constructor(number: number, spec: ConsumerSpec, sink: DeliverySink, link: SubscriptionLink) {
    this.number = number
    this.spec = spec
    this.#sink = sink
    this.#link = link
    this.#orphans = new Orphans({
      takenUp: (delivery) => this.#inFlight.add(delivery),
      repeated: (settled) => this.#record(settled),
      takenAway: (deliveries) => this.#takeAway(deliveries),
      settlementLost: () => {
        this.#lost = true
      },
      resolved: () => (this.#paused ? this.#tellSwitch() : undefined),
    })
  }

  /** The subscriber has its subscription object: deliveries may start. */
  begin(): void {
    this.established = true
    this.#begun = true
    this.#giveSoon()
  }

  /**
   * Give deliveries in the next turn. Publishes made by the callbacks of receipts are sent first, so that the server
   * can work on them while handlers run.
   */
  #giveSoon(): void {
    if (this.#giving || !this.#begun) return
    this.#giving = true
    setImmediate(() => {
      this.#giving = false
      this.#link.flushPublished()
      const arrived = this.#arrived
      this.#arrived = []
      this.#give(arrived.filter((delivery) => delivery.live && (this.#behind.size === 0 || !this.#holdsBack(delivery))))
    })
  }

  take(body: Buffer): void {
    const first = body.readUInt32LE(4)
    const events = new EventColumns(body, 8)
    if (this.#inFlight.size + events.count > 2 * this.spec.credit + CREDIT_SLACK)
      throw malformed('a subscription got more deliveries than its credit')
    const deliveries: RemoteDelivery[] = []
    for (let index = 0; index < events.count; index++) {
      const number = (first + index) >>> 0
      const delivery = new RemoteDelivery(number, events, index, this)
      if (this.#orphans.size > 0 && this.#orphans.takeUp(delivery)) continue
      deliveries.push(delivery)
      this.#inFlight.add(delivery)
    }
    for (const delivery of deliveries)
      if (this.#behind.size === 0 || !this.#holdsBack(delivery)) this.#arrived.push(delivery)
    this.#giveSoon()
  }

  #holdsBack(delivery: RemoteDelivery): boolean {
    const { key, offset } = delivery
    const failed = key === null ? undefined : this.#behind.get(key)
    if (failed === undefined || offset <= failed.offset) return false
    return this.release(delivery)
  }

  #noteBehind({ key, offset }: RemoteDelivery): void {
    if (key === null) return
    const failed = this.#behind.get(key)?.offset ?? offset
    this.#behind.set(key, { offset: Math.min(failed, offset), mark: this.#marks + 1 })
    if (this.#marking) return
    this.#marking = true
    queueMicrotask(() => {
      this.#marking = false
      const mark = ++this.#marks
      this.collect()
      this.#link.mark(this.number, () => {
        for (const [marked, behind] of this.#behind) if (behind.mark <= mark) this.#behind.delete(marked)
      })
    })
  }

  #give(deliveries: readonly RemoteDelivery[]): void {
    if (deliveries.length === 0) return
    // These deliveries were on their way when the subscriber paused. They are released so that other instances can take
    // them.
    if (this.#paused || this.#closing !== null) for (const delivery of deliveries) this.release(delivery)
    else this.#sink.deliver(deliveries)
  }

  revoke(body: Buffer): void {
    const numbers = new Set<number>()
    for (let at = 4; at < body.length; at += 4) numbers.add(body.readUInt32LE(at))
    this.#takeAway([...this.#inFlight].filter(({ number }) => numbers.has(number)))
  }

  buried(body: Buffer): void {
    const { event, failure } = buriedOf(jsonOf(body, 4))
    this.#sink.buried?.(event, failure)
  }

  /** The server refused a completion because of its emissions: the delivery is in flight again. */
  notCompleted(body: Buffer): void {
    const settled = this.#unconfirmed.of(body.readUInt32LE(4))
    const delivery = settled?.delivery
    if (!(delivery instanceof RemoteDelivery)) throw malformed('the server refused a completion that was not sent')
    delivery.number = body.readUInt32LE(8)
    delivery.live = true
    this.#inFlight.add(delivery)
    if (this.#sink.refused === undefined) this.release(delivery)
    else this.#sink.refused(delivery, settled?.emissions ?? [], errorOfWire(jsonOf(body, 12)))
  }

  #takeAway(deliveries: readonly RemoteDelivery[]): void {
    for (const delivery of deliveries) {
      delivery.live = false
      this.#inFlight.delete(delivery)
    }
    if (deliveries.length > 0) this.#sink.revoked(deliveries)
  }

  /** The session is lost. Returns claims for deliveries in flight and for settlements not known to be durable. */
  orphan(): HeldClaim[] {
    // Deliveries that the subscriber has not seen are not claimed.
    for (const delivery of this.#arrived.splice(0)) {
      delivery.live = false
      this.#inFlight.delete(delivery)
    }
    for (const settled of this.#unconfirmed.take()) if (settled.verb !== VERB.release) this.#orphans.addSettled(settled)
    for (const delivery of this.#inFlight) this.#orphans.addRunning(delivery)
    this.#inFlight.clear()
    this.#settled.clear()
    this.#behind.clear()
    return this.#orphans.claims()
  }

  /** The server has answered the claims. */
  claimed(claims: readonly HeldClaim[], outcomes: readonly ClaimOutcome[]): void {
    this.#orphans.claimed(claims, outcomes)
  }

  /** The first `count` settlements of this session are durable. */
  confirmed(count: number): void {
    this.#unconfirmed.confirm(count)
  }

  complete(delivery: Delivery, emissions: readonly Emission[] | null): boolean {
    return this.#settle(delivery, VERB.complete, null, emissions !== null && emissions.length > 0 ? emissions : null)
  }

  retry(delivery: Delivery, delayMs: number, failure: Failure): boolean {
    return this.#settle(delivery, VERB.retry, { delayMs, failure }, null)
  }

  deadLetter(delivery: Delivery, failure: Failure): boolean {
    return this.#settle(delivery, VERB.deadLetter, { failure }, null)
  }

  hold(delivery: Delivery, needs: TypeVersion): boolean {
    const failure = { ...UNKNOWN_VERSION, message: `version ${needs.version} of "${needs.type}" is not known here` }
    return this.#settle(delivery, VERB.retry, { delayMs: LIMITS.versionRetryMs, failure, needs }, null)
  }

  release(delivery: Delivery): boolean {
    return this.#settle(delivery, VERB.release, null, null)
  }

  #settle(
    delivery: Delivery,
    verb: number,
    detail: SettleDetail | null,
    emissions: readonly Emission[] | null,
  ): boolean {
    const mine = delivery as RemoteDelivery
    if (mine.subscription !== this || !mine.live) return false
    mine.live = false
    const settled = { delivery: mine, verb, detail, emissions }
    if (this.#orphans.size > 0 && this.#orphans.settle(settled)) return true
    this.#inFlight.delete(mine)
    this.#record(settled)
    if (verb !== VERB.complete && this.spec.perKey > 1) this.#noteBehind(mine)
    return true
  }

  #record(settled: Settled): void {
    const { delivery, verb, detail, emissions } = settled
    if (this.#settled.size === 0) this.#link.soon()
    this.#settled.add(delivery.number, verb, detail, emissions)
    this.#unconfirmed.add(settled)
  }

  /** Encode the settlements into a frame. */
  collect(): void {
    if (this.#settled.size > 0) this.#link.send(this.#settled.take(this.number))
  }

  /** All states that are asked for in one turn are one request. The server has everything that was settled before. */
  stateOf(delivery: Delivery): Promise<EncodedEvent | null> {
    const { number } = delivery as RemoteDelivery
    this.#states ??= this.#askStates()
    const index = this.#statesOf.push(number) - 1
    return this.#states.then((states) => {
      const [key, state] = states[index] ?? [null, null]
      // In a new session the number is not the delivery's before its claim is answered.
      if (key === null || key !== delivery.key) throw stateUnknown(delivery)
      return state === null ? null : { id: '', key, ...state }
    })
  }

  async #askStates(): Promise<readonly SentState[]> {
    await Promise.resolve()
    const numbers = this.#statesOf
    this.#statesOf = []
    this.#states = null
    this.collect()
    return this.#link.states(this.number, numbers)
  }

  renew(): void {
    this.#renewedMs = performance.now()
    this.#sendRenewal()
  }

  /**
   * The connection is back. A recent renewal may have been lost with the old connection, so it is repeated. No renewal
   * is sent that the instance did not make.
   */
  renewAgain(): void {
    if (performance.now() - this.#renewedMs < this.spec.leaseMs / 2) this.#sendRenewal()
  }

  #sendRenewal(): void {
    const frame = newFrame(FRAME.renew, 4)
    frame.writeUInt32LE(this.number, FRAME_HEADER_BYTES)
    this.#link.sendUncounted(frame)
  }

  pause(why: string | null = null): void {
    this.#switch(true, why)
  }

  resume(): void {
    this.#switch(false, null)
  }

  #switch(paused: boolean, circuit: string | null): void {
    if (this.#paused === paused && this.#circuit === circuit) return
    this.#paused = paused
    this.#circuit = circuit
    this.#tellSwitch()
  }

  #tellSwitch(): void {
    const why = (this.#circuit ?? '').slice(0, LIMITS.reasonCharsMax)
    const frame = newFrame(FRAME.switch, 5 + Buffer.byteLength(why))
    frame.writeUInt32LE(this.number, FRAME_HEADER_BYTES)
    frame[FRAME_HEADER_BYTES + 4] = this.#paused ? 1 : 0
    frame.write(why, FRAME_HEADER_BYTES + 5)
    this.#link.send(frame)
  }

  /** The server knows more, but is not asked: the answer must not take time. */
  stalled(): string | null {
    const { size } = this.#inFlight
    return size === 0 ? null : `${size} handler(s) have been running since then and none has finished`
  }

  /** The server keeps what is in flight: this engine has no next owner. */
  claim(claims: readonly HeldClaim[]): ClaimOutcome[] {
    return claims.map(() => 'lost')
  }

  abandon(): boolean {
    return false
  }

  async flushed(): Promise<void> {
    await this.#orphans.settled()
    this.collect()
    await this.#link.ask(FRAME.flush, this.number)
    // The session may have been lost meanwhile, and the settlements may be on their way again.
    if (this.#orphans.settling) return this.flushed()
    const lost = this.#lost
    this.#lost = false
    if (!lost) return
    throw new MillraceError(
      'LEASE_LOST',
      'the server lost the session: something that was settled and not yet durable is delivered again',
      {
        consumer: this.spec.name,
      },
    )
  }

  get held(): Iterable<Delivery> {
    return this.#orphans.size === 0 ? this.#inFlight : [...this.#inFlight, ...this.#orphans.running()]
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const delivery of [...this.#inFlight]) this.release(delivery)
    this.#orphans.forgetRunning()
    try {
      await this.#orphans.settled()
      this.collect()
      await this.#link.ask(FRAME.unsubscribe, this.number)
    } finally {
      this.#link.ended(this)
    }
  }
}

function stateUnknown({ channel, offset }: Delivery): MillraceError {
  const message = `the server does not know the delivery at offset ${offset} of channel "${channel}" at the moment, whose key's state is needed`
  return new MillraceError('UNAVAILABLE', message, { channel })
}

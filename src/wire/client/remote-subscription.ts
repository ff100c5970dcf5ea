/**
 * A subscription at the server, from the client's side: deliveries come in by frames, settlements go out together.
 *
 * A verb answers `true` when the delivery is this instance's as far as is known here: the server may have given it away meanwhile, and says so by
 * `revoked`. Where a session is lost, what was in hand, and what was settled but not yet durably, is claimed in the next (`orphans.ts`).
 */
import { MillraceError } from '../../base/errors.ts'
import { SlotSet } from '../../base/slot-set.ts'
import type {
  ClaimOutcome,
  ConsumerSpec,
  Delivery,
  DeliverySink,
  Emission,
  Failure,
  HeldClaim,
  Subscription,
} from '../../broker/engine.ts'
import { errorOfWire } from '../access.ts'
import { EventColumns } from '../event-columns.ts'
import { FRAME, FRAME_HEADER_BYTES, jsonOf, malformed, newFrame } from '../frame.ts'
import { SettleBatch, type SettleDetail, VERB } from '../settle-frame.ts'
import { buriedOf } from './answers.ts'
import { Orphans } from './orphans.ts'
import { RemoteDelivery } from './remote-delivery.ts'
import { type Settled, Unconfirmed } from './unconfirmed.ts'

/** What a subscription needs of its engine. */
export interface SubscriptionLink {
  send(frame: Buffer): void
  sendUncounted(frame: Buffer): void
  soon(): void
  /** Send what was published, if anything was. */
  flushPublished(): void
  /** Ask, and wait for the answer. */
  ask(type: number, subscription: number): Promise<void>
  /** `done` is called at the place in the conversation at which the server has everything so far, before what it sends after. */
  mark(subscription: number, done: () => void): void
  ended(subscription: RemoteSubscription): void
}

/** A server that keeps to the credit never comes near: what it has given and this end has settled crosses on the way. */
const CREDIT_SLACK = 1024

export class RemoteSubscription implements Subscription {
  readonly number: number
  readonly spec: ConsumerSpec
  readonly #sink: DeliverySink
  readonly #link: SubscriptionLink
  readonly #inHand = new SlotSet<RemoteDelivery>()
  readonly #settled = new SettleBatch()
  /** Settled, and not known to be durable. */
  readonly #unconfirmed = new Unconfirmed()
  readonly #orphans: Orphans
  /**
   * Keys of which an event was not completed, with that event's offset, where several events of a key may be in hand: those behind it that
   * are under way go back unhandled, until the server has said (`mark`) that none are.
   */
  readonly #behind = new Map<string, { readonly offset: number; readonly mark: number }>()
  #marks = 0
  #renewedMs = Number.NEGATIVE_INFINITY
  #marking = false
  /** Deliveries that the subscriber has not been given. */
  #arrived: RemoteDelivery[] = []
  /** The subscriber has its subscription. */
  #begun = false
  #giving = false
  #paused = false
  /** The server has had it: in a new session it is to be made again. */
  established = false
  #closing: Promise<void> | null = null
  /** Something that was settled since the last `flushed` went down with its session. */
  #lost = false

  constructor(number: number, spec: ConsumerSpec, sink: DeliverySink, link: SubscriptionLink) {
    this.number = number
    this.spec = spec
    this.#sink = sink
    this.#link = link
    this.#orphans = new Orphans({
      takenUp: (delivery) => this.#inHand.add(delivery),
      repeated: (settled) => this.#record(settled),
      takenAway: (deliveries) => this.#takeAway(deliveries),
      settlementLost: () => {
        this.#lost = true
      },
      resolved: () => (this.#paused ? this.#tellSwitch() : undefined),
    })
  }

  /** The subscriber has it: deliveries may come. */
  begin(): void {
    this.established = true
    this.#begun = true
    this.#giveSoon()
  }

  /** Before handlers begin, goes out what was published as receipts came: the server works on it meanwhile. */
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
    if (this.#inHand.size + events.count > 2 * this.spec.credit + CREDIT_SLACK)
      throw malformed('a subscription got more deliveries than its credit')
    const deliveries: RemoteDelivery[] = []
    for (let index = 0; index < events.count; index++) {
      const number = (first + index) >>> 0
      const delivery = new RemoteDelivery(number, events, index, this)
      if (this.#orphans.size > 0 && this.#orphans.takeUp(delivery)) continue
      deliveries.push(delivery)
      this.#inHand.add(delivery)
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
    // They were under way when the subscriber paused: others may have them.
    if (this.#paused || this.#closing !== null) for (const delivery of deliveries) this.release(delivery)
    else this.#sink.deliver(deliveries)
  }

  revoke(body: Buffer): void {
    const numbers = new Set<number>()
    for (let at = 4; at < body.length; at += 4) numbers.add(body.readUInt32LE(at))
    this.#takeAway([...this.#inHand].filter(({ number }) => numbers.has(number)))
  }

  buried(body: Buffer): void {
    const { event, failure } = buriedOf(jsonOf(body, 4))
    this.#sink.buried?.(event, failure)
  }

  /** The server has refused a completion for what it emitted: the delivery is in hand again. */
  notCompleted(body: Buffer): void {
    const settled = this.#unconfirmed.of(body.readUInt32LE(4))
    const delivery = settled?.delivery
    if (!(delivery instanceof RemoteDelivery)) throw malformed('the server refused a completion that was not sent')
    delivery.number = body.readUInt32LE(8)
    delivery.live = true
    this.#inHand.add(delivery)
    if (this.#sink.refused === undefined) this.release(delivery)
    else this.#sink.refused(delivery, settled?.emissions ?? [], errorOfWire(jsonOf(body, 12)))
  }

  #takeAway(deliveries: readonly RemoteDelivery[]): void {
    for (const delivery of deliveries) {
      delivery.live = false
      this.#inHand.delete(delivery)
    }
    if (deliveries.length > 0) this.#sink.revoked(deliveries)
  }

  /** The session is lost: what was in hand, or settled and not yet durable, is to be claimed in the next. */
  orphan(): HeldClaim[] {
    // What the subscriber has not seen is nobody's.
    for (const delivery of this.#arrived.splice(0)) {
      delivery.live = false
      this.#inHand.delete(delivery)
    }
    for (const settled of this.#unconfirmed.take()) if (settled.verb !== VERB.release) this.#orphans.addSettled(settled)
    for (const delivery of this.#inHand) this.#orphans.addRunning(delivery)
    this.#inHand.clear()
    this.#settled.clear()
    this.#behind.clear()
    return this.#orphans.claims()
  }

  /** The server has answered the claims. */
  claimed(claims: readonly HeldClaim[], outcomes: readonly ClaimOutcome[]): void {
    this.#orphans.claimed(claims, outcomes)
  }

  /** So many settlements of this session are durable. */
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
    this.#inHand.delete(mine)
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

  /** Put what was settled into a frame. */
  collect(): void {
    if (this.#settled.size > 0) this.#link.send(this.#settled.take(this.number))
  }

  renew(): void {
    this.#renewedMs = performance.now()
    this.#sendRenewal()
  }

  /** There is a connection again: a renewal may have been lost with the one before. Never one that was not made. */
  renewAgain(): void {
    if (performance.now() - this.#renewedMs < this.spec.leaseMs / 2) this.#sendRenewal()
  }

  #sendRenewal(): void {
    const frame = newFrame(FRAME.renew, 4)
    frame.writeUInt32LE(this.number, FRAME_HEADER_BYTES)
    this.#link.sendUncounted(frame)
  }

  pause(): void {
    this.#switch(true)
  }

  resume(): void {
    this.#switch(false)
  }

  #switch(paused: boolean): void {
    if (this.#paused === paused) return
    this.#paused = paused
    this.#tellSwitch()
  }

  #tellSwitch(): void {
    const frame = newFrame(FRAME.switch, 5)
    frame.writeUInt32LE(this.number, FRAME_HEADER_BYTES)
    frame[FRAME_HEADER_BYTES + 4] = this.#paused ? 1 : 0
    this.#link.send(frame)
  }

  async flushed(): Promise<void> {
    await this.#resettled()
    this.collect()
    await this.#link.ask(FRAME.flush, this.number)
    // The session may have been lost meanwhile, and its settlements be on their way once more.
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

  /** What was settled in a session that is lost is settled in this one. */
  async #resettled(): Promise<void> {
    while (this.#orphans.settling) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  get held(): Iterable<Delivery> {
    return this.#orphans.size === 0 ? this.#inHand : [...this.#inHand, ...this.#orphans.running()]
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const delivery of [...this.#inHand]) this.release(delivery)
    this.#orphans.letGo()
    try {
      await this.#resettled()
      this.collect()
      await this.#link.ask(FRAME.unsubscribe, this.number)
    } finally {
      this.#link.ended(this)
    }
  }
}

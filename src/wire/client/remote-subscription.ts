/**
 * A subscription at the server, from the client's side: deliveries come in by frames, settlements go out together.
 *
 * A verb answers `true` when the delivery is this instance's as far as is known here: the server may have given it away meanwhile, and says so by
 * `revoked`. A session that is lost takes what was in hand with it; the subscription then goes on in the next.
 */
import { MillraceError } from '../../base/errors.ts'
import type { ConsumerSpec, Delivery, DeliverySink, Emission, Failure, Subscription } from '../../broker/engine.ts'
import { EventColumns } from '../event-columns.ts'
import { FRAME, FRAME_HEADER_BYTES, newFrame } from '../frame.ts'
import { SettleBatch, VERB } from '../settle-frame.ts'

/** One event in the hands of this process: a place in a frame. */
class RemoteDelivery implements Delivery {
  readonly number: number
  readonly #events: EventColumns
  readonly #index: number
  readonly subscription: RemoteSubscription
  attachment: unknown = null
  /** Not settled, and not taken away. */
  live = true

  constructor(number: number, events: EventColumns, index: number, subscription: RemoteSubscription) {
    this.number = number
    this.#events = events
    this.#index = index
    this.subscription = subscription
  }

  get channel(): string {
    return this.#events.channel
  }
  get offset(): number {
    return this.#events.offsetAt(this.#index)
  }
  get timeMs(): number {
    return this.#events.timeAt(this.#index)
  }
  get attempt(): number {
    return this.#events.attemptAt(this.#index)
  }
  get redriven(): boolean {
    return this.#events.redrivenAt(this.#index)
  }
  get id(): string {
    return this.#events.block.idAt(this.#index)
  }
  get type(): string {
    return this.#events.block.typeAt(this.#index)
  }
  get key(): string | null {
    return this.#events.block.at(this.#index).key
  }
  get text(): string {
    return this.#events.block.at(this.#index).text
  }
}

/** What a subscription needs of its engine. */
export interface SubscriptionLink {
  send(frame: Buffer): void
  sendUncounted(frame: Buffer): void
  soon(): void
  /** Ask, and wait for the answer. */
  ask(type: number, subscription: number): Promise<void>
  /** `done` is called at the place in the conversation at which the server has everything so far, before what it sends after. */
  mark(subscription: number, done: () => void): void
  ended(subscription: RemoteSubscription): void
}

export class RemoteSubscription implements Subscription {
  readonly number: number
  readonly spec: ConsumerSpec
  readonly #sink: DeliverySink
  readonly #link: SubscriptionLink
  readonly #inHand = new Map<number, RemoteDelivery>()
  readonly #settled = new SettleBatch()
  /**
   * Keys of which an event was not completed, with that event's offset, where several events of a key may be in hand: those behind it that
   * are under way go back unhandled, until the server has said (`mark`) that none are.
   */
  readonly #behind = new Map<string, { readonly offset: number; readonly mark: number }>()
  #marks = 0
  #renewedMs = Number.NEGATIVE_INFINITY
  #marking = false
  /** Deliveries that came before the subscriber had its subscription. */
  #early: RemoteDelivery[] | null = []
  #paused = false
  /** The server has had it: in a new session it is to be made again. */
  established = false
  #closing: Promise<void> | null = null
  /** Something that was settled since the last `flushed` went down with its session. */
  #lost = false
  #unflushed = false

  constructor(number: number, spec: ConsumerSpec, sink: DeliverySink, link: SubscriptionLink) {
    this.number = number
    this.spec = spec
    this.#sink = sink
    this.#link = link
  }

  /** The subscriber has it: deliveries may come. */
  begin(): void {
    this.established = true
    setImmediate(() => {
      const early = this.#early ?? []
      this.#early = null
      this.#give(early.filter(({ live }) => live))
    })
  }

  take(body: Buffer): void {
    const first = body.readUInt32LE(4)
    const events = new EventColumns(body, 8)
    const deliveries: RemoteDelivery[] = new Array(events.count)
    for (let index = 0; index < events.count; index++) {
      const number = (first + index) >>> 0
      const delivery = new RemoteDelivery(number, events, index, this)
      deliveries[index] = delivery
      this.#inHand.set(number, delivery)
    }
    const given = this.#behind.size === 0 ? deliveries : deliveries.filter((delivery) => !this.#holdsBack(delivery))
    if (this.#early !== null) this.#early.push(...given)
    else this.#give(given)
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
    const taken: RemoteDelivery[] = []
    for (let at = 4; at < body.length; at += 4) {
      const delivery = this.#inHand.get(body.readUInt32LE(at))
      if (delivery !== undefined) taken.push(delivery)
    }
    this.#takeAway(taken)
  }

  #takeAway(deliveries: readonly RemoteDelivery[]): void {
    for (const delivery of deliveries) {
      delivery.live = false
      this.#inHand.delete(delivery.number)
    }
    if (deliveries.length > 0) this.#sink.revoked(deliveries)
  }

  /** The session is lost, and with it what was in hand. */
  forget(): void {
    if (this.#settled.size > 0 || this.#unflushed) this.#lost = true
    this.#settled.clear()
    this.#behind.clear()
    this.#takeAway([...this.#inHand.values()])
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
    detail: { readonly delayMs?: number; readonly failure: Failure } | null,
    emissions: readonly Emission[] | null,
  ): boolean {
    const mine = delivery as RemoteDelivery
    if (mine.subscription !== this || !mine.live) return false
    mine.live = false
    this.#inHand.delete(mine.number)
    if (this.#settled.size === 0) this.#link.soon()
    this.#unflushed = true
    this.#settled.add(mine.number, verb, detail, emissions)
    if (verb !== VERB.complete && this.spec.perKey > 1) this.#noteBehind(mine)
    return true
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
    this.tellSwitch()
  }

  /** Say whether it is paused, in a session that does not know. */
  tellSwitch(): void {
    const frame = newFrame(FRAME.switch, 5)
    frame.writeUInt32LE(this.number, FRAME_HEADER_BYTES)
    frame[FRAME_HEADER_BYTES + 4] = this.#paused ? 1 : 0
    this.#link.send(frame)
  }

  get paused(): boolean {
    return this.#paused
  }

  async flushed(): Promise<void> {
    this.collect()
    const before = this.#lost
    this.#unflushed = true
    await this.#link.ask(FRAME.flush, this.number)
    this.#unflushed = this.#settled.size > 0
    const lost = before || this.#lost
    this.#lost = false
    if (lost)
      throw new MillraceError('LEASE_LOST', 'the server lost the session: what was settled and not yet durable is delivered again', {
        consumer: this.spec.name,
      })
  }

  get held(): Iterable<Delivery> {
    return this.#inHand.values()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const delivery of [...this.#inHand.values()]) this.release(delivery)
    this.collect()
    try {
      await this.#link.ask(FRAME.unsubscribe, this.number)
    } finally {
      this.#link.ended(this)
    }
  }
}

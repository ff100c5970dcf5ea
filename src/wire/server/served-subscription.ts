/**
 * A subscription of a session, at the server: deliveries go out as they come, numbered; what the client settles is done here.
 *
 * Invariants: a delivery is in `#inHand` from when the engine gave it until it is settled or revoked; whatever number the client names is looked up
 * there, so that nothing is settled twice or by the wrong one. While the client cannot take more, or is gone, the engine is asked for nothing.
 */
import { isMillraceError } from '../../base/errors.ts'
import { afterMs } from '../../base/timers.ts'
import type {
  ClaimOutcome,
  ConsumerSpec,
  Delivery,
  DeliverySink,
  Emission,
  EventAttempt,
  Failure,
  HeldClaim,
  Subscription,
} from '../../broker/engine.ts'
import { defaultPolicy, settleFailed } from '../../broker/failed-attempt.ts'
import { wireErrorOf } from '../access.ts'
import { eventsFrame, placeOf } from '../event-columns.ts'
import { FRAME, FRAME_HEADER_BYTES, malformed, newFrame, numberedFrame } from '../frame.ts'
import type { Link } from '../link.ts'
import { type SettleDetail, type Settlements, VERB } from '../settle-frame.ts'
import { InHand } from './in-hand.ts'

/** Event text of one frame of deliveries, about. */
const FRAME_CHARS = 524_288
const FRAME_EVENTS_MIN = 16
/** So many deliveries do not wait for the end of the turn. */
const FLUSH_EVENTS = 16
const CONFIRM_MS = 20
/** After a flush that failed, the next one is asked for later. */
const CONFIRM_AGAIN_MS = 1000

/** Frames of settlements that wait until the channels of what they emit are looked at. */
const WAITING_MAX = 1000

export interface SubscriptionHost {
  readonly link: Link
  /** The client settles once more what it completed and the engine refused. */
  readonly again: boolean
  /** Whether emissions into these channels can be checked at once. */
  knows(channels: readonly string[]): boolean
  /** Look at channels. Never rejects. */
  look(channels: readonly string[]): Promise<void>
  /** What was emitted, as it is stored. @throws FORBIDDEN and what is wrong with the event */
  checkedEmissions(emissions: readonly Emission[], keyed: boolean): readonly Emission[]
}

export class ServedSubscription implements DeliverySink {
  readonly passesOn = true
  readonly number: number
  readonly spec: ConsumerSpec
  readonly #host: SubscriptionHost
  #subscription: Subscription | null = null
  readonly #inHand = new InHand()
  #outbox: Delivery[] = []
  #pausedByClient = false
  #held = false
  #paused = false
  /** Settlements of the client so far. */
  #settled = 0
  #confirming: NodeJS.Timeout | null = null
  /** While channels are being looked at for a settlement, those after it wait, so that they stay in order. */
  #behind: Promise<void> | null = null
  #waiting = 0
  #closed = false

  constructor(number: number, spec: ConsumerSpec, host: SubscriptionHost) {
    this.number = number
    this.spec = spec
    this.#host = host
  }

  /** What the client had in hand in a session that is lost. @returns `lost` for all where the engine cannot */
  claim(claims: readonly HeldClaim[]): ClaimOutcome[] {
    return this.#subscription?.claim?.(claims) ?? claims.map(() => 'lost')
  }

  /** The engine has it. */
  begin(subscription: Subscription): void {
    this.#subscription = subscription
    this.#apply()
    if (this.#outbox.length > 0) this.#host.link.soon()
  }

  deliver(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.#outbox.push(delivery)
    if (this.#subscription === null) return
    // Many are worth a turn of their own: the client handles them while this process goes on with its own.
    if (this.#outbox.length >= FLUSH_EVENTS) this.#host.link.flush()
    else this.#host.link.soon()
  }

  revoked(deliveries: readonly Delivery[]): void {
    this.collect()
    const numbers = deliveries.flatMap(({ attachment }) => (typeof attachment === 'number' ? [attachment] : []))
    for (const number of numbers) this.#inHand.take(number)
    const frame = newFrame(FRAME.revoked, 4 + 4 * numbers.length)
    let at = frame.writeUInt32LE(this.number, FRAME_HEADER_BYTES)
    for (const number of numbers) at = frame.writeUInt32LE(number, at)
    this.#host.link.send(frame)
  }

  /** Put what was delivered into frames. */
  collect(): void {
    if (this.#outbox.length === 0 || this.#subscription === null) return
    const deliveries = this.#outbox
    this.#outbox = []
    for (const [channel, group] of byChannel(deliveries)) {
      let from = 0
      let size = 0
      for (let at = 0; at < group.length; at++) {
        const place = placeOf(group[at] as Delivery)
        size += place === null ? (group[at] as Delivery).text.length : place.bytes
        const next = group[at + 1]
        // What comes in blocks and what does not go in frames of their own, unless these would be small.
        const alike =
          next === undefined || at + 1 - from < FRAME_EVENTS_MIN || (placeOf(next) === null) === (place === null)
        if (size < FRAME_CHARS && next !== undefined && alike) continue
        this.#send(channel, group.slice(from, at + 1))
        from = at + 1
        size = 0
      }
    }
  }

  #send(channel: string, deliveries: readonly Delivery[]): void {
    const frame = eventsFrame(FRAME.deliver, 8, channel, deliveries)
    for (const delivery of deliveries) delivery.attachment = this.#inHand.add(delivery)
    frame.writeUInt32LE(this.number, FRAME_HEADER_BYTES)
    frame.writeUInt32LE(deliveries[0]?.attachment as number, FRAME_HEADER_BYTES + 4)
    this.#host.link.send(frame)
  }

  /** @throws INVALID_REQUEST when too many wait */
  settle(settlements: Settlements): void {
    if (this.#behind === null && this.#host.knows(settlements.channels)) return this.#take(settlements)
    if (++this.#waiting > WAITING_MAX) throw malformed(`more than ${WAITING_MAX} settlements wait`)
    const behind = (this.#behind ?? Promise.resolve())
      .then(() => this.#host.look(settlements.channels))
      .then(() => {
        this.#waiting--
        if (this.#behind === behind) this.#behind = null
        this.#take(settlements)
      })
    this.#behind = behind
  }

  #take(settlements: Settlements): void {
    const subscription = this.#subscription
    this.#settled = (this.#settled + settlements.count) >>> 0
    if (subscription === null) return
    this.#confirmSoon()
    for (let place = 0; place < settlements.count; place++) {
      const delivery = this.#inHand.take(settlements.deliveryAt(place))
      // What was revoked while the settlement was under way is no longer the client's.
      if (delivery === undefined) continue
      const [verb, emissions] = [settlements.verbAt(place), settlements.emissionsAt(place)]
      if (verb === VERB.complete) this.#complete(subscription, delivery, emissions, settlements.keyed)
      else this.#settle(subscription, delivery, verb, settlements.detailAt(place))
    }
  }

  #settle(subscription: Subscription, delivery: Delivery, verb: number, detail: SettleDetail | null): void {
    if (verb === VERB.retry && detail !== null) subscription.retry(delivery, detail.delayMs ?? 0, detail.failure)
    else if (verb === VERB.deadLetter && detail !== null) subscription.deadLetter(delivery, detail.failure)
    else subscription.release(delivery)
  }

  #complete(
    subscription: Subscription,
    delivery: Delivery,
    emissions: readonly Emission[] | null,
    keyed: boolean,
  ): void {
    try {
      subscription.complete(delivery, emissions === null ? null : this.#host.checkedEmissions(emissions, keyed))
    } catch (error) {
      if (isMillraceError(error, 'UNAUTHENTICATED')) return void subscription.release(delivery)
      if (this.#host.again) return this.#giveBack(delivery, error)
      // The client's policy is out of reach, and the attempt did fail: what it emitted cannot be stored.
      settleFailed(subscription, delivery, failureOf(error), defaultPolicy(this.spec.attemptsMax), {
        random: Math.random,
      })
    }
  }

  /** The attempt has failed by what it emitted: what follows is decided by the client, as for any other failure. */
  #giveBack(delivery: Delivery, error: unknown): void {
    const before = delivery.attachment as number
    const number = this.#inHand.add(delivery)
    delivery.attachment = number
    const text = JSON.stringify(wireErrorOf(error))
    const frame = newFrame(FRAME.notCompleted, 12 + Buffer.byteLength(text))
    let at = FRAME_HEADER_BYTES
    for (const value of [this.number, before, number]) at = frame.writeUInt32LE(value, at)
    frame.write(text, at)
    this.#host.link.send(frame)
  }

  buried({ channel, offset, key, id, type, attempt }: EventAttempt, failure: Failure): void {
    this.#host.link.send(
      numberedFrame(FRAME.buried, this.number, { event: { channel, offset, key, id, type, attempt }, failure }),
    )
  }

  /** The client keeps what it settled until it is durable: it is told now and then how far that is. */
  #confirmSoon(delayMs: number = CONFIRM_MS): void {
    if (this.#closed) return
    this.#confirming ??= setTimeout(() => {
      const settled = this.#settled
      this.flushed().then(
        () => this.#confirm(settled),
        () => {
          // What was lost is delivered again. What is settled after it is durable with a later flush.
          this.#confirming = null
          this.#confirmSoon(CONFIRM_AGAIN_MS)
        },
      )
    }, delayMs).unref()
  }

  #confirm(settled: number): void {
    this.#confirming = null
    if (this.#settled !== settled) this.#confirmSoon()
    const frame = newFrame(FRAME.settled, 8)
    frame.writeUInt32LE(this.number, FRAME_HEADER_BYTES)
    frame.writeUInt32LE(settled, FRAME_HEADER_BYTES + 4)
    this.#host.link.send(frame)
  }

  renew(): void {
    this.#subscription?.renew()
  }

  /** By the client's own wish. */
  switch(paused: boolean): void {
    this.#pausedByClient = paused
    this.#apply()
  }

  /** Because the client cannot take more now. */
  hold(held: boolean): void {
    this.#held = held
    this.#apply()
  }

  #apply(): void {
    const paused = this.#pausedByClient || this.#held
    if (paused === this.#paused || this.#subscription === null) return
    this.#paused = paused
    if (paused) this.#subscription.pause()
    else this.#subscription.resume()
  }

  /** All that was settled before is durable. */
  async flushed(): Promise<void> {
    await this.#behind
    await this.#subscription?.flushed()
  }

  /** All that was settled before is taken, and all deliveries are sent. */
  async marked(): Promise<void> {
    if (this.#behind !== null) await this.#behind
    this.collect()
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#confirming !== null) clearTimeout(this.#confirming)
    await this.#behind
    await this.#subscription?.close()
  }

  /** The server closes, and the client goes on under another: what it has in hand stays as it is, unless nobody claims it. */
  leave(): void {
    const subscription = this.#subscription
    if (subscription?.abandon === undefined) void this.close().catch(() => undefined)
    else {
      subscription.abandon()
      afterMs(1.5 * this.spec.leaseMs, () => void this.close().catch(() => undefined))
    }
  }
}

function byChannel(deliveries: readonly Delivery[]): ReadonlyMap<string, readonly Delivery[]> {
  const groups = new Map<string, Delivery[]>()
  let name: string | null = null
  let group: Delivery[] = []
  for (const delivery of deliveries) {
    if (delivery.channel !== name) {
      name = delivery.channel
      group = groups.get(name) ?? []
      groups.set(name, group)
    }
    group.push(delivery)
  }
  return groups
}

function failureOf(error: unknown): Failure {
  const { name, message, code } = error as Error & { readonly code?: unknown }
  return { name, message, kind: 'error', ...(typeof code === 'string' && { code }) }
}

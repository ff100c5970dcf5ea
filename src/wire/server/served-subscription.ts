/**
 * A subscription of a session, at the server. It numbers deliveries and sends them, and applies what the client
 * settles.
 *
 * Invariants:
 * - A delivery is in `#inFlight` from when the engine gave it until it is settled or revoked. A number from the
 *   client is looked up there, so nothing is settled twice or by the wrong client.
 * - While the client cannot take more, or has no connection, the engine is asked for nothing.
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
  HeldClaim,
  Subscription,
} from '../../broker/engine.ts'
import { defaultPolicy, settleFailed } from '../../broker/failed-attempt.ts'
import type { Failure } from '../../broker/failure.ts'
import { wireErrorOf } from '../access.ts'
import { blockEventOf, eventsFrame } from '../event-columns.ts'
import { FRAME, FRAME_HEADER_BYTES, malformed, newFrame, numberedFrame } from '../frame.ts'
import type { Link } from '../link.ts'
import { type SettleDetail, type Settlements, VERB } from '../settle-frame.ts'
import { GivenBack } from './given-back.ts'
import { InFlightDeliveries } from './in-flight-deliveries.ts'

/** Approximate characters of event text in one frame of deliveries. */
const FRAME_CHARS = 524_288
const FRAME_EVENTS_MIN = 16
/** With this many deliveries, the frame is sent at once and not at the end of the turn. */
const FLUSH_EVENTS = 16
const CONFIRM_MS = 20
/** The delay before the next flush after one that failed. */
const CONFIRM_AGAIN_MS = 1000

/**
 * The number of settlement frames that may wait: for the declarations of the channels into which they emit, or behind a
 * frame that waits.
 */
const WAITING_MAX = 1000

export interface SubscriptionHost {
  readonly link: Link
  /** The client supports `notCompleted`: if a completion is refused, the client settles the delivery again. */
  readonly again: boolean
  /** Whether emissions into these channels can be checked now. */
  knows(channels: readonly string[]): boolean
  /** Read the declarations of channels. Never rejects. */
  look(channels: readonly string[]): Promise<void>
  /** The emissions as they must be stored. @throws FORBIDDEN and the error of an invalid event */
  checkedEmissions(emissions: readonly Emission[], keyed: boolean): readonly Emission[]
}

export class ServedSubscription implements DeliverySink {
  readonly passesOn = true
  readonly number: number
  readonly spec: ConsumerSpec
  readonly #host: SubscriptionHost
  #subscription!: Subscription
  readonly #inFlight = new InFlightDeliveries()
  readonly #givenBack = new GivenBack()
  #outbox: Delivery[] = []
  #pausedByClient = false
  #why: string | null = null
  #held = false
  #paused = false
  /** How many settlements the client has sent. */
  #settled = 0
  #confirming: NodeJS.Timeout | null = null
  /** While declarations are read for a settlement, later settlements wait for it, so that the order is kept. */
  #behind: Promise<void> | null = null
  #waiting = 0
  #closed = false

  constructor(number: number, spec: ConsumerSpec, host: SubscriptionHost) {
    this.number = number
    this.spec = spec
    this.#host = host
  }

  /** Claim the deliveries that the client had in flight in its lost session. */
  claim(claims: readonly HeldClaim[]): ClaimOutcome[] {
    return this.#subscription.claim(claims)
  }

  /** The engine has accepted the subscription. */
  begin(subscription: Subscription): void {
    this.#subscription = subscription
    this.#apply()
  }

  deliver(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.#outbox.push(delivery)
    this.#givenBack.given(deliveries)
    // Many deliveries are sent at once, so that the client starts on them while this process continues.
    if (this.#outbox.length >= FLUSH_EVENTS) this.#host.link.flush()
    else this.#host.link.soon()
  }

  revoked(deliveries: readonly Delivery[]): void {
    this.collect()
    const numbers = deliveries.flatMap(({ attachment }) => (typeof attachment === 'number' ? [attachment] : []))
    for (const number of numbers) this.#inFlight.take(number)
    if (!this.#givenBack.isEmpty) for (const delivery of deliveries) this.#givenBack.take(delivery)
    const frame = newFrame(FRAME.revoked, 4 + 4 * numbers.length)
    let at = frame.writeUInt32LE(this.number, FRAME_HEADER_BYTES)
    for (const number of numbers) at = frame.writeUInt32LE(number, at)
    this.#host.link.send(frame)
  }

  /** Encode pending deliveries into frames. */
  collect(): void {
    if (this.#outbox.length === 0) return
    const deliveries = this.#outbox
    this.#outbox = []
    for (const [channel, group] of byChannel(deliveries)) {
      let from = 0
      let size = 0
      for (let at = 0; at < group.length; at++) {
        const inBlock = blockEventOf(group[at] as Delivery)
        size += inBlock === null ? (group[at] as Delivery).text.length : inBlock.bytes
        const next = group[at + 1]
        // Events that are in blocks, and events that are not, go in separate frames. A frame with fewer than
        // FRAME_EVENTS_MIN events takes both kinds.
        const alike =
          next === undefined || at + 1 - from < FRAME_EVENTS_MIN || (blockEventOf(next) === null) === (inBlock === null)
        if (size < FRAME_CHARS && next !== undefined && alike) continue
        this.#send(channel, group.slice(from, at + 1))
        from = at + 1
        size = 0
      }
    }
  }

  #send(channel: string, deliveries: readonly Delivery[]): void {
    const frame = eventsFrame(FRAME.deliver, 8, channel, deliveries)
    for (const delivery of deliveries) delivery.attachment = this.#inFlight.add(delivery)
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
    this.#confirmSoon()
    for (let index = 0; index < settlements.count; index++) {
      const delivery = this.#inFlight.take(settlements.deliveryAt(index))
      // The delivery was revoked while the settlement was on its way, so it is no longer the client's.
      if (delivery === undefined) continue
      const [verb, emissions] = [settlements.verbAt(index), settlements.emissionsAt(index)]
      const isBehind = !this.#givenBack.isEmpty && this.#givenBack.take(delivery)
      if (isBehind && verb === VERB.complete) subscription.release(delivery)
      else if (verb === VERB.complete) this.#complete(subscription, delivery, emissions, settlements.keyed)
      else this.#settle(subscription, delivery, verb, settlements.detailAt(index))
    }
  }

  #settle(subscription: Subscription, delivery: Delivery, verb: number, detail: SettleDetail | null): void {
    if (verb === VERB.retry && detail?.needs !== undefined) subscription.hold(delivery, detail.needs)
    else if (verb === VERB.retry && detail !== null) subscription.retry(delivery, detail.delayMs ?? 0, detail.failure)
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
      // An older client cannot settle again, and the emissions cannot be stored. The attempt has failed, and the
      // default policy decides here because the client's policy is not known.
      settleFailed(subscription, delivery, failureOf(error), defaultPolicy(this.spec.attemptsMax), {
        random: Math.random,
      })
    }
  }

  /** The attempt failed because of its emissions. The client decides what follows, as for any other failure. */
  #giveBack(delivery: Delivery, error: unknown): void {
    const before = delivery.attachment as number
    const number = this.#inFlight.add(delivery)
    delivery.attachment = number
    if (this.spec.perKey > 1) this.#givenBack.add(delivery, this.#subscription.held)
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

  /** Tell the client after a short delay how many of its settlements are durable, so that it can forget them. */
  #confirmSoon(delayMs: number = CONFIRM_MS): void {
    if (this.#closed) return
    this.#confirming ??= setTimeout(() => {
      const settled = this.#settled
      this.flushed().then(
        () => this.#confirm(settled),
        () => {
          // Settlements that were lost lead to redelivery. Later settlements become durable with a later flush.
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
    this.#subscription.renew()
  }

  /**
   * The states of the keys of these deliveries, with the keys, after everything that the client settled before. Null
   * for a number that is not in flight: the delivery was revoked meanwhile, or is of a lost session.
   */
  async states(numbers: readonly number[]): Promise<readonly (readonly [key: string, state: object | null] | null)[]> {
    if (this.#behind !== null) await this.#behind
    return Promise.all(
      numbers.map(async (number) => {
        const delivery = this.#inFlight.get(number)
        if (delivery === undefined || delivery.key === null) return null
        const state = await this.#subscription.stateOf(delivery)
        return [delivery.key, state === null ? null : { type: state.type, text: state.text }] as const
      }),
    )
  }

  /** The client pauses or resumes. `why`: its circuit breaker is open. */
  switch(paused: boolean, why: string | null): void {
    this.#pausedByClient = paused
    const isKnown = this.#why === why
    this.#why = why
    if (paused && this.#paused && !isKnown) this.#subscription.pause(why ?? undefined)
    this.#apply()
  }

  /** The server pauses the subscription while the client cannot take more. */
  hold(held: boolean): void {
    this.#held = held
    this.#apply()
  }

  #apply(): void {
    const paused = this.#pausedByClient || this.#held
    if (paused === this.#paused) return
    this.#paused = paused
    if (paused) this.#subscription.pause(this.#why ?? undefined)
    else this.#subscription.resume()
  }

  /** Wait until everything settled so far is durable. */
  async flushed(): Promise<void> {
    await this.#behind
    await this.#subscription.flushed()
  }

  /** Wait until everything settled so far is processed and all deliveries are sent. */
  async marked(): Promise<void> {
    if (this.#behind !== null) await this.#behind
    this.collect()
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#confirming !== null) clearTimeout(this.#confirming)
    await this.#behind
    await this.#subscription.close()
  }

  /**
   * The server closes, and the client continues at another server. Deliveries in flight stay claimable for 1.5 leases,
   * then they are released.
   */
  leave(): void {
    const close = (): void => void this.close().catch(() => undefined)
    if (this.#subscription.abandon()) afterMs(1.5 * this.spec.leaseMs, close)
    else close()
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

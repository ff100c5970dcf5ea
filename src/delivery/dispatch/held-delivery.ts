/**
 * One delivery: an event that an instance holds and has not settled. The file also says what the two sides of a
 * delivery need of each other: the cursor that delivers it, and the instance that holds it.
 */
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { ClaimOutcome, ConsumerSpec, Delivery, EventAttempt, OnDead } from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { decodeAlike } from '../../event/decode-alike.ts'
import { EventInBlock } from '../../event/event-in-block.ts'
import type { TypeVersion } from '../../event/event-version.ts'
import type { Progress } from '../cursor/progress.ts'
import type { WatchedCursor } from '../cursor/stall.ts'
import type { DeliveryLog } from '../delivery-log.ts'
import type { Flow, Permit } from '../flow/flow.ts'
import type { ConsumerKeys, KeyCursor } from './consumer-keys.ts'
import type { Lane } from './lane.ts'
import type { WantFilter } from './want-filter.ts'

/** A cursor, as the instances that it is attached to see it. */
export interface DeliveringCursor extends KeyCursor, WatchedCursor {
  readonly log: DeliveryLog
  readonly progress: Progress
  /** Deliver what can be delivered, now. */
  pump(): void
  /** The same at the end of the current task. */
  pumpSoon(): void
  /** Returns false where the delivery is released instead, because an earlier event of its key waits. */
  complete(delivery: HeldDelivery): boolean
  retry(delivery: HeldDelivery, dueAtMs: number, failure: Failure): void
  deadLetter(delivery: HeldDelivery, failure: Failure): void
  release(delivery: HeldDelivery): void
  /** The instance does not know the version of the event. */
  hold(delivery: HeldDelivery, needs: TypeVersion): void
  /** The lease of these deliveries has ended. `alone`: the instance held nothing else, in any channel. */
  expire(deliveries: readonly HeldDelivery[], alone: boolean): void
  /** Offsets that are delivered, or reserved for an instance. */
  offsetsInFlight(): ReadonlySet<number>
  /** Reserve an event for the instance that held it under the engine before (clause 11). */
  claim(offset: number, attempt: number, instance: HoldingInstance): ClaimOutcome
  detach(instance: HoldingInstance): void
}

/** An instance, as the cursors that deliver to it see it. */
export interface HoldingInstance {
  readonly spec: ConsumerSpec
  readonly filter: WantFilter
  /** The keys that the instances of its consumer hold. */
  readonly keys: ConsumerKeys
  /** The limits of its consumer; null where it has none. */
  readonly flow: Flow | null
  readonly held: Iterable<HeldDelivery>
  /** Its handlers run in another process: it is sent its deliveries before the others. */
  readonly passesOn: boolean
  readonly closing: boolean
  /** It takes deliveries, as far as it has credit. */
  readonly isReady: boolean
  /** It is ready and has credit. */
  readonly hasCredit: boolean
  attached(cursor: DeliveringCursor): void
  detached(cursor: DeliveringCursor): void
  /** Pump the cursor when the instance has credit again. */
  waitForCredit(cursor: DeliveringCursor): void
  /** Keep one credit for an event that the instance has claimed. */
  reserve(): void
  unreserve(): void
  /** Hold a delivery, with the reserved credit if there is one. `send` hands over all that were taken since. */
  take(delivery: HeldDelivery, reserved: boolean): void
  send(): void
  /** The cursor has settled the delivery: its credit is free. */
  settled(delivery: HeldDelivery): void
  /** Take deliveries away. What the instance says of them afterwards is refused. */
  revoke(deliveries: readonly HeldDelivery[]): void
  /** The cursor made an event a dead letter instead of delivering it to this instance. */
  gaveUp(event: EventAttempt, failure: Failure): void
}

export class HeldDelivery implements Delivery {
  readonly cursor: DeliveringCursor
  readonly instance: HoldingInstance
  readonly lane: Lane<HoldingInstance> | null
  readonly offset: number
  readonly timeMs: number
  readonly attempt: number
  readonly redriven: boolean
  /** The key of its lane. A lane may serve another key after its delivery has ended. */
  readonly key: string | null
  /** Its slot in the set of deliveries that its instance holds. */
  slot = -1
  attachment: unknown = null
  #event: EncodedEvent
  #live = true
  #sentMs = 0
  #recorded = false
  #permit: Permit | null = null

  constructor(
    cursor: DeliveringCursor,
    instance: HoldingInstance,
    lane: Lane<HoldingInstance> | null,
    event: EncodedEvent,
    offset: number,
    timeMs: number,
    attempt: number,
    redriven: boolean,
  ) {
    this.cursor = cursor
    this.instance = instance
    this.lane = lane
    this.#event = event
    this.offset = offset
    this.timeMs = timeMs
    this.attempt = attempt
    this.redriven = redriven
    this.key = lane === null ? null : lane.key
  }

  get event(): EncodedEvent {
    return this.#event
  }

  /** The instance holds the delivery and can settle it. */
  get live(): boolean {
    return this.#live
  }

  end(): void {
    this.#live = false
  }

  /** What it uses of the limits of its consumer; null where there are none. */
  get permit(): Permit | null {
    return this.#permit
  }

  permitted(permit: Permit): void {
    this.#permit = permit
  }

  /** It is given to its instance now, by the clock's `elapsed`. */
  sent(elapsedMs: number): void {
    this.#sentMs = elapsedMs
  }

  get sentMs(): number {
    return this.#sentMs
  }

  /**
   * The delivery is written to the record of deliveries in flight. One that is written twice may be held for long: it
   * gets a copy of its event, so that it does not keep a whole block in memory.
   */
  recorded(): void {
    if (this.#recorded && this.#event instanceof EventInBlock) this.#event = this.#event.own()
    this.#recorded = true
  }

  get consumer(): string {
    return this.instance.spec.name
  }

  /** What later events do if this one becomes a dead letter. */
  get onDead(): OnDead {
    return this.instance.spec.onDead ?? (this.key === null ? 'skip' : 'park')
  }

  get channel(): string {
    return this.cursor.log.name
  }
  get id(): string {
    return this.#event.id
  }
  get type(): string {
    return this.#event.type
  }
  get text(): string {
    return this.#event.text
  }

  decode(offset: number): StoredEvent {
    return this.#event.decode?.(offset) ?? decodeAlike(this.#event.text, offset)
  }
}

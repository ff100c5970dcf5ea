/**
 * The instances attached to a cursor, and which of them gets the next event.
 *
 * A cursor can be restricted to claims: then it delivers only events that an instance has claimed (`claims.ts`).
 */
import type { DeadRecord } from '../consumer-records.ts'
import type { Restrictable } from '../cursor/suspect-queue.ts'
import type { EventBlock } from '../delivery-log.ts'
import { Claims } from './claims.ts'
import type { DeliveringCursor, HeldDelivery, HoldingInstance } from './held-delivery.ts'
import type { Lane } from './lane.ts'

/** Events that one instance gets in a row before it is another's turn, at most. */
const TURN_MAX = 64

/**
 * No instance with credit matches the event · no attached instance matches it · those that match do not know its
 * version.
 */
export type NoInstance = 'busy' | 'unmatched' | 'unknown'

export class AttachedInstances implements Restrictable {
  readonly claims: Claims = new Claims()
  readonly #cursor: DeliveringCursor
  readonly #list: HoldingInstance[] = []
  /** Detached instances that may still hold deliveries. */
  readonly #leaving = new Set<HoldingInstance>()
  /** The index of the instance whose turn it is. */
  #turn = 0
  /** How many more events that instance gets in this turn. */
  #more = 0
  #restricted = false
  #full: readonly HoldingInstance[] | null = null

  constructor(cursor: DeliveringCursor) {
    this.#cursor = cursor
  }

  get size(): number {
    return this.#list.length
  }

  [Symbol.iterator](): IterableIterator<HoldingInstance> {
    return this.#list[Symbol.iterator]()
  }

  get first(): HoldingInstance | undefined {
    return this.#list[0]
  }

  has(instance: HoldingInstance): boolean {
    return this.#list.includes(instance)
  }

  add(instance: HoldingInstance): void {
    this.#list.push(instance)
    instance.attached(this.#cursor)
  }

  /** Give the instance nothing more. It keeps its deliveries until they are settled. */
  remove(instance: HoldingInstance): void {
    const index = this.#list.indexOf(instance)
    if (index >= 0) this.#list.splice(index, 1)
    if (this.#heldBy(instance).length > 0) this.#leaving.add(instance)
    instance.detached(this.#cursor)
  }

  #heldBy(instance: HoldingInstance): HeldDelivery[] {
    return [...instance.held].filter(({ cursor }) => cursor === this.#cursor)
  }

  /** The deliveries of the cursor by instance, those of detached instances included. */
  deliveries(): (readonly [HoldingInstance, readonly HeldDelivery[]])[] {
    return [...new Set([...this.#list, ...this.#leaving])].map(
      (instance) => [instance, this.#heldBy(instance)] as const,
    )
  }

  /** The delivery of an offset, if an instance holds it. */
  deliveryOf(offset: number): HeldDelivery | null {
    for (const [, held] of this.deliveries())
      for (const delivery of held) if (delivery.offset === offset) return delivery
    return null
  }

  /** The record of deliveries in flight: how many the instances can hold, and the offsets of those that they hold. */
  recordInFlight(): { credit: number; offsets: number[] } {
    let credit = 0
    const offsets: number[] = [...this.claims.offsets]
    for (const instance of this.#list) if (!instance.closing) credit += instance.spec.credit
    for (const [, held] of this.deliveries()) {
      for (const delivery of held) {
        offsets.push(delivery.offset)
        delivery.recorded()
      }
    }
    return { credit, offsets }
  }

  restrictToClaims(): void {
    this.#restricted = true
  }

  endRestriction(): void {
    this.#restricted = false
    this.#cursor.pumpSoon()
  }

  /**
   * Hand over what was taken: first to instances that pass it on, so that other processes begin before handlers run
   * here.
   */
  send(): void {
    for (const instance of this.#list) if (instance.passesOn) instance.send()
    for (const instance of this.#list) instance.send()
  }

  /** Whether an instance has credit. If none has, the cursor is pumped when one has. */
  anyCredit(): boolean {
    if (this.claims.anyReady) return true
    if (this.#restricted) return false
    for (const instance of this.#list) if (instance.hasCredit) return true
    for (const instance of this.#list) instance.waitForCredit(this.#cursor)
    return false
  }

  /**
   * After `pick` answered `busy`: the matching instances without credit, or null where the event waits for something
   * else.
   */
  get full(): readonly HoldingInstance[] | null {
    return this.#full
  }

  /**
   * The instance that gets an event. `holder` holds deliveries of the event's key, so no other instance may have the
   * event now: it is asked first.
   */
  pick(block: EventBlock, index: number, holder: HoldingInstance | null = null): HoldingInstance | NoInstance {
    const list = this.#list
    this.#full = null
    const claimant = this.claims.size === 0 ? undefined : this.claimant(block.firstOffset + index)
    if (claimant !== undefined) return claimant.isReady ? claimant : 'busy'
    if (this.#restricted) return 'busy'
    const offset = block.firstOffset + index
    const waits = this.#cursor.state.versions
    const isRefused = (instance: HoldingInstance): boolean => waits.size > 0 && waits.isRefused(offset, instance)
    if (holder?.hasCredit === true && holder.filter.accepts(block, index) && !isRefused(holder)) return holder
    const full: HoldingInstance[] = []
    let unknown = false
    for (let step = 0; step < list.length; step++) {
      if (step > 0 || this.#more === 0 || this.#turn >= list.length) this.#nextTurn()
      const instance = list[this.#turn] as HoldingInstance
      if (!instance.filter.accepts(block, index)) continue
      if (isRefused(instance)) {
        unknown = true
        continue
      }
      if (instance.hasCredit) {
        this.#more--
        return instance
      }
      instance.waitForCredit(this.#cursor)
      full.push(instance)
    }
    if (full.length === 0) return unknown ? 'unknown' : 'unmatched'
    this.#full = full
    return 'busy'
  }

  /**
   * The next instance's turn. With many events ahead, neighbours go to one instance, which passes them on together; a
   * few events are spread over the instances.
   */
  #nextTurn(): void {
    const { length } = this.#list
    const ahead = this.#cursor.log.committed - this.#cursor.next
    this.#turn = (this.#turn + 1) % length
    this.#more = length === 1 ? TURN_MAX : Math.min(TURN_MAX, Math.max(1, Math.floor(ahead / (2 * length))))
  }

  /** Whether all instances that match a lane's first event are still without credit. */
  areFull({ full }: Lane<HoldingInstance>): boolean {
    if (full === null || full.some((instance) => instance.hasCredit)) return false
    for (const instance of full) instance.waitForCredit(this.#cursor)
    return true
  }

  /** The instance that has claimed an event. A claim ends when its event is gone or its instance is detached. */
  claimant(offset: number): HoldingInstance | undefined {
    if (offset < this.#cursor.log.first) this.claims.cancel(offset)
    const claimant = this.claims.of(offset)
    if (claimant === undefined) return undefined
    if (!this.has(claimant) || claimant.closing) {
      this.claims.cancel(offset)
      return undefined
    }
    if (!claimant.isReady) claimant.waitForCredit(this.#cursor)
    return claimant
  }

  /** Whether an attached instance matches an event. */
  matches(block: EventBlock, index: number): boolean {
    return this.#list.some(({ filter }) => filter.accepts(block, index))
  }

  /**
   * The instance that gets an event kept among the dead letters. A redriven letter goes to its own consumer; an event
   * that waited behind one goes to any instance that matches it.
   */
  pickKept(record: DeadRecord, offset: number): HoldingInstance | NoInstance {
    const wanting = this.#list.filter(({ filter, spec }) =>
      record.failure === null ? filter.acceptsEvent(record) : spec.name === record.consumer,
    )
    if (wanting.length === 0) return record.failure === null ? 'unmatched' : 'busy'
    const waits = this.#cursor.state.versions
    const matching = wanting.filter((instance) => !waits.isRefused(offset, instance))
    if (matching.length === 0) return 'unknown'
    const instance = this.#restricted ? undefined : matching.find((each) => each.hasCredit)
    if (instance === undefined) for (const each of matching) each.waitForCredit(this.#cursor)
    return instance ?? 'busy'
  }

  /** An instance of a consumer that has credit. If none has, the cursor is pumped when one has. */
  withCreditOf(consumer: string): HoldingInstance | undefined {
    if (this.#restricted) return undefined
    for (const instance of this.#list) {
      if (instance.spec.name !== consumer) continue
      if (instance.hasCredit) return instance
      instance.waitForCredit(this.#cursor)
    }
    return undefined
  }
}

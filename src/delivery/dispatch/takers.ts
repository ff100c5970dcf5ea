/** The instances attached to a cursor, and whose turn it is. */

import type { DeadRecord } from '../consumer-records.ts'
import type { Cursor } from '../cursor/cursor.ts'
import type { EventBlock } from '../delivery-log.ts'
import type { HeldDelivery } from './held-delivery.ts'
import type { Instance } from './instance.ts'
import type { Lane } from './lane.ts'

/** Events that one instance is given before it is another's turn, at most. */
const TURN_MAX = 64

export class Takers {
  readonly instances: Instance[] = []
  /** Events that are kept for one instance: `claims.ts`. */
  readonly claims: Map<number, Instance> = new Map()
  readonly cursor: Cursor
  /** Called when events of the cursor have left an instance's hands: they were settled, or taken away. */
  onLetGo: (() => void) | null = null
  /** Given nothing any more, while what they have in hands is finished. */
  readonly #leaving = new Set<Instance>()
  #turn = 0
  /** So many more events to whose turn it is. */
  #more = 0
  /** Nothing is given but what is claimed. */
  #held = false
  /** Who wanted the event that was busy last; null where it waits for something else than their places. */
  full: readonly Instance[] | null = null

  constructor(cursor: Cursor) {
    this.cursor = cursor
  }

  /** It is given nothing any more. What it has in hands stays there until it is settled. */
  leave(instance: Instance): void {
    const at = this.instances.indexOf(instance)
    if (at >= 0) this.instances.splice(at, 1)
    if (this.#heldBy(instance).length > 0) this.#leaving.add(instance)
  }

  #heldBy(instance: Instance): HeldDelivery[] {
    return [...instance.held].filter(({ cursor }) => cursor === this.cursor)
  }

  /** What of the cursor's events is in hands, by whose they are. */
  hands(): (readonly [Instance, readonly HeldDelivery[]])[] {
    return [...new Set([...this.instances, ...this.#leaving])].map(
      (instance) => [instance, this.#heldBy(instance)] as const,
    )
  }

  hold(): void {
    this.#held = true
  }

  letGo(): void {
    this.#held = false
    this.cursor.pumpSoon()
  }

  /** Hand over what was given: first to who passes it on, so that others begin before handlers run here. */
  send(): void {
    for (const instance of this.instances) if (instance.passesOn) instance.send()
    for (const instance of this.instances) instance.send()
  }

  /** Whether anybody has a free place. If not, the cursor is fed when somebody has. */
  any(): boolean {
    for (const claimant of this.claims.values()) if (claimant.ready) return true
    if (this.#held) return false
    for (const instance of this.instances) if (instance.takes) return true
    for (const instance of this.instances) instance.hungry.add(this.cursor)
    return false
  }

  /**
   * Who takes an event: an instance, `busy` when those who want it have no place, `nobody` when none wants it. `holder` has events of its key in hands:
   * nobody else may have this one now, so it is asked first.
   */
  pick(block: EventBlock, index: number, holder: Instance | null = null): Instance | 'busy' | 'nobody' {
    const { instances } = this
    this.full = null
    const claimant = this.claims.size === 0 ? undefined : this.claimant(block.firstOffset + index)
    if (claimant !== undefined) return claimant.ready ? claimant : 'busy'
    if (this.#held) return 'busy'
    if (holder?.takes === true && holder.filter.accepts(block, index)) return holder
    const full: Instance[] = []
    for (let step = 0; step < instances.length; step++) {
      if (step > 0 || this.#more === 0 || this.#turn >= instances.length) this.#nextTurn()
      const instance = instances[this.#turn] as Instance
      if (!instance.filter.accepts(block, index)) continue
      if (instance.takes) {
        this.#more--
        return instance
      }
      instance.hungry.add(this.cursor)
      full.push(instance)
    }
    if (full.length === 0) return 'nobody'
    this.full = full
    return 'busy'
  }

  /** Neighbours go to one instance where there are many, as who passes them on does so together; a few are spread. */
  #nextTurn(): void {
    const { length } = this.instances
    const ahead = this.cursor.log.committed - this.cursor.taken
    this.#turn = (this.#turn + 1) % length
    this.#more = length === 1 ? TURN_MAX : Math.min(TURN_MAX, Math.max(1, Math.floor(ahead / (2 * length))))
  }

  /** Whether all who want a lane's first event have no place still. */
  areFull({ full }: Lane): boolean {
    if (full === null || full.some((instance) => instance.takes)) return false
    for (const instance of full) instance.hungry.add(this.cursor)
    return true
  }

  /** Events that were claimed will not be delivered. */
  pass(from: number, end: number): void {
    if (this.claims.size > 0)
      for (const offset of [...this.claims.keys()]) if (offset >= from && offset < end) this.unclaim(offset)
  }

  /** An event that was claimed is not there any more. */
  unclaim(offset: number): void {
    const claimant = this.claims.get(offset)
    if (claimant !== undefined && this.claims.delete(offset)) claimant.free++
  }

  /** For whom an event is kept. */
  claimant(offset: number): Instance | undefined {
    if (offset < this.cursor.log.first) this.unclaim(offset)
    const claimant = this.claims.get(offset)
    if (claimant === undefined || (this.instances.includes(claimant) && !claimant.closing)) {
      if (claimant?.ready === false) claimant.hungry.add(this.cursor)
      return claimant
    }
    this.claims.delete(offset)
    return undefined
  }

  /** Whether anybody wants an event. */
  wants(block: EventBlock, index: number): boolean {
    return this.instances.some(({ filter }) => filter.accepts(block, index))
  }

  /** Who takes an event that is kept among the dead letters: what was one goes to its own consumer, what waited behind one to who wants it. */
  pickKept(record: DeadRecord): Instance | 'busy' | 'nobody' {
    if (record.failure !== null) return this.of(record.consumer) ?? 'busy'
    const wanting = this.instances.filter(({ filter }) => filter.acceptsEvent(record))
    if (wanting.length === 0) return 'nobody'
    const taker = this.#held ? undefined : wanting.find((instance) => instance.takes)
    if (taker === undefined) for (const instance of wanting) instance.hungry.add(this.cursor)
    return taker ?? 'busy'
  }

  /** An instance of a consumer that has a free place. If none has, the cursor is fed when one has. */
  of(consumer: string): Instance | undefined {
    if (this.#held) return undefined
    for (const instance of this.instances) {
      if (instance.spec.name !== consumer) continue
      if (instance.takes) return instance
      instance.hungry.add(this.cursor)
    }
    return undefined
  }

  /** The delivery of an event that is in an instance's hands. */
  deliveryOf(offset: number): HeldDelivery | null {
    for (const [, held] of this.hands()) for (const delivery of held) if (delivery.offset === offset) return delivery
    return null
  }

  /** What is in hands of the cursor's events, and how many could be. */
  held(): { credit: number; offsets: number[] } {
    let credit = 0
    const offsets: number[] = [...this.claims.keys()]
    for (const instance of this.instances) if (!instance.closing) credit += instance.spec.credit
    for (const [, held] of this.hands()) {
      for (const delivery of held) {
        offsets.push(delivery.offset)
        delivery.recorded()
      }
    }
    return { credit, offsets }
  }
}

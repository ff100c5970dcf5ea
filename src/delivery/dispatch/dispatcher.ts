/**
 * What a cursor delivers next, and to which instance.
 *
 * Invariants:
 * - Of one key, at most `perKey` events are in flight, all in one instance, in offset order. The other events of the
 *   key wait in the key's lane (clause 4).
 * - Lanes hold offsets, not events: an event that waits costs eight bytes. It is looked up again when its turn comes.
 * - The number of events that were read and are not settled is bounded (clause 10). At the bound, nothing new is read
 *   until something is settled.
 */
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { OwnKey, Unkeyed } from '../../broker/engine.ts'
import type { RetryRecord } from '../consumer-records.ts'
import { BlockReader } from '../cursor/block-reader.ts'
import type { CursorState } from '../cursor/cursor-state.ts'
import type { InFlight } from '../cursor/in-flight.ts'
import type { Settling } from '../cursor/settling.ts'
import type { Suspected } from '../cursor/suspect-queue.ts'
import type { CursorHost } from '../cursor-host.ts'
import type { DeadLetterBox } from '../dead/dead-letter-box.ts'
import { KeptEvents, type KeptHost } from '../dead/kept-events.ts'
import type { DeliveryLog, EventBlock } from '../delivery-log.ts'
import type { AttachedInstances } from './attached-instances.ts'
import { claimedIn } from './claims.ts'
import { type DeliveringCursor, HeldDelivery, type HoldingInstance } from './held-delivery.ts'
import { isUnkeyed, Keying } from './keying.ts'
import type { Lane } from './lane.ts'
import type { LaneTable } from './lane-table.ts'

/** The pause after a failed read, before the next one. */
export const REST_MS = 1000
/** Ready lanes that no instance takes, at most, before nothing new is read. */
const READY_MAX = 1000

/** The parts of a cursor that its dispatcher uses. */
export interface DispatcherParts {
  readonly cursor: DeliveringCursor & Suspected & { readonly hasDeliveries: boolean }
  readonly group: string
  readonly log: DeliveryLog
  readonly host: CursorHost
  readonly state: CursorState
  readonly box: DeadLetterBox
  readonly instances: AttachedInstances
  readonly lanes: LaneTable<HoldingInstance>
  readonly inFlight: InFlight
  readonly settling: Settling
}

export class Dispatcher implements KeptHost {
  readonly #cursor: DeliveringCursor & Suspected & { readonly hasDeliveries: boolean }
  readonly #log: DeliveryLog
  readonly #host: CursorHost
  readonly #state: CursorState
  readonly #box: DeadLetterBox
  readonly #instances: AttachedInstances
  readonly #lanes: LaneTable<HoldingInstance>
  readonly #inFlight: InFlight
  readonly #settling: Settling
  readonly #reader: BlockReader
  readonly #kept: KeptEvents
  readonly keying: Keying
  readonly #group: string
  /** The next offset to read. */
  #next: number
  /** Events of a queue that no attached instance matches. */
  readonly #unmatched: (readonly [key: string | null, offset: number])[] = []
  /** By suspect that waits to run alone: delivers it. */
  readonly #suspectsWaiting = new Map<number, () => void>()

  constructor(parts: DispatcherParts) {
    this.#cursor = parts.cursor
    this.#log = parts.log
    this.#host = parts.host
    this.#state = parts.state
    this.#box = parts.box
    this.#instances = parts.instances
    this.#lanes = parts.lanes
    this.#inFlight = parts.inFlight
    this.#settling = parts.settling
    this.#group = parts.group
    this.keying = new Keying(parts.log.name)
    this.#next = parts.state.done.floor
    this.#reader = new BlockReader(parts.log, {
      onRead: () => this.#cursor.pump(),
      failed: (error) => this.#failedToRead(error, () => this.#cursor.pump()),
    })
    this.#kept = new KeptEvents(parts, this)
  }

  get next(): number {
    return this.#next
  }

  /** How many events wait for an instance that matches them. */
  get unmatched(): number {
    return this.#unmatched.length
  }

  isUnmatched(offset: number): boolean {
    return this.#unmatched.some(([, each]) => each === offset)
  }

  /** A block was committed to the log. */
  offer(block: EventBlock): void {
    this.#reader.offer(block, this.#next)
  }

  /** Other instances are attached now. */
  lookAgain(): void {
    this.#lanes.lookAgain()
  }

  /** An instance was attached: look again at the events that no instance matched. */
  matchAgain(): void {
    this.#state.versions.lookAgain()
    for (const [key, offset] of this.#unmatched.splice(0)) this.#requeue(this.#lanes.of(key), offset)
  }

  /**
   * An instance is to be attached: its consumer's own key is taken from now on. Where that changes the keys of events,
   * those that were read and not delivered are read again. While deliveries are in flight, they keep the keys that they
   * have.
   */
  adoptKey(own: OwnKey | undefined): void {
    if (!this.keying.adopt(own, this.#instances.size === 0) || this.#cursor.hasDeliveries) return
    this.restart(this.#state.done.floor)
    this.wakeChains()
  }

  /** Begin again at an offset. */
  restart(offset: number): void {
    this.#lanes.clear()
    this.#suspectsWaiting.clear()
    this.#reader.reset()
    this.#unmatched.length = 0
    this.#next = offset
  }

  /** Deliver as much as the instances have credit for. */
  dispatch(): void {
    if (this.#instances.size === 0) return
    const settledBefore = this.#settledCount
    if (this.#box.unchained.size > 0 && this.#instances.anyCredit()) this.#kept.giveUnchained()
    do {
      this.#lanes.beginRound()
      for (let left = this.#lanes.ready; left > 0 && this.#instances.anyCredit(); left--)
        this.#lanes.serve((lane) => this.#giveLane(lane))
      this.#giveNew()
    } while (this.#lanes.grew && this.#instances.anyCredit())
    if (this.#settledCount !== settledBefore) this.#host.touch(this.#state)
  }

  get #settledCount(): number {
    const { done } = this.#state
    return done.floor + done.above
  }

  /** Deliver new events, in offset order. */
  #giveNew(): void {
    while (this.#next < this.#log.committed) {
      if (this.#box.blockade.stands || this.#isAtBound()) return
      if (!this.#instances.anyCredit()) return
      if (this.#next < this.#log.first) this.#skipTo(this.#log.first)
      const block = this.#reader.next(this.#next)
      if (block === null) return
      const index = this.#next - block.firstOffset
      const holes = block.holes(index)
      if (holes > 0) this.#settling.skip(this.#next, this.#next + holes)
      else this.#giveEvent(block, index, this.#next)
      this.#next += Math.max(1, holes)
    }
  }

  #isAtBound(): boolean {
    return (
      this.#lanes.ready >= READY_MAX || this.#next - this.#settledCount >= LIMITS.outstandingMax || this.#box.closed
    )
  }

  /** Deliver a new event, or let it wait. */
  #giveEvent(block: EventBlock, index: number, offset: number): void {
    if (this.#state.done.has(offset)) return
    const instance = this.#instances.pick(block, index)
    if (instance === 'unmatched') return this.setUnmatched(block, offset)
    const event = block.at(index)
    if (this.#log.superseded(event.key, offset)) return this.#settling.skip(offset, offset + 1)
    const key = this.keying.of(event, offset, block.timeAt(index))
    if (isUnkeyed(key)) this.giveUpUnkeyed(event, offset, block.timeAt(index), key, false)
    else if (key !== null) this.#giveKeyed(event, key, offset, block.timeAt(index), instance)
    else if (typeof instance === 'string' || this.#state.isMarked(offset) || instance.flow?.keyed === true)
      this.#requeue(this.#lanes.of(null), offset)
    else this.deliver(instance, null, event, offset, block.timeAt(index), false)
  }

  #giveKeyed(
    event: EncodedEvent,
    key: string,
    offset: number,
    timeMs: number,
    instance: HoldingInstance | 'busy' | 'unknown',
  ): void {
    const chain = this.#box.chains.size === 0 ? undefined : this.#box.chains.get(key)
    const found = this.#lanes.find(key)
    if (chain !== undefined && this.#kept.mayJoin(found, offset)) return this.#kept.join(chain, event, offset, timeMs)
    const lane = found ?? this.#lanes.make(key)
    const isOpen =
      chain === undefined &&
      lane.waiting === 0 &&
      !lane.blocked &&
      typeof instance !== 'string' &&
      !this.#state.isMarked(offset) &&
      instance.flow?.keyed !== true
    if (
      isOpen &&
      (lane.inFlight === 0 || (lane.inFlight < instance.spec.perKey && lane.holder === instance)) &&
      instance.keys.mayTake(key, this.#cursor)
    ) {
      this.deliver(instance, lane, event, offset, timeMs, false)
      return
    }
    lane.add(offset)
    if (found === undefined || chain !== undefined || this.#instances.claims.has(offset)) this.#lanes.enqueue(lane)
  }

  /** No attached instance matches the event: a queue keeps it for one that does, in a stream it is settled. */
  setUnmatched(block: EventBlock, offset: number): void {
    if (this.#log.spec.kind === 'stream') return this.#settling.skip(offset, offset + 1)
    const index = offset - block.firstOffset
    const event = block.at(index)
    const key = this.keying.of(event, offset, block.timeAt(index))
    if (isUnkeyed(key)) this.giveUpUnkeyed(event, offset, block.timeAt(index), key, false)
    else this.#unmatched.push([key, offset])
  }

  /** The consumer's own key function failed: the event becomes a dead letter without a key. */
  giveUpUnkeyed(event: EncodedEvent, offset: number, timeMs: number, { failed }: Unkeyed, kept: boolean): void {
    const { id, type } = event
    const instance = this.#instances.first
    const attempt = this.#state.attempts(offset) + 1
    const onDead = instance?.spec.onDead ?? 'skip'
    const consumer = instance?.spec.name ?? this.#group
    this.#box.add({ consumer, onDead, event, key: null, offset, timeMs, attempt }, failed, this.#host.nowMs())
    this.#settling.settle(null, offset, kept)
    this.#host.touch(this.#state)
    instance?.gaveUp({ channel: this.#log.name, offset, key: null, id, type, attempt }, failed)
  }

  /** The log no longer has the events before an offset. */
  #skipTo(offset: number): void {
    if (offset > this.#log.committed) return
    if (offset > this.#next) this.#settling.skip(this.#next, offset)
    this.#next = Math.max(this.#next, offset)
    this.#host.touch(this.#state)
  }

  /** Deliver events of a ready lane, as far as that is possible now. */
  #giveLane(lane: Lane<HoldingInstance>): void {
    if (this.#lanes.isOver(lane)) return
    if (this.#instances.claims.size > 0 && !this.#giveClaimed(lane)) return
    const chain = lane.key === null ? undefined : this.#box.chains.get(lane.key)
    if (chain !== undefined) return this.#kept.giveChain(lane, chain)
    // No block is read again for instances that cannot take its event.
    if (this.#box.blockade.stands || this.#instances.areFull(lane)) return this.#lanes.setAside(lane)
    while (!lane.blocked) {
      const block = this.front(lane)
      if (block === null) break
      const offset = lane.first
      const index = offset - block.firstOffset
      const instance = this.#instances.pick(block, index, lane.inFlight > 0 ? lane.holder : null)
      if (instance === 'unmatched') {
        this.setUnmatched(block, lane.shift())
        continue
      }
      if (instance === 'unknown') return this.parkLane(lane, offset)
      const hasRoom =
        lane.inFlight === 0 ||
        (instance !== 'busy' && lane.inFlight < instance.spec.perKey && lane.holder === instance && offset > lane.last)
      if (!hasRoom) return
      if (instance === 'busy') {
        lane.waitFor(this.#instances.full)
        return this.#lanes.setAside(lane)
      }
      if ((lane.key !== null && !instance.keys.mayTake(lane.key, this.#cursor)) || !this.isDue(lane, offset)) return
      if (!this.isAdmitted(instance, lane, block.at(index), offset, block.timeAt(index))) return
      lane.shift()
      // An event that was given up may hold back the events behind it: the lane is looked at again.
      if (!this.deliver(instance, lane, block.at(index), offset, block.timeAt(index), false)) return
    }
    if (lane.waiting === 0 && lane.inFlight === 0) this.#lanes.forget(lane)
  }

  /**
   * Deliver a lane's claimed events. Returns false while one of them still waits: nothing else of the lane is
   * delivered.
   */
  #giveClaimed(lane: Lane<HoldingInstance>): boolean {
    const instances = this.#instances
    const claimed = claimedIn(lane, {
      cursor: this.#cursor,
      claims: instances.claims,
      claimant: (offset) => instances.claimant(offset),
      blockOf: (offset) => this.#reader.find(offset, () => this.wake()),
    })
    for (const { instance, block, index, offset } of claimed)
      this.deliver(instance, lane, block.at(index), offset, block.timeAt(index), false)
    if (!lane.offsets.some((offset) => instances.claims.has(offset))) return true
    this.#lanes.setAside(lane)
    return false
  }

  /** The block of a lane's first event that is not settled; null while it is being read, or where no event waits. */
  front(lane: Lane<HoldingInstance>): EventBlock | null {
    while (lane.waiting > 0) {
      if (!this.#state.done.has(lane.first)) {
        const block = this.#blockOf(lane.first, lane)
        if (block === null || block.holes(lane.first - block.firstOffset) === 0) return block
      }
      // The event was settled, or removed by retention, while it waited.
      this.#settling.settle(null, lane.shift(), false)
    }
    return null
  }

  /** The block of an offset. Returns null while it is being read: the lane is blocked until then. */
  #blockOf(offset: number, lane: Lane<HoldingInstance>): EventBlock | null {
    const block = this.#reader.inMemory(offset)
    if (block !== undefined) return block
    lane.block()
    this.#reader.readAgain(offset).then(
      () => {
        // Meanwhile, retention may have removed the event, or the lane may have another first event.
        if (offset < this.#log.first && lane.first === offset) this.#settling.settle(null, lane.shift(), false)
        this.unblock(lane)
      },
      (error: unknown) => {
        lane.unblock()
        this.#failedToRead(error, () => this.unblock(lane))
      },
    )
    return null
  }

  /** A read that may succeed later is tried again after a rest. */
  #failedToRead(error: unknown, again: () => void): void {
    this.#host.alarm(error)
    if (!isMillraceError(error) || error.retryable) this.#host.after(REST_MS, again)
  }

  /**
   * Run `task` when the event's next attempt is due, or when the event may run alone. Returns false where it may run
   * now.
   */
  whenDue(offset: number, task: () => void): boolean {
    const retry = this.#state.retries.get(offset)
    if (retry !== undefined && retry.dueAtMs > this.#host.nowMs()) this.#host.at(retry.dueAtMs, task)
    else if (this.#state.isSuspect(offset)) {
      this.#suspectsWaiting.set(offset, task)
      this.#host.alone(this.#cursor, offset)
    } else return false
    return true
  }

  /** Whether the event may be delivered now. If not, its lane is blocked until it may. */
  isDue(lane: Lane<HoldingInstance>, offset: number): boolean {
    if (!this.whenDue(offset, () => this.unblock(lane))) return true
    lane.block()
    return false
  }

  /** Whether the limits of its consumer let an event begin now. If not, its lane is blocked until they may. */
  isAdmitted(
    { flow }: HoldingInstance,
    lane: Lane<HoldingInstance>,
    event: EncodedEvent,
    offset: number,
    timeMs: number,
  ): boolean {
    const of = { event, channel: this.#log.name, offset, timeMs }
    if (flow?.keyed !== true || flow.admits(of, () => this.unblock(lane))) return true
    lane.block()
    return false
  }

  /** No attached instance knows the version of a lane's first event: the lane is blocked until another is attached. */
  parkLane(lane: Lane<HoldingInstance>, offset: number): void {
    lane.block()
    this.#state.versions.park(offset, () => this.unblock(lane))
  }

  unblock(lane: Lane<HoldingInstance>): void {
    lane.unblock()
    this.#lanes.enqueue(lane)
    this.#cursor.pumpSoon()
  }

  /** Deliver a suspect that waits to run alone; it is a suspect no longer. */
  runAlone(offset: number): void {
    const deliver = this.#suspectsWaiting.get(offset)
    this.#suspectsWaiting.delete(offset)
    this.#state.clearSuspect(offset)
    if (deliver === undefined) this.#inFlight.endAlone(offset)
    else deliver()
  }

  /**
   * Deliver an event to an instance. Returns false where the event has no attempts left and becomes a dead letter
   * instead: then its lane is looked at again.
   */
  deliver(
    instance: HoldingInstance,
    lane: Lane<HoldingInstance> | null,
    event: EncodedEvent,
    offset: number,
    timeMs: number,
    redriven: boolean,
  ): boolean {
    const attempt = this.#state.attempts(offset) + 1
    if (attempt > instance.spec.attemptsMax && this.#state.retries.get(offset)?.proven === true) {
      this.#giveUp(new HeldDelivery(this.#cursor, instance, lane, event, offset, timeMs, attempt - 1, redriven))
      return false
    }
    const delivery = new HeldDelivery(this.#cursor, instance, lane, event, offset, timeMs, attempt, redriven)
    if (lane !== null) lane.delivered(instance, offset, redriven)
    instance.take(delivery, this.#instances.claims.use(offset))
    this.#inFlight.arm()
    return true
  }

  /** An event that ran alone when its worker died, and has no attempts left, is not tried again. */
  #giveUp(delivery: HeldDelivery): void {
    const { failure } = this.#state.retries.get(delivery.offset) as RetryRecord
    this.#box.add(delivery, failure, this.#host.nowMs())
    this.#settling.settle(delivery.lane, delivery.offset, delivery.redriven)
    this.#host.touch(this.#state)
    delivery.instance.gaveUp(delivery, failure)
  }

  #requeue(lane: Lane<HoldingInstance>, offset: number): void {
    lane.add(offset)
    this.#lanes.enqueue(lane)
  }

  /** Look again at the lanes of these keys, or at all lanes. */
  wake(keys: Iterable<string> = this.#lanes.keys): void {
    for (const key of keys) this.#lanes.enqueue(this.#lanes.of(key))
    this.#cursor.pumpSoon()
  }

  /** Look at the lanes of all chains that may continue. */
  wakeChains(): void {
    for (const chain of this.#box.chains.values()) if (!chain.dead) this.#lanes.enqueue(this.#lanes.of(chain.key))
  }

  /** A delivery ended without being settled: its event waits again, in offset order, until its next attempt is due. */
  putBack(delivery: HeldDelivery): void {
    const { offset } = delivery
    const lane = delivery.lane ?? this.#lanes.of(null)
    if (delivery.redriven) {
      if (lane.key === null) return this.#kept.addUnchained(delivery.consumer, offset)
    } else lane.add(offset)
    this.#inFlight.arm()
    // If the event is the first of its lane and not due, `isDue` has blocked the lane until it is.
    if (lane.first !== offset || this.isDue(lane, offset)) this.#lanes.enqueue(lane)
    this.#cursor.pumpSoon()
  }
}

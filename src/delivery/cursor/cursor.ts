/**
 * One consumer in one log: what it has settled (`cursor-state.ts`), what is delivered next
 * (`dispatch/dispatcher.ts`), and what it gave up (`dead/dead-letter-box.ts`). This file owns the ends of deliveries:
 * how each is settled.
 *
 * Invariant: an offset is added to the done set only when a live delivery is settled, when no instance matches its
 * event, or when the log no longer has it.
 */
import type { OffsetSet } from '../../base/offset-set.ts'
import type { ClaimOutcome } from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import type { Position } from '../../broker/position.ts'
import type { TypeVersion } from '../../event/event-version.ts'
import { consumerKeys, toJson } from '../consumer-records.ts'
import type { CursorHost } from '../cursor-host.ts'
import { DeadLetterBox } from '../dead/dead-letter-box.ts'
import type { DeliveryLog, EventBlock, LogListener } from '../delivery-log.ts'
import { AttachedInstances } from '../dispatch/attached-instances.ts'
import { Dispatcher, REST_MS } from '../dispatch/dispatcher.ts'
import type { DeliveringCursor, HeldDelivery, HoldingInstance } from '../dispatch/held-delivery.ts'
import { isUnkeyed } from '../dispatch/keying.ts'
import { LaneTable } from '../dispatch/lane-table.ts'
import { CursorState } from './cursor-state.ts'
import { InFlight } from './in-flight.ts'
import { Progress } from './progress.ts'
import { Pump } from './pump.ts'
import { Settling } from './settling.ts'
import type { Restrictable, Suspected } from './suspect-queue.ts'

const EXPIRED: Failure = { name: 'LeaseExpired', message: 'the worker did not renew its lease in time', kind: 'crash' }

export class Cursor implements DeliveringCursor, LogListener, Suspected, Restrictable {
  readonly group: string
  readonly log: DeliveryLog
  readonly box: DeadLetterBox
  readonly progress: Progress
  readonly state: CursorState
  readonly #host: CursorHost
  readonly #instances: AttachedInstances
  readonly #lanes = new LaneTable<HoldingInstance>()
  readonly #inFlight: InFlight
  readonly #settling: Settling
  readonly #dispatcher: Dispatcher
  readonly #pump: Pump
  #onDeliveriesEnded: (() => void) | null = null

  constructor(group: string, log: DeliveryLog, host: CursorHost, from: Position) {
    this.group = group
    this.log = log
    this.#host = host
    this.progress = new Progress(host.elapsedMs())
    this.state = new CursorState(group, log, host, from)
    this.#instances = new AttachedInstances(this)
    this.box = new DeadLetterBox({ ...host, group, channelId: log.id, channel: log.name })
    this.#inFlight = new InFlight({
      recordInFlight: () => this.#instances.recordInFlight(),
      save: (record) => host.write(consumerKeys.inFlight(group, log.id), toJson(record)),
      after: (delayMs, task) => host.after(delayMs, task),
      aloneDone: (offset) => host.aloneDone(this, offset),
    })
    const parts = { state: this.state, box: this.box, lanes: this.#lanes, inFlight: this.#inFlight }
    this.#settling = new Settling({ ...parts, claims: this.#instances.claims })
    this.#dispatcher = new Dispatcher({
      ...parts,
      cursor: this,
      group,
      log,
      host,
      instances: this.#instances,
      settling: this.#settling,
    })
    this.#pump = new Pump({
      choose: () => this.#dispatcher.dispatch(),
      send: () => this.#instances.send(),
      alarm: (error) => host.alarm(error),
      rest: (task) => void host.after(REST_MS, task),
    })
    log.listeners.add(this)
    this.#dispatcher.wakeChains()
  }

  /** The settled offsets. */
  get done(): OffsetSet {
    return this.state.done
  }

  get next(): number {
    return this.#dispatcher.next
  }

  get unmatched(): number {
    return this.#dispatcher.unmatched
  }

  get outstanding(): number {
    return Math.max(0, this.next - Math.max(this.done.floor, this.log.first) - this.done.above)
  }

  get hasInstances(): boolean {
    return this.#instances.size > 0
  }

  /** Whether an instance has a delivery of this cursor in flight. Instances that were detached count, too. */
  get hasDeliveries(): boolean {
    return this.#instances.deliveries().some(([, held]) => held.length > 0)
  }

  /** The deliveries that are not settled. */
  get deliveries(): readonly HeldDelivery[] {
    return this.#instances.deliveries().flatMap(([, held]) => held)
  }

  /**
   * The key that orders an event of the log for the consumer; `key` is its key in the channel. Null also where it
   * cannot be known.
   */
  async keyOf(offset: number, key: string | null): Promise<string | null> {
    const { keying } = this.#dispatcher
    if (!keying.isOwn) return key
    const block = this.log.blockInMemory(offset) ?? (await this.log.cache(offset))
    if (block === undefined || offset < block.firstOffset || offset >= block.firstOffset + block.count) return null
    const index = offset - block.firstOffset
    const own = keying.of(block.at(index), offset, block.timeAt(index))
    return isUnkeyed(own) ? null : own
  }

  /** The first event of a key that was read and waits; null where none waits. */
  firstWaiting(key: string): number | null {
    const lane = this.#lanes.find(key)
    return lane === undefined || lane.waiting === 0 ? null : lane.first
  }

  /** Whether the event is in a queue and no attached instance matches it. */
  isUnmatched(offset: number): boolean {
    return this.#dispatcher.isUnmatched(offset)
  }

  /** Call `listener` after one or more deliveries of this cursor have ended: they were settled or taken away. */
  onDeliveriesEnded(listener: () => void): void {
    this.#onDeliveriesEnded = listener
  }

  isAttached(instance: HoldingInstance): boolean {
    return this.#instances.has(instance)
  }

  attach(instance: HoldingInstance): void {
    this.#dispatcher.adoptKey(instance.spec.keyOf)
    this.#instances.add(instance)
    this.progress.restart(this.#host.elapsedMs())
    this.#dispatcher.matchAgain()
    this.#instancesChanged()
  }

  /** Deliver nothing more to the instance. It keeps its deliveries until they are settled. */
  detach(instance: HoldingInstance): void {
    this.#instances.remove(instance)
    this.#instancesChanged()
  }

  detachAll(): void {
    for (const instance of [...this.#instances]) this.detach(instance)
  }

  /** Another process owns the log now: revoke all deliveries and detach all instances. */
  evictAll(): void {
    for (const [instance, held] of this.#instances.deliveries()) {
      instance.revoke(held)
      this.#instances.remove(instance)
    }
    this.#onDeliveriesEnded?.()
  }

  #instancesChanged(): void {
    this.#dispatcher.lookAgain()
    this.#inFlight.save()
    this.pumpSoon()
  }

  onCommitted(block: EventBlock | null): void {
    if (this.#instances.size === 0) return
    if (block !== null) this.#dispatcher.offer(block)
    this.pump()
  }

  pump(): void {
    this.#pump.now()
  }

  pumpSoon(): void {
    this.#pump.soon()
  }

  wake(keys?: Iterable<string>): void {
    this.#dispatcher.wake(keys)
  }

  restrictToClaims(): void {
    this.#instances.restrictToClaims()
  }

  endRestriction(): void {
    this.#instances.endRestriction()
  }

  offsetsInFlight(): ReadonlySet<number> {
    const offsets = new Set(this.#instances.claims.offsets)
    for (const [, held] of this.#instances.deliveries()) for (const { offset } of held) offsets.add(offset)
    return offsets
  }

  claim(offset: number, attempt: number, instance: HoldingInstance): ClaimOutcome {
    // An event among the dead letters is delivered from there.
    if (this.done.has(offset)) return this.box.isLive(offset) ? 'lost' : 'done'
    if (offset >= this.log.committed || !this.state.claim(offset, attempt)) return 'lost'
    this.#instances.claims.add(offset, instance)
    // Its lane no longer waits for it to run alone. All lanes are woken, as it may wait behind others of its key.
    this.runAlone(offset)
    this.wake()
    return 'kept'
  }

  beginAlone(offset: number): void {
    this.#inFlight.beginAlone(offset)
  }

  runAlone(offset: number): void {
    this.#dispatcher.runAlone(offset)
  }

  /** The cursor delivers nothing more, and holds nothing: the next owner finds no suspect that has not begun to run. */
  end(): void {
    this.state.clearSuspects()
    this.#inFlight.endAlone(0, Number.POSITIVE_INFINITY)
    this.#inFlight.save()
  }

  complete(delivery: HeldDelivery): boolean {
    if (this.#isBehind(delivery)) {
      this.release(delivery)
      return false
    }
    this.#settle(delivery)
    if (delivery.redriven) this.box.done(delivery.offset, delivery.key)
    this.progress.completed()
    return true
  }

  /**
   * Whether an earlier event of the key waits: it failed, is a dead letter, or has to be handled again after a
   * takeover.
   */
  #isBehind({ lane, offset, redriven }: HeldDelivery): boolean {
    if (lane === null) return false
    if (lane.waitsBefore(offset)) return true
    const chain =
      redriven || lane.key === null || offset <= lane.passedUpTo || this.box.chains.size === 0
        ? undefined
        : this.box.chains.get(lane.key)
    return chain !== undefined && (chain.offsets.first as number) < offset
  }

  /** End the delivery and settle its event. */
  #settle(delivery: HeldDelivery): void {
    this.#end(delivery)
    this.#settling.settle(delivery.lane, delivery.offset, delivery.redriven)
  }

  #end(delivery: HeldDelivery): void {
    delivery.lane?.ended()
    this.#host.touch(this.state)
    this.#inFlight.endAlone(delivery.offset)
    delivery.instance.settled(delivery)
    this.#onDeliveriesEnded?.()
  }

  retry(delivery: HeldDelivery, dueAtMs: number, failure: Failure): void {
    this.state.fail(delivery.offset, { attempts: delivery.attempt, dueAtMs, failure })
    this.#end(delivery)
    this.#dispatcher.putBack(delivery)
  }

  release(delivery: HeldDelivery): void {
    this.#end(delivery)
    this.#dispatcher.putBack(delivery)
  }

  hold(delivery: HeldDelivery, needs: TypeVersion): void {
    this.state.versions.refused(delivery.offset, delivery.instance, needs)
    this.release(delivery)
  }

  deadLetter(delivery: HeldDelivery, failure: Failure): void {
    if (delivery.lane?.waitsBefore(delivery.offset) === true) return this.release(delivery)
    this.box.add(delivery, failure, this.#host.nowMs())
    // The record of deliveries in flight must not name the letter when it comes back.
    this.#inFlight.arm()
    this.#settle(delivery)
  }

  /**
   * Clause 11: the instance did not renew its lease in time. Each of its deliveries counts as a failed attempt and goes
   * back to the dispatcher. An event is marked as a suspect, unless it was the only one that the instance held.
   */
  expire(deliveries: readonly HeldDelivery[], alone: boolean): void {
    for (const delivery of deliveries) {
      const proven = alone || this.#inFlight.alone === delivery.offset
      this.state.fail(delivery.offset, { attempts: delivery.attempt, dueAtMs: 0, failure: EXPIRED, proven })
      if (!proven) this.state.suspect(delivery.offset)
      this.#inFlight.endAlone(delivery.offset)
      delivery.lane?.ended()
      this.#dispatcher.putBack(delivery)
    }
    this.#onDeliveriesEnded?.()
  }

  /**
   * Settle an event that was cancelled (clause 7), also while it is in flight. Returns false if it is settled already.
   */
  withdraw(offset: number): boolean {
    if (this.done.has(offset)) return false
    const held = this.#instances.deliveryOf(offset)
    if (held === null) this.#settling.skip(offset, offset + 1)
    else this.#settle(held)
    this.#host.touch(this.state)
    return true
  }

  /** Take back what the instances of a consumer hold: it is delivered again, and no attempt is counted. */
  revoke(consumer: string): void {
    for (const [instance, all] of this.#instances.deliveries()) {
      const held = all.filter((delivery) => delivery.consumer === consumer)
      instance.revoke(held)
      for (const delivery of held) {
        this.#inFlight.endAlone(delivery.offset)
        delivery.lane?.ended()
        this.#dispatcher.putBack(delivery)
      }
    }
    this.#onDeliveriesEnded?.()
    this.#inFlight.save()
    this.#host.touch(this.state)
    this.pumpSoon()
  }

  /** Begin again at an offset: deliveries are revoked, and attempts are forgotten. */
  rewind(offset: number): void {
    for (const [instance, held] of this.#instances.deliveries()) {
      instance.revoke(held)
      for (const delivery of held)
        if (delivery.redriven && delivery.key === null) this.box.addUnchained(delivery.consumer, delivery.offset)
    }
    this.#onDeliveriesEnded?.()
    this.#instances.claims.cancelRange(0, this.log.committed)
    this.state.restart(offset)
    this.#dispatcher.restart(offset)
    this.box.forget(offset)
    this.progress.restart(this.#host.elapsedMs())
    this.#dispatcher.wakeChains()
    this.#inFlight.save()
    this.#host.touch(this.state)
    this.pumpSoon()
  }
}

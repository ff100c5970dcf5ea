/**
 * One consumer in one channel: what it has settled, what it takes up next, and to which instance it goes.
 *
 * Invariants:
 * - Of one key, at most `perKey` events are in hands, in one instance, in offset order; the others wait in the key's lane (clause 4).
 * - An offset is added to the done set only by a settlement of a live delivery, by the filter, or when its channel no longer has it.
 * - Lanes hold offsets, not events: what waits costs eight bytes. Events are looked up again when their turn comes.
 * - Outstanding offsets are bounded (clause 10): at the bound nothing new is taken up until something is settled.
 */

import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { OffsetSet } from '../../base/offset-set.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Failure } from '../../broker/failure.ts'
import type { Position } from '../../broker/position.ts'
import { consumerKeys, type RetryRecord, toJson } from '../consumer-records.ts'
import type { CursorHost } from '../cursor-host.ts'
import { DeadLetterBox } from '../dead/dead-letter-box.ts'
import { KeptEvents } from '../dead/kept-events.ts'
import type { DeliveryLog, EventBlock, LogListener } from '../delivery-log.ts'
import { claimedIn } from '../dispatch/claims.ts'
import { HeldDelivery } from '../dispatch/held-delivery.ts'
import type { Instance } from '../dispatch/instance.ts'
import type { Lane } from '../dispatch/lane.ts'
import { LaneTable } from '../dispatch/lane-table.ts'
import { Takers } from '../dispatch/takers.ts'
import { BlockReader } from './block-reader.ts'
import { CursorState } from './cursor-state.ts'
import { InFlight } from './in-flight.ts'
import { Progress } from './progress.ts'
import { Pump } from './pump.ts'
import type { Suspected } from './suspect-queue.ts'

const EXPIRED: Failure = { name: 'LeaseExpired', message: 'the worker did not renew its lease in time', kind: 'crash' }

/** After reading, or handing out, has failed. */
const AGAIN_MS = 1000
/** Lanes ready but without a taker, at most, before nothing new is taken up. */
const UNPLACED_MAX = 1000

export class Cursor implements LogListener, Suspected {
  readonly group: string
  readonly log: DeliveryLog
  readonly box: DeadLetterBox
  readonly progress: Progress
  readonly takers: Takers
  readonly state: CursorState
  /** The next offset to look at. */
  taken: number
  /** Taken-up events that no running instance wants (queues). */
  readonly homeless: (readonly [key: string | null, offset: number])[] = []
  readonly #host: CursorHost
  readonly #lanes = new LaneTable()
  readonly #reader: BlockReader
  readonly #kept: KeptEvents
  readonly #inFlight: InFlight
  /** What is done when an event that waits for its turn to run alone has it. */
  readonly #suspected = new Map<number, () => void>()
  readonly #pump: Pump

  constructor(group: string, log: DeliveryLog, host: CursorHost, from: Position) {
    this.group = group
    this.log = log
    this.#host = host
    this.takers = new Takers(this)
    this.progress = new Progress(host.elapsedMs())
    this.state = new CursorState(group, log, host, from)
    this.taken = this.done.floor
    this.box = new DeadLetterBox({ ...host, group, channelId: log.id, channel: log.name })
    this.#pump = new Pump({
      give: () => this.#give(),
      send: () => this.takers.send(),
      alarm: (error) => host.alarm(error),
      rested: (task) => void host.after(AGAIN_MS, task),
    })
    this.#reader = new BlockReader(log, {
      onRead: () => this.pump(),
      failed: (error) => this.#failedToRead(error, () => this.pump()),
    })
    this.#kept = new KeptEvents(this, this.#lanes, {
      front: (lane) => this.#front(lane),
      due: (lane, offset) => this.#due(lane, offset),
      unblock: (lane) => this.#unblock(lane),
      unwanted: (block, offset) => this.#unwanted(block, offset),
      hand: (instance, lane, record, offset) => this.#hand(instance, lane, record, offset, record.timeMs, true),
      later: (offset, task) => this.#later(offset, task),
      afterAWhile: (task) => void host.after(AGAIN_MS, task),
      settled: (offset) => this.#settleOffset(null, offset, true),
      touch: () => host.touch(this.state),
      alarm: (error) => host.alarm(error),
    })
    this.#inFlight = new InFlight({
      held: () => this.takers.held(),
      save: (record) => host.write(consumerKeys.inFlight(group, log.id), toJson(record)),
      after: (delayMs, task) => host.after(delayMs, task),
      aloneDone: (offset) => host.aloneDone(this, offset),
    })
    log.listeners.add(this)
    for (const chain of this.box.chains.values()) if (!chain.dead) this.#lanes.enqueue(this.#lanes.of(chain.key))
  }

  get done(): OffsetSet {
    return this.state.done
  }

  attach(instance: Instance): void {
    this.takers.instances.push(instance)
    instance.cursors.add(this)
    instance.keys.attended()
    this.progress.atMs = this.#host.elapsedMs()
    for (const [key, offset] of this.homeless.splice(0)) this.#requeue(this.#lanes.of(key), offset)
    this.#lanes.lookAgain()
    this.#inFlight.save()
    this.pumpSoon()
  }

  detach(instance: Instance): void {
    this.takers.leave(instance)
    instance.cursors.delete(this)
    instance.hungry.delete(this)
    this.#lanes.lookAgain()
    this.#inFlight.save()
    this.pumpSoon()
  }

  /** Events taken up and not settled. */
  get outstanding(): number {
    return Math.max(0, this.taken - Math.max(this.done.floor, this.log.first) - this.done.above)
  }

  onCommitted(block: EventBlock | null): void {
    if (this.takers.instances.length === 0) return
    if (block !== null) this.#reader.offer(block, this.taken)
    this.pump()
  }

  pumpSoon(): void {
    this.#pump.soon()
  }

  /** Hand out what can be handed out. */
  pump(): void {
    this.#pump.now()
  }

  #give(): void {
    if (this.takers.instances.length === 0) return
    const settledBefore = this.done.floor + this.done.above
    if (this.box.loose.size > 0 && this.takers.any()) this.#kept.giveLoose()
    do {
      this.#lanes.grew = false
      for (let left = this.#lanes.ready; left > 0 && this.takers.any(); left--)
        this.#lanes.serve((lane) => this.#giveLane(lane))
      this.#giveFresh()
    } while (this.#lanes.grew && this.takers.any())
    if (this.done.floor + this.done.above !== settledBefore) this.#host.touch(this.state)
  }

  /** New events, in offset order. */
  #giveFresh(): void {
    while (this.taken < this.log.committed) {
      if (this.box.blockade.stands || this.#atBound()) return
      if (!this.takers.any()) return
      if (this.taken < this.log.first) this.#skipTo(this.log.first)
      const block = this.#reader.next(this.taken)
      if (block === null) return
      const index = this.taken - block.firstOffset
      const holes = block.holes(index)
      if (holes > 0) this.#pass(this.taken, this.taken + holes)
      else this.#giveEvent(block, index, this.taken)
      this.taken += Math.max(1, holes)
    }
  }

  #atBound(): boolean {
    return (
      this.#lanes.ready >= UNPLACED_MAX ||
      this.taken - this.done.floor - this.done.above >= LIMITS.outstandingMax ||
      this.box.closed
    )
  }

  /** Deliver a new event, or put it where it waits. */
  #giveEvent(block: EventBlock, index: number, offset: number): void {
    if (this.done.has(offset)) return
    const instance = this.takers.pick(block, index)
    if (instance === 'nobody') return this.#unwanted(block, offset)
    const event = block.at(index)
    if (this.log.superseded(event.key, offset)) this.#pass(offset, offset + 1)
    else if (event.key !== null) this.#giveKeyed(event, event.key, offset, block.timeAt(index), instance)
    else if (instance === 'busy' || this.state.isMarked(offset)) this.#requeue(this.#lanes.of(null), offset)
    else this.#hand(instance, null, event, offset, block.timeAt(index), false)
  }

  #giveKeyed(event: EncodedEvent, key: string, offset: number, timeMs: number, instance: Instance | 'busy'): void {
    const chain = this.box.chains.size === 0 ? undefined : this.box.chains.get(key)
    const found = this.#lanes.find(key)
    if (chain !== undefined && this.#kept.mayJoin(found, offset)) return this.#kept.join(chain, event, offset, timeMs)
    const lane = found ?? this.#lanes.make(key)
    const open =
      chain === undefined && lane.waiting === 0 && !lane.blocked && instance !== 'busy' && !this.state.isMarked(offset)
    if (
      open &&
      (lane.busy === 0 || (lane.busy < instance.spec.perKey && lane.holder === instance)) &&
      instance.keys.mayTake(key, this)
    ) {
      this.#hand(instance, lane, event, offset, timeMs, false)
      return
    }
    lane.add(offset)
    if (found === undefined || chain !== undefined || this.takers.claims.has(offset)) this.#lanes.enqueue(lane)
  }

  /** Nobody here is for it: in a queue it waits for who is. */
  #unwanted(block: EventBlock, offset: number): void {
    if (this.log.spec.kind === 'queue') this.homeless.push([block.at(offset - block.firstOffset).key, offset])
    else this.#pass(offset, offset + 1)
  }

  /** These are nobody's, or the channel has them no more. */
  #pass(from: number, end: number): void {
    this.done.addRun(from, end - from)
    this.state.pass(from, end)
    this.takers.pass(from, end)
    this.#inFlight.endAlone(from, end)
  }

  /** The channel no longer has the events before an offset. */
  #skipTo(offset: number): void {
    if (offset > this.log.committed) return
    if (offset > this.taken) this.#pass(this.taken, offset)
    this.taken = Math.max(this.taken, offset)
    this.#host.touch(this.state)
  }

  /** Hand out a lane's first event, if it can be. */
  #giveLane(lane: Lane): void {
    if (this.#lanes.isOver(lane)) return
    if (this.takers.claims.size > 0) {
      const claimed = claimedIn(lane, this.takers, (offset) => this.#reader.find(offset, () => this.wake()))
      for (const { instance, block, index, offset } of claimed)
        this.#hand(instance, lane, block.at(index), offset, block.timeAt(index), false)
      if (lane.offsets.some((offset) => this.takers.claims.has(offset))) return this.#lanes.setAside(lane)
    }
    const chain = lane.key === null ? undefined : this.box.chains.get(lane.key)
    if (chain !== undefined) return this.#kept.giveChain(lane, chain)
    // Nothing is read again for those who cannot take it.
    if (this.box.blockade.stands || this.takers.areFull(lane)) return this.#lanes.setAside(lane)
    while (!lane.blocked) {
      const block = this.#front(lane)
      if (block === null) break
      const offset = lane.first
      const index = offset - block.firstOffset
      const instance = this.takers.pick(block, index, lane.busy > 0 ? lane.holder : null)
      if (instance === 'nobody') {
        this.#unwanted(block, lane.shift())
        continue
      }
      const room =
        lane.busy === 0 ||
        (instance !== 'busy' && lane.busy < instance.spec.perKey && lane.holder === instance && offset > lane.last)
      if (!room) return
      if (instance === 'busy') {
        lane.full = this.takers.full
        return this.#lanes.setAside(lane)
      }
      if ((lane.key !== null && !instance.keys.mayTake(lane.key, this)) || !this.#due(lane, offset)) return
      lane.shift()
      // What was given up may hold back what comes behind it.
      if (!this.#hand(instance, lane, block.at(index), offset, block.timeAt(index), false)) return
    }
    if (lane.waiting === 0 && lane.busy === 0) this.#lanes.forget(lane)
  }

  /** The block of a lane's first event that is not settled; null while it is being read, or where there is none. */
  #front(lane: Lane): EventBlock | null {
    while (lane.waiting > 0) {
      if (!this.done.has(lane.first)) {
        const block = this.#fetch(lane.first, lane)
        if (block === null || block.holes(lane.first - block.firstOffset) === 0) return block
      }
      // It is settled, or retention has taken it while it waited.
      this.#settleOffset(null, lane.shift(), false)
    }
    return null
  }

  /** Run a task when the event's next attempt is due, or when it may run alone. False where it may be handed out now. */
  #later(offset: number, task: () => void): boolean {
    const retry = this.state.retries.get(offset)
    if (retry !== undefined && retry.dueAtMs > this.#host.nowMs()) this.#host.at(retry.dueAtMs, task)
    else if (this.state.isSuspect(offset)) {
      this.#suspected.set(offset, task)
      this.#host.alone(this, offset)
    } else return false
    return true
  }

  /** Whether the event may be handed out now; if not, its lane is blocked until it may. */
  #due(lane: Lane, offset: number): boolean {
    if (!this.#later(offset, () => this.#unblock(lane))) return true
    lane.blocked = true
    return false
  }

  #unblock(lane: Lane): void {
    lane.blocked = false
    this.#lanes.enqueue(lane)
    this.pumpSoon()
  }

  /** The block of an offset, or null while it is being read. */
  #fetch(offset: number, lane: Lane): EventBlock | null {
    const block = this.#reader.again(offset)
    if (block !== undefined) return block
    lane.blocked = true
    this.#reader.back(offset).then(
      () => {
        // Retention may have taken it, or somebody else the lane's first event.
        if (offset < this.log.first && lane.first === offset) this.#settleOffset(null, lane.shift(), false)
        this.#unblock(lane)
      },
      (error: unknown) => {
        lane.blocked = false
        this.#failedToRead(error, () => this.#unblock(lane))
      },
    )
    return null
  }

  /** What may succeed later is tried again after a while. */
  #failedToRead(error: unknown, again: () => void): void {
    this.#host.alarm(error)
    if (!isMillraceError(error) || error.retryable) this.#host.after(AGAIN_MS, again)
  }

  beginAlone(offset: number): void {
    this.#inFlight.beginAlone(offset)
  }

  runAlone(offset: number): void {
    const handOut = this.#suspected.get(offset)
    this.#suspected.delete(offset)
    this.state.suspects.delete(offset)
    if (handOut === undefined) this.#inFlight.endAlone(offset)
    else handOut()
  }

  /** It gives out nothing any more, and nothing is in hands: whoever owns it next finds no suspect that has not begun to run. */
  end(): void {
    this.state.suspects.clear()
    this.#inFlight.endAlone(0, Number.POSITIVE_INFINITY)
    this.#inFlight.save()
  }

  /** False: it has no attempts left, and was given up. Its lane is looked at again. */
  #hand(
    instance: Instance,
    lane: Lane | null,
    event: EncodedEvent,
    offset: number,
    timeMs: number,
    redriven: boolean,
  ): boolean {
    const attempt = this.state.attempts(offset) + 1
    if (attempt > instance.spec.attemptsMax && this.state.retries.get(offset)?.proven === true) {
      this.#bury(new HeldDelivery(this, instance, lane, event, offset, timeMs, attempt - 1, redriven))
      return false
    }
    const delivery = new HeldDelivery(this, instance, lane, event, offset, timeMs, attempt, redriven)
    if (lane !== null) {
      lane.busy++
      lane.holder = instance
      lane.last = offset
      lane.redriven = redriven
    }
    instance.take(delivery)
    this.#inFlight.arm()
    return true
  }

  /** An event that ran alone when its worker died, and has no attempts left, is not tried again. */
  #bury(delivery: HeldDelivery): void {
    const { failure } = this.state.retries.get(delivery.offset) as RetryRecord
    this.box.add(delivery, failure, this.#host.nowMs())
    this.#settleOffset(delivery.lane, delivery.offset, delivery.redriven)
    this.#host.touch(this.state)
    delivery.instance.buried(delivery, failure)
  }

  #requeue(lane: Lane, offset: number): void {
    lane.add(offset)
    this.#lanes.enqueue(lane)
  }

  /** Look at the lanes of these keys, or of all. */
  wake(keys: Iterable<string> = this.#lanes.keys): void {
    for (const key of keys) this.#lanes.enqueue(this.#lanes.of(key))
    this.pumpSoon()
  }

  /** Whether an earlier event of its key waits: it failed, is a dead letter, or is another owner's to do again. */
  #isBehind({ lane, offset, redriven }: HeldDelivery): boolean {
    if (lane === null) return false
    if (lane.waitsBefore(offset)) return true
    const chain =
      redriven || lane.key === null || offset <= lane.passed || this.box.chains.size === 0
        ? undefined
        : this.box.chains.get(lane.key)
    return chain !== undefined && (chain.offsets.first as number) < offset
  }

  /** False: it goes back behind an earlier event of its key. */
  complete(delivery: HeldDelivery): boolean {
    if (this.#isBehind(delivery)) return this.release(delivery)
    this.#settle(delivery)
    if (delivery.redriven) this.box.done(delivery.offset, delivery.event.key)
    this.progress.completed()
    return true
  }

  /** The delivery is over, and its event with it. */
  #settle(delivery: HeldDelivery): void {
    this.#end(delivery)
    this.#settleOffset(delivery.lane, delivery.offset, delivery.redriven)
  }

  /** Settle an event that nobody is to get any more. False where it is settled already. */
  withdraw(offset: number): boolean {
    if (this.done.has(offset)) return false
    const held = this.takers.deliveryOf(offset)
    if (held === null) this.#pass(offset, offset + 1)
    else this.#settle(held)
    this.#host.touch(this.state)
    return true
  }

  #settleOffset(lane: Lane | null, offset: number, redriven: boolean): void {
    this.state.clear(offset)
    this.#inFlight.endAlone(offset)
    if (!redriven) this.done.add(offset)
    if (lane === null) return
    if (lane.waiting > 0 || (lane.key !== null && this.box.chains.size > 0 && this.box.chains.has(lane.key)))
      this.#lanes.enqueue(lane)
    else if (lane.busy === 0) this.#lanes.forget(lane)
  }

  #end(delivery: HeldDelivery): void {
    if (delivery.lane !== null) delivery.lane.busy--
    this.#host.touch(this.state)
    this.#inFlight.endAlone(delivery.offset)
    delivery.instance.letGo(delivery)
  }

  retry(delivery: HeldDelivery, dueAtMs: number, failure: Failure): void {
    this.state.fail(delivery.offset, { attempts: delivery.attempt, dueAtMs, failure })
    this.#end(delivery)
    this.#putBack(delivery)
  }

  release(delivery: HeldDelivery): false {
    this.#end(delivery)
    this.#putBack(delivery)
    return false
  }

  /** It waits in its place again, and no longer than its next attempt is due. */
  #putBack(delivery: HeldDelivery): void {
    const { offset } = delivery
    const lane = delivery.lane ?? this.#lanes.of(null)
    if (delivery.redriven) {
      if (lane.key === null) return this.#kept.loosen(delivery.instance.spec.name, offset)
    } else lane.add(offset)
    this.#inFlight.arm()
    // A lane in which its attempt waits is woken when that is due.
    if (lane.first !== offset || this.#due(lane, offset)) this.#lanes.enqueue(lane)
    this.pumpSoon()
  }

  deadLetter(delivery: HeldDelivery, failure: Failure): void {
    if (delivery.lane?.waitsBefore(delivery.offset) === true) return void this.release(delivery)
    this.box.add(delivery, failure, this.#host.nowMs())
    // When it comes back, it is not recorded as in hand.
    this.#inFlight.arm()
    this.#settle(delivery)
  }

  /** The instance's deliveries pass to others: its worker is held to have died (clause 11). `alone`: it had nothing else in hand, in any channel. */
  expire(deliveries: readonly HeldDelivery[], alone: boolean): void {
    for (const delivery of deliveries) {
      const proven = alone || this.#inFlight.alone === delivery.offset
      this.state.fail(delivery.offset, { attempts: delivery.attempt, dueAtMs: 0, failure: EXPIRED, proven })
      if (!proven) this.state.suspects.add(delivery.offset)
      this.#inFlight.endAlone(delivery.offset)
      if (delivery.lane !== null) delivery.lane.busy--
      this.#putBack(delivery)
    }
  }

  /** Begin again at an offset: what is in hands is revoked, attempts are forgotten. */
  rewind(offset: number): void {
    for (const [instance, held] of this.takers.hands()) {
      instance.revoke(held)
      for (const delivery of held)
        if (delivery.redriven && delivery.key === null) this.box.loosen(instance.spec.name, delivery.offset)
    }
    this.takers.pass(0, this.log.committed)
    this.state.restart(offset)
    this.#lanes.clear()
    this.#suspected.clear()
    this.#reader.reset()
    this.homeless.length = 0
    this.box.forget(offset)
    this.taken = offset
    this.progress.atMs = this.#host.elapsedMs()
    for (const chain of this.box.chains.values()) if (!chain.dead) this.#lanes.enqueue(this.#lanes.of(chain.key))
    this.#inFlight.save()
    this.#host.touch(this.state)
    this.pumpSoon()
  }
}

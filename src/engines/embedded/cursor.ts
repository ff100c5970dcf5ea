/**
 * One consumer in one channel: what it has settled, what it takes up next, and to which instance it goes.
 *
 * Invariants:
 * - Of one key, at most `perKey` events are in hands, in one instance, in offset order; the others wait in the key's lane (clause 4).
 * - An offset is added to the done set only by a settlement of a live delivery, by the filter, or when its channel no longer has it.
 * - Lanes hold offsets, not events: what waits costs eight bytes. Events are looked up again when their turn comes.
 * - Outstanding offsets are bounded (clause 10): at the bound nothing new is taken up until something is settled.
 */
import { LIMITS } from '../../base/limits.ts'
import type { EncodedEvent, Failure, OnDead, Position } from '../../broker/engine.ts'
import type { Block } from '../../event/block.ts'
import { BlockReader } from './block-reader.ts'
import type { ChannelLog, LogListener } from './channel-log.ts'
import type { RecordSource } from './committer.ts'
import { type Chain, DeadLetterBox } from './dead-letter-box.ts'
import { DoneSet } from './done-set.ts'
import { HeldDelivery } from './held-delivery.ts'
import { InFlight, type Suspected } from './in-flight.ts'
import type { Instance } from './instance.ts'
import { Lane } from './lane.ts'
import { Meter } from './meter.ts'
import { fromFloat, fromJson, type InFlightRecord, keys, lastNumber, type RetryRecord, toFloat, toJson, under } from './records.ts'

/** What a cursor needs of its engine. */
export interface CursorHost {
  readonly nowMs: () => number
  get(key: string): Uint8Array | undefined
  range(from: string, to: string, limit?: number): [string, Uint8Array][]
  write(key: string, value: Uint8Array | null): void
  touch(source: RecordSource): void
  flushed(): Promise<void>
  /** Run a task at a time. */
  at(dueMs: number, task: () => void): () => void
  /** The event must run alone: call back when it may (clause 5). */
  alone(cursor: Cursor, offset: number): void
  /** The suspect was settled. */
  aloneDone(cursor: Cursor, offset: number): void
  /** Reading the channel failed. */
  alarm(error: unknown): void
  seek(log: ChannelLog, position: Position): number
}

/** Lanes ready but without a taker, at most, before nothing new is taken up. */
const UNPLACED_MAX = 1000

export class Cursor implements RecordSource, LogListener, Suspected {
  readonly group: string
  readonly log: ChannelLog
  readonly box: DeadLetterBox
  readonly meter: Meter = new Meter()
  readonly instances: Instance[] = []
  /** Attempts of events that failed and are not settled. */
  readonly retries: Map<number, RetryRecord> = new Map()
  /** In flight when the process died: each runs alone first. */
  readonly suspects: Set<number> = new Set()
  done: DoneSet
  /** Told when the floor may have moved. */
  onSettled: (() => void) | null = null
  /** The next offset to look at. */
  taken: number
  progressMs: number
  /** Taken-up events that no running instance wants (queues). */
  readonly homeless: number[] = []
  readonly #host: CursorHost
  readonly #lanes = new Map<string, Lane>()
  readonly #reader: BlockReader
  readonly #inFlight: InFlight
  /** Lanes whose first event waits for its turn to run alone. */
  readonly #suspected = new Map<number, Lane>()
  #ready: Lane[] = []
  /** A lane became ready since the ready ones were gone through. */
  #readyGrew = false
  #pumping = false
  #pumpScheduled = false
  #turn = 0
  #savedFloor = -1

  constructor(group: string, log: ChannelLog, host: CursorHost, from: Position) {
    this.group = group
    this.log = log
    this.#host = host
    this.progressMs = host.nowMs()
    const saved = host.get(keys.cursor(group, log.id))
    const floor = saved === undefined ? host.seek(log, from) : fromFloat(saved)
    this.done = new DoneSet(floor)
    this.taken = floor
    if (saved === undefined) host.write(keys.cursor(group, log.id), toFloat(floor))
    else this.#recall()
    this.box = new DeadLetterBox({
      group,
      channelId: log.id,
      channel: log.name,
      get: (key) => host.get(key),
      range: (start, end, limit) => host.range(start, end, limit),
      write: (key, value) => host.write(key, value),
      flushed: () => host.flushed(),
    })
    this.#reader = new BlockReader(log, {
      onRead: () => this.pump(),
      alarm: (error) => host.alarm(error),
    })
    this.#inFlight = new InFlight({
      held: () => this.#held(),
      save: (record) => host.write(keys.inFlight(group, log.id), toJson(record)),
    })
    log.listeners.add(this)
    for (const chain of this.box.chains.values()) if (!chain.dead) this.#wake(chain.key)
  }

  /** Take up what was saved: settled ranges, attempts, and what was in flight when the process died. */
  #recall(): void {
    const at = `${this.group}/${String(this.log.id).padStart(8, '0')}/`
    for (const [key, bytes] of this.#host.range(...under(`b/${at}`))) this.done.load(lastNumber(key), bytes)
    for (const [key, bytes] of this.#host.range(...under(`r/${at}`))) this.retries.set(lastNumber(key), fromJson<RetryRecord>(bytes))
    this.done.raise(Math.min(this.log.first, this.log.committed))
    this.taken = this.done.floor
    const inFlight = this.#host.get(keys.inFlight(this.group, this.log.id))
    if (inFlight !== undefined) this.#suspect(fromJson<InFlightRecord>(inFlight))
  }

  /** Clause 5: events in flight when the worker died have used an attempt; only one that ran alone is held to have killed it. */
  #suspect(record: InFlightRecord): void {
    for (const offset of record.offsets) {
      if (this.done.has(offset)) continue
      this.suspects.add(offset)
      const used = (this.retries.get(offset)?.attempts ?? 0) + 1
      const failure: Failure = { name: 'WorkerDied', message: 'the process died while this event was being handled', kind: 'crash' }
      const retry: RetryRecord = { attempts: used, dueAtMs: 0, failure, proven: offset === record.solo }
      this.retries.set(offset, retry)
      this.#host.write(keys.retry(this.group, this.log.id, offset), toJson(retry))
    }
    let unrecorded = record.credit
    for (let offset = this.done.floor; offset < this.log.committed && unrecorded > 0; offset++) {
      if (this.done.has(offset)) continue
      this.suspects.add(offset)
      unrecorded--
    }
  }

  attach(instance: Instance): void {
    this.instances.push(instance)
    instance.cursors.add(this)
    this.progressMs = this.#host.nowMs()
    for (const offset of this.homeless.splice(0)) this.#requeue(new Lane(null), offset)
    this.#inFlight.save()
    this.pumpSoon()
  }

  detach(instance: Instance): void {
    const at = this.instances.indexOf(instance)
    if (at >= 0) this.instances.splice(at, 1)
    instance.cursors.delete(this)
    instance.hungry.delete(this)
    this.#inFlight.save()
    this.pumpSoon()
  }

  /** Events not yet settled. */
  get lag(): number {
    return Math.max(0, this.log.committed - Math.max(this.done.floor, this.log.first) - this.done.above)
  }

  get inFlight(): number {
    return this.#held().offsets.length
  }

  onCommitted(block: Block | null): void {
    if (this.instances.length === 0) return
    if (block !== null) this.#reader.offer(block, this.taken)
    this.pump()
  }

  pumpSoon(): void {
    if (this.#pumpScheduled) return
    this.#pumpScheduled = true
    queueMicrotask(() => {
      this.#pumpScheduled = false
      this.pump()
    })
  }

  /** Hand out what can be handed out. */
  pump(): void {
    if (this.#pumping || this.instances.length === 0) return
    this.#pumping = true
    const settledBefore = this.done.floor + this.done.above
    if (this.box.loose.length > 0 && this.#takers()) this.#giveLoose()
    do {
      this.#readyGrew = false
      if (this.#ready.length > 0 && this.#takers()) this.#giveReady()
      this.#giveFresh()
    } while (this.#readyGrew && this.#takers())
    if (this.done.floor + this.done.above !== settledBefore) this.#host.touch(this)
    this.#pumping = false
    for (const instance of this.instances) instance.send()
  }

  #takers(): boolean {
    for (const instance of this.instances) if (instance.takes) return true
    for (const instance of this.instances) instance.hungry.add(this)
    return false
  }

  /** New events, in offset order. */
  #giveFresh(): void {
    while (this.taken < this.log.committed) {
      if (this.box.blocking.size > 0 || this.#atBound()) return
      if (!this.#takers()) return
      if (this.taken < this.log.first) this.#skipTo(this.log.first)
      const block = this.#reader.next(this.taken)
      if (block === null) return
      const index = this.taken - block.firstOffset
      if (!this.#giveEvent(block, index, this.taken)) return
      this.taken++
    }
  }

  #atBound(): boolean {
    return (
      this.#ready.length >= UNPLACED_MAX ||
      this.taken - this.done.floor - this.done.above >= LIMITS.outstandingMax ||
      (this.box.full && this.box.chains.size > 0)
    )
  }

  /** Deliver a new event, or put it where it waits. False: it cannot be taken up now. */
  #giveEvent(block: Block, index: number, offset: number): boolean {
    if (this.done.has(offset)) return true
    const instance = this.#taker(block, index)
    if (instance === 'nobody') {
      if (this.log.spec.kind === 'queue') this.homeless.push(offset)
      else this.done.add(offset)
      return true
    }
    const event = block.at(index)
    if (event.text === '' || this.#superseded(event, offset)) {
      this.done.add(offset)
      return true
    }
    if (event.key !== null) this.#giveKeyed(event, event.key, offset, block.timeMs, instance)
    else if (instance === 'busy' || this.retries.has(offset) || this.#suspects(offset)) this.#requeue(new Lane(null), offset)
    else this.#hand(instance, null, event, offset, block.timeMs, false)
    return true
  }

  #giveKeyed(event: EncodedEvent, key: string, offset: number, timeMs: number, instance: Instance | 'busy'): void {
    const chain = this.box.chains.size === 0 ? undefined : this.box.chains.get(key)
    if (chain !== undefined) {
      this.#join(chain, event, offset, timeMs)
      return
    }
    let lane = this.#lanes.get(key)
    const fresh = lane === undefined
    if (lane === undefined) {
      lane = new Lane(key)
      this.#lanes.set(key, lane)
    }
    const open = lane.waiting === 0 && !lane.blocked && instance !== 'busy' && !this.retries.has(offset) && !this.#suspects(offset)
    if (open && (lane.busy === 0 || (lane.busy < instance.spec.perKey && lane.holder === instance))) {
      this.#hand(instance, lane, event, offset, timeMs, false)
      return
    }
    lane.push(offset)
    if (fresh) this.#enqueue(lane)
  }

  /** Clause 13: a later event of the key stands in its place. */
  #superseded(event: EncodedEvent, offset: number): boolean {
    if (!this.log.spec.retain.latestByKey || event.key === null) return false
    const latest = this.#host.get(keys.latest(this.log.id, event.key))
    return latest !== undefined && fromFloat(latest) > offset
  }

  /** Who takes an event: an instance, `busy` when those who want it have no credit, `nobody` when none wants it. */
  #taker(block: Block, index: number): Instance | 'busy' | 'nobody' {
    const { instances } = this
    let wanted = false
    for (let step = 0; step < instances.length; step++) {
      this.#turn = (this.#turn + 1) % instances.length
      const instance = instances[this.#turn] as Instance
      if (!instance.filter.accepts(block, index)) continue
      if (instance.takes) return instance
      instance.hungry.add(this)
      wanted = true
    }
    return wanted ? 'busy' : 'nobody'
  }

  /** The channel no longer has the events before an offset. */
  #skipTo(offset: number): void {
    if (offset > this.log.committed) return
    for (let gone = this.taken; gone < offset; gone++) if (!this.done.has(gone)) this.done.add(gone)
    this.taken = Math.max(this.taken, offset)
    this.#host.touch(this)
  }

  #giveReady(): void {
    const ready = this.#ready
    this.#ready = []
    for (let at = 0; at < ready.length; at++) {
      const lane = ready[at] as Lane
      lane.queued = false
      this.#giveLane(lane)
    }
  }

  /** Hand out a lane's first event, if it can be. */
  #giveLane(lane: Lane): void {
    const chain = lane.key === null ? undefined : this.box.chains.get(lane.key)
    if (chain !== undefined) {
      this.#giveChain(lane, chain)
      return
    }
    while (lane.waiting > 0 && !lane.blocked) {
      const offset = lane.first
      if (this.done.has(offset)) {
        lane.shift()
        continue
      }
      const block = this.#fetch(offset, lane)
      if (block === null) return
      const index = offset - block.firstOffset
      const instance = this.#taker(block, index)
      if (instance === 'nobody' && this.log.spec.kind === 'queue') {
        this.homeless.push(lane.shift())
        continue
      }
      if (instance === 'nobody') {
        this.done.add(lane.shift())
        continue
      }
      const room = lane.busy === 0 || (instance !== 'busy' && lane.busy < instance.spec.perKey && lane.holder === instance)
      if (!room) return
      if (instance === 'busy') {
        this.#setAside(lane)
        return
      }
      if (!this.#due(lane, offset)) return
      if (this.#suspects(offset)) {
        lane.blocked = true
        this.#suspected.set(offset, lane)
        this.#host.alone(this, offset)
        return
      }
      lane.shift()
      this.#hand(instance, lane, block.at(index), offset, block.timeMs, false)
    }
    if (lane.waiting === 0 && lane.busy === 0) this.#forget(lane)
  }

  /** Whether the event's next attempt is due; if not, its lane is blocked until then. */
  #due(lane: Lane, offset: number): boolean {
    const retry = this.retries.get(offset)
    if (retry === undefined || retry.dueAtMs <= this.#host.nowMs()) return true
    this.#blockUntil(lane, retry.dueAtMs)
    return false
  }

  #blockUntil(lane: Lane, dueAtMs: number): void {
    lane.blocked = true
    this.#host.at(dueAtMs, () => {
      lane.blocked = false
      this.#enqueue(lane)
      this.pumpSoon()
    })
  }

  /** The block of an offset, or null while it is being read. */
  #fetch(offset: number, lane: Lane): Block | null {
    const block = this.#reader.again(offset)
    if (block !== undefined) return block
    lane.blocked = true
    this.log.cache(offset).then(
      (read) => {
        lane.blocked = false
        if (offset < this.log.first) this.done.add(lane.shift())
        else if (read === undefined || offset < read.firstOffset) return
        this.#enqueue(lane)
        this.pump()
      },
      (error: unknown) => {
        lane.blocked = false
        this.#host.alarm(error)
      },
    )
    return null
  }

  /** What the lane still holds of the log joins the chain; then the chain's head is handed out, unless it is dead. */
  #giveChain(lane: Lane, chain: Chain): void {
    while (lane.waiting > 0) {
      const block = this.#fetch(lane.first, lane)
      if (block === null) return
      const offset = lane.shift()
      if (!this.done.has(offset)) this.#join(chain, block.at(offset - block.firstOffset), offset, block.timeMs)
    }
    if (chain.dead) {
      if (lane.busy === 0) this.#forget(lane)
      return
    }
    const head = chain.offsets[0]
    if (head !== undefined && lane.busy === 0 && !lane.blocked) this.#giveDead(lane, head)
  }

  /** Hand out an event that is kept among the dead letters. */
  #giveDead(lane: Lane, offset: number): void {
    const record = this.box.event(offset)
    if (record === undefined) {
      lane.blocked = true
      void this.#host.flushed().then(
        () => {
          lane.blocked = false
          this.#enqueue(lane)
          this.pumpSoon()
        },
        () => undefined,
      )
      return
    }
    const instance = this.instances.find((candidate) => candidate.takes && candidate.spec.name === record.consumer)
    if (instance === undefined) this.#setAside(lane)
    else if (this.#due(lane, offset)) this.#hand(instance, lane, record, offset, record.timeMs, true)
  }

  #giveLoose(): void {
    for (const offset of this.box.loose.splice(0)) {
      const lane = new Lane(null)
      const instance = this.instances.find((candidate) => candidate.takes)
      const record = instance === undefined ? undefined : this.box.event(offset)
      const target = record === undefined ? undefined : this.instances.find((candidate) => candidate.takes && candidate.spec.name === record.consumer)
      if (record === undefined || target === undefined) this.box.loose.push(offset)
      else if (this.#due(lane, offset)) this.#hand(target, lane, record, offset, record.timeMs, true)
      else this.#host.at((this.retries.get(offset) as RetryRecord).dueAtMs, () => this.#loosen(offset))
    }
  }

  #loosen(offset: number): void {
    this.box.loose.push(offset)
    this.pumpSoon()
  }

  #join(chain: Chain, event: EncodedEvent, offset: number, timeMs: number): void {
    const consumer = this.instances[0]?.spec.name ?? this.group
    this.box.join(chain, consumer, event, offset, timeMs)
    this.done.add(offset)
    this.#host.touch(this)
  }

  #suspects(offset: number): boolean {
    return this.suspects.size > 0 && this.suspects.has(offset)
  }

  beginAlone(offset: number): void {
    this.#inFlight.alone = offset
    this.#inFlight.save()
  }

  runAlone(offset: number): void {
    const lane = this.#suspected.get(offset)
    this.#suspected.delete(offset)
    this.suspects.delete(offset)
    if (lane === undefined) {
      this.#endAlone(offset)
      return
    }
    lane.blocked = false
    this.#enqueue(lane)
    this.pumpSoon()
  }

  #endAlone(offset: number): void {
    if (this.#inFlight.alone !== offset) return
    this.#inFlight.alone = null
    this.#host.aloneDone(this, offset)
  }

  #hand(instance: Instance, lane: Lane | null, event: EncodedEvent, offset: number, timeMs: number, redriven: boolean): void {
    const attempt = this.retries.size === 0 ? 1 : (this.retries.get(offset)?.attempts ?? 0) + 1
    if (attempt > instance.spec.attemptsMax && this.retries.get(offset)?.proven === true) {
      this.#bury(instance, lane, event, offset, timeMs, attempt - 1, redriven)
      return
    }
    const delivery = new HeldDelivery(this, instance, lane, event, offset, timeMs, attempt, redriven)
    if (lane !== null) {
      lane.busy++
      lane.holder = instance
    }
    instance.take(delivery)
    this.#inFlight.arm()
  }

  /** An event that ran alone when its worker died, and has no attempts left, is not tried again. */
  #bury(instance: Instance, lane: Lane | null, event: EncodedEvent, offset: number, timeMs: number, attempts: number, redriven: boolean): void {
    const failure = (this.retries.get(offset) as RetryRecord).failure
    this.#addDead(instance, event, offset, timeMs, attempts, failure)
    this.#endAlone(offset)
    this.#settleOffset(lane, offset, redriven)
    this.#host.touch(this)
  }

  #enqueue(lane: Lane): void {
    if (lane.queued) return
    this.#readyGrew = true
    this.#setAside(lane)
  }

  /** It is ready, and nobody takes it now: the next free place does. */
  #setAside(lane: Lane): void {
    if (lane.queued) return
    lane.queued = true
    this.#ready.push(lane)
  }

  #requeue(lane: Lane, offset: number): void {
    lane.restore(offset)
    this.#enqueue(lane)
  }

  #forget(lane: Lane): void {
    if (lane.key !== null && this.#lanes.get(lane.key) === lane) this.#lanes.delete(lane.key)
  }

  /** The chain of a key can go on. */
  #wake(key: string): void {
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = new Lane(key)
      this.#lanes.set(key, lane)
    }
    this.#enqueue(lane)
  }

  wake(chainKeys: readonly string[]): void {
    for (const key of chainKeys) this.#wake(key)
    this.pumpSoon()
  }

  /** False: an earlier event of its key, from the same batch, failed meanwhile, so it goes back behind that one. */
  complete(delivery: HeldDelivery): boolean {
    const { lane, offset } = delivery
    if (lane !== null && lane.waiting > 0 && lane.first < offset) {
      this.release(delivery)
      return false
    }
    this.#settle(delivery)
    if (delivery.redriven) this.box.done(offset, delivery.event.key)
    this.meter.mark(1, this.progressMs)
    return true
  }

  /** The delivery is over, and its event with it. */
  #settle(delivery: HeldDelivery): void {
    this.#end(delivery)
    this.#settleOffset(delivery.lane, delivery.offset, delivery.redriven)
  }

  #settleOffset(lane: Lane | null, offset: number, redriven: boolean): void {
    if (this.retries.size > 0 && this.retries.delete(offset)) this.#host.write(keys.retry(this.group, this.log.id, offset), null)
    if (!redriven) this.done.add(offset)
    if (lane === null) return
    if (lane.waiting > 0 || (lane.key !== null && this.box.chains.size > 0 && this.box.chains.has(lane.key))) this.#enqueue(lane)
    else if (lane.busy === 0) this.#forget(lane)
  }

  #end(delivery: HeldDelivery): void {
    if (delivery.lane !== null) delivery.lane.busy--
    this.progressMs = this.#host.nowMs()
    this.#host.touch(this)
    if (this.#inFlight.alone !== null) this.#endAlone(delivery.offset)
    delivery.instance.letGo(delivery)
  }

  retry(delivery: HeldDelivery, delayMs: number, failure: Failure): void {
    const { offset } = delivery
    const retry: RetryRecord = { attempts: delivery.attempt, dueAtMs: this.#host.nowMs() + delayMs, failure }
    this.retries.set(offset, retry)
    this.#host.write(keys.retry(this.group, this.log.id, offset), toJson(retry))
    this.#end(delivery)
    this.#putBack(delivery)
  }

  release(delivery: HeldDelivery): void {
    this.#end(delivery)
    this.#putBack(delivery)
  }

  /** It waits in its place again, and no longer than its next attempt is due. */
  #putBack(delivery: HeldDelivery): void {
    const { offset } = delivery
    const lane = delivery.lane ?? new Lane(null)
    if (delivery.redriven) {
      if (lane.key !== null) this.#enqueue(lane)
      else this.#loosen(offset)
      return
    }
    lane.restore(offset)
    const retry = this.retries.get(offset)
    if (lane.first === offset && retry !== undefined && retry.dueAtMs > this.#host.nowMs()) this.#blockUntil(lane, retry.dueAtMs)
    else this.#enqueue(lane)
    this.pumpSoon()
  }

  deadLetter(delivery: HeldDelivery, failure: Failure): void {
    this.#addDead(delivery.instance, delivery.event, delivery.offset, delivery.timeMs, delivery.attempt, failure)
    this.#settle(delivery)
  }

  #addDead(instance: Instance, event: EncodedEvent, offset: number, timeMs: number, attempts: number, failure: Failure): void {
    const onDead: OnDead = instance.spec.onDead ?? (event.key === null ? 'skip' : 'park')
    this.box.add(instance.spec.name, onDead, event, offset, timeMs, attempts, failure, this.#host.nowMs())
  }

  /** The instance's deliveries pass to others: its worker is held to have died (clause 11). */
  expire(deliveries: readonly HeldDelivery[]): void {
    for (const delivery of deliveries) {
      const failure: Failure = { name: 'LeaseExpired', message: 'the worker was not heard of for the length of its lease', kind: 'crash' }
      const proven = deliveries.length === 1 || this.#inFlight.alone === delivery.offset
      const retry: RetryRecord = { attempts: delivery.attempt, dueAtMs: 0, failure, proven }
      this.retries.set(delivery.offset, retry)
      this.#host.write(keys.retry(this.group, this.log.id, delivery.offset), toJson(retry))
      if (!proven) this.suspects.add(delivery.offset)
      this.#endAlone(delivery.offset)
      if (delivery.lane !== null) delivery.lane.busy--
      this.#putBack(delivery)
    }
  }

  /** Begin again at an offset: what is in hands is revoked, attempts are forgotten. */
  rewind(offset: number): void {
    for (const instance of this.instances) instance.revoke([...instance.held].filter((delivery) => delivery.cursor === this))
    const at = `${this.group}/${String(this.log.id).padStart(8, '0')}/`
    for (const prefix of ['b/', 'r/']) for (const [key] of this.#host.range(...under(prefix + at))) this.#host.write(key, null)
    for (const failed of this.retries.keys()) this.#host.write(keys.retry(this.group, this.log.id, failed), null)
    this.retries.clear()
    this.#lanes.clear()
    this.#ready = []
    this.#suspected.clear()
    this.#reader.reset()
    this.homeless.length = 0
    this.suspects.clear()
    this.box.forget(offset)
    this.done = new DoneSet(offset)
    this.taken = offset
    this.progressMs = this.#host.nowMs()
    for (const chain of this.box.chains.values()) if (!chain.dead) this.#wake(chain.key)
    this.#host.touch(this)
    this.pumpSoon()
  }

  collect(into: (readonly [string, Uint8Array | null])[]): void {
    if (this.done.floor !== this.#savedFloor) {
      this.#savedFloor = this.done.floor
      this.onSettled?.()
      into.push([keys.cursor(this.group, this.log.id), toFloat(this.done.floor)])
    }
    for (const [chunk, bytes] of this.done.takeChanges()) into.push([keys.chunk(this.group, this.log.id, chunk), bytes])
  }

  #held(): { credit: number; offsets: number[] } {
    let credit = 0
    const offsets: number[] = []
    for (const instance of this.instances) {
      if (!instance.closing) credit += instance.spec.credit
      for (const delivery of instance.held) if (delivery.cursor === this) offsets.push(delivery.offset)
    }
    return { credit, offsets }
  }
}

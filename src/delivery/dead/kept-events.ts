/**
 * Delivers what a cursor keeps among its dead letters: chains in order, one event of a key at a time, and redriven
 * events outside chains in their order (clauses 4 and 6).
 *
 * Invariants:
 * - An event joins a chain only when no earlier event of its key waits in the lane or is in flight. Until then it waits
 *   in the lane.
 * - The text of an event is fetched where it is not in memory. A text that is lost raises an alarm; its event counts as
 *   settled, and the events behind it are delivered.
 */
import { MillraceError } from '../../base/errors.ts'
import { nextTurn } from '../../base/timers.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Unkeyed } from '../../broker/engine.ts'
import type { DeadRecord } from '../consumer-records.ts'
import type { CursorState } from '../cursor/cursor-state.ts'
import type { Settling } from '../cursor/settling.ts'
import type { CursorHost } from '../cursor-host.ts'
import type { DeliveryLog, EventBlock } from '../delivery-log.ts'
import type { AttachedInstances } from '../dispatch/attached-instances.ts'
import type { DeliveringCursor, HoldingInstance } from '../dispatch/held-delivery.ts'
import { isUnkeyed, type Keying } from '../dispatch/keying.ts'
import type { Lane } from '../dispatch/lane.ts'
import type { LaneTable } from '../dispatch/lane-table.ts'
import type { Chain, DeadLetterBox } from './dead-letter-box.ts'

/** Redriven events that are taken in one turn of the event loop, at most. */
const TURN_MAX = 500
/** The rest after a text could not be fetched. */
const REST_MS = 1000

type KeyLane = Lane<HoldingInstance>

/** What the dispatcher does for the events that are kept. */
export interface KeptHost {
  /** The block of a lane's first event; null while it is being read, or where no event waits. */
  front(lane: KeyLane): EventBlock | null
  /** Whether the event may be delivered now. If not, its lane is blocked until it may. */
  isDue(lane: KeyLane, offset: number): boolean
  /** Whether limits let the event begin now. If not, its lane is blocked until they may. */
  isAdmitted(instance: HoldingInstance, lane: KeyLane, event: DeadRecord, offset: number, timeMs: number): boolean
  /** Run `task` when the event may be delivered. Returns false where it may be now. */
  whenDue(offset: number, task: () => void): boolean
  /** No attached instance knows the version of the event: the lane is blocked until another is attached. */
  parkLane(lane: KeyLane, offset: number): void
  unblock(lane: KeyLane): void
  setUnmatched(block: EventBlock, offset: number): void
  /** The key that orders an event; or why the consumer's own key function gives none. */
  readonly keying: Pick<Keying, 'isOwn' | 'of'>
  /** The consumer's own key function failed again: the event is a dead letter once more. */
  giveUpUnkeyed(event: DeadRecord, offset: number, timeMs: number, key: Unkeyed, kept: boolean): void
  deliver(
    instance: HoldingInstance,
    lane: KeyLane,
    event: DeadRecord,
    offset: number,
    timeMs: number,
    redriven: boolean,
  ): boolean
}

/** The parts of a cursor that deliver what is kept. */
export interface KeptParts {
  readonly cursor: DeliveringCursor
  readonly group: string
  readonly log: DeliveryLog
  readonly host: Pick<CursorHost, 'after' | 'alarm' | 'touch'>
  readonly state: CursorState
  readonly box: DeadLetterBox
  readonly instances: AttachedInstances
  readonly lanes: LaneTable<HoldingInstance>
  readonly settling: Settling
}

export class KeptEvents {
  readonly #parts: KeptParts
  readonly #dispatcher: KeptHost
  /** Events outside chains wait: a text is being fetched, or the event loop has its turn. */
  #resting = false

  constructor(parts: KeptParts, dispatcher: KeptHost) {
    this.#parts = parts
    this.#dispatcher = dispatcher
  }

  /** Whether a new event of a key that has a chain may join the chain now. */
  mayJoin(lane: KeyLane | undefined, offset: number): boolean {
    if (this.#parts.instances.claims.has(offset)) return false
    return lane === undefined || (lane.waiting === 0 && (lane.inFlight === 0 || lane.lastRedriven))
  }

  join(chain: Chain, event: EncodedEvent, offset: number, timeMs: number): void {
    const { box, group, host, instances, state } = this.#parts
    box.join(chain, instances.first?.spec.name ?? group, event, offset, timeMs)
    state.done.add(offset)
    host.touch(state)
  }

  /** The events that wait in the lane join the chain. Then the head of the chain is delivered, unless it is dead. */
  giveChain(lane: KeyLane, chain: Chain): void {
    // Deliveries in flight come before the events that wait in the lane, and may return to it.
    if (lane.inFlight > 0 && (!lane.lastRedriven || (lane.waiting > 0 && lane.first < lane.last))) return
    const { box, instances, lanes } = this.#parts
    while (lane.waiting > 0) {
      // Nothing is read that may not join yet.
      if (box.crowded) return lanes.setAside(lane)
      const block = this.#dispatcher.front(lane)
      if (block === null) break
      const offset = lane.shift()
      const index = offset - block.firstOffset
      if (!instances.matches(block, index)) this.#dispatcher.setUnmatched(block, offset)
      else this.join(chain, block.at(index), offset, block.timeAt(index))
    }
    if (lane.waiting > 0 || lane.inFlight > 0) return
    const head = chain.offsets.first
    if (chain.dead || head === undefined) lanes.forget(lane)
    else if (box.stops(chain)) lanes.setAside(lane)
    else if (!lane.blocked) this.#giveHead(lane, chain, head)
  }

  #giveHead(lane: KeyLane, chain: Chain, offset: number): void {
    const { box, cursor, instances, lanes, log } = this.#parts
    const record = box.event(offset)
    if (record === undefined) {
      lane.block()
      this.#fetch(offset, chain.key, () => this.#dispatcher.unblock(lane))
      return
    }
    const key = this.#keyOf(record, offset)
    if (typeof key === 'string' && key !== chain.key) {
      box.move(chain, offset, key)
      lanes.enqueue(lane)
      return this.#enterLane(key)
    }
    const instance = instances.pickKept(record, offset)
    if (instance === 'unmatched' && log.spec.kind === 'stream') this.#skip(lane, offset, chain.key)
    else if (instance === 'unknown') this.#dispatcher.parkLane(lane, offset)
    else if (typeof instance === 'string') lanes.setAside(lane)
    else if (
      instance.keys.mayTake(chain.key, cursor) &&
      this.#dispatcher.isDue(lane, offset) &&
      this.#dispatcher.isAdmitted(instance, lane, record, offset, record.timeMs)
    )
      this.#dispatcher.deliver(instance, lane, record, offset, record.timeMs, true)
  }

  /** The key that orders a kept event now: its consumer's own function may have changed since it was kept. */
  #keyOf(record: DeadRecord, offset: number): string | null | Unkeyed {
    const { keying } = this.#dispatcher
    return keying.isOwn ? keying.of(record, offset, record.timeMs) : record.key
  }

  /** A redriven event has joined the chain of a key. Deliveries of the key in flight may complete before it. */
  #enterLane(key: string): void {
    const { lanes } = this.#parts
    const lane = lanes.of(key)
    if (lane.inFlight > 0 && !lane.lastRedriven) lane.letPass()
    lanes.enqueue(lane)
  }

  /** No instance matches the event any more. */
  #skip(lane: KeyLane, offset: number, key: string): void {
    this.#parts.box.done(offset, key)
    this.#parts.settling.settle(null, offset, true)
    this.#parts.lanes.enqueue(lane)
  }

  /** Deliver redriven events outside chains, those of each consumer in their order. */
  giveUnchained(): void {
    if (this.#resting) return
    const { box, instances } = this.#parts
    let left = TURN_MAX
    for (const [consumer, offsets] of box.unchained) {
      for (let offset = box.nextUnchained(offsets); offset !== undefined; offset = box.nextUnchained(offsets)) {
        const instance = instances.withCreditOf(consumer)
        if (instance === undefined) break
        if (left-- === 0) return void nextTurn(this.#rest())
        if (!this.#giveUnchained(instance, offset)) return
      }
    }
  }

  /** Nothing outside chains is delivered until the returned function is called. */
  #rest(): () => void {
    this.#resting = true
    return () => {
      this.#resting = false
      this.#parts.cursor.pump()
    }
  }

  /** Deliver one of them. Returns false while its text is being fetched. */
  #giveUnchained(instance: HoldingInstance, offset: number): boolean {
    const { box, lanes, state } = this.#parts
    const { name } = instance.spec
    const record = box.event(offset)
    if (record === undefined && box.isLive(offset)) {
      this.#fetch(offset, null, this.#rest())
      return false
    }
    box.takeUnchained(name, offset)
    // Without a record, the event was dropped or its consumer was rewound.
    if (record === undefined) return true
    const key = this.#keyOf(record, offset)
    if (isUnkeyed(key)) this.#dispatcher.giveUpUnkeyed(record, offset, record.timeMs, key, true)
    else if (key !== null) {
      box.enchain(name, key, offset)
      this.#enterLane(key)
    } else if (state.versions.isRefused(offset, instance)) this.#park(instance, record, offset)
    else if (!this.#dispatcher.whenDue(offset, () => this.addUnchained(name, offset))) {
      if (!this.#admits(instance, record, offset)) return false
      this.#dispatcher.deliver(instance, lanes.of(null), record, offset, record.timeMs, true)
    }
    return true
  }

  /** Whether limits let an event without a key begin now. If not, it and the events behind it wait until they may. */
  #admits({ flow, spec }: HoldingInstance, event: DeadRecord, offset: number): boolean {
    if (flow?.keyed !== true) return true
    const of = { event, channel: this.#parts.log.name, offset, timeMs: event.timeMs }
    const again = this.#rest()
    if (flow.admits(of, again)) {
      this.#resting = false
      return true
    }
    this.#parts.box.addUnchained(spec.name, offset)
    return false
  }

  /** An event without a key: the instance does not know its version. Another may, or one that is attached later. */
  #park({ spec: { name } }: HoldingInstance, record: DeadRecord, offset: number): void {
    const { instances, lanes, state } = this.#parts
    const other = instances.pickKept(record, offset)
    if (typeof other !== 'string') this.#dispatcher.deliver(other, lanes.of(null), record, offset, record.timeMs, true)
    else if (other === 'unknown') state.versions.park(offset, () => this.addUnchained(name, offset))
    else void this.#parts.host.after(REST_MS, () => this.addUnchained(name, offset))
  }

  /** A redriven event outside chains waits again, in offset order. */
  addUnchained(consumer: string, offset: number): void {
    this.#parts.box.addUnchained(consumer, offset)
    this.#parts.cursor.pumpSoon()
  }

  #fetch(offset: number, key: string | null, then: () => void): void {
    const { box, host } = this.#parts
    box.fetch(offset).then(
      (found) => {
        if (!found && box.isLive(offset)) this.#lost(offset, key)
        then()
      },
      // Another process owns the cursor's state, and this cursor ends; or the disk is full; or the servers do not
      // answer.
      () => void host.after(REST_MS, then),
    )
  }

  /** The text of an event is gone. */
  #lost(offset: number, key: string | null): void {
    const { box, group, host, log, settling, state } = this.#parts
    const message = `consumer "${group}" kept the event at offset ${offset} of channel "${log.name}" among its dead letters, but the text is gone: the event is not handled again`
    host.alarm(new MillraceError('DATA_DAMAGED', message, { channel: log.name, offset }))
    for (const consumer of [...box.unchained.keys()]) if (key === null) box.takeUnchained(consumer, offset)
    box.done(offset, key)
    settling.settle(null, offset, true)
    host.touch(state)
  }
}

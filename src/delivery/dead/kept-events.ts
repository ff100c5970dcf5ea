/**
 * What a cursor keeps among its dead letters, handed out again: chains in order, one event of a key at a time, and redriven events without a key in
 * their order (clauses 4, 6).
 *
 * Invariants:
 * - An event joins a chain only when no earlier event of its key waits in the lane or is in a handler's hands; until then it waits in the lane itself.
 * - A text that is not at hand is fetched. One that is gone is told by an alarm and counts as settled, and what is behind it goes on.
 */

import { MillraceError } from '../../base/errors.ts'
import { nextTurn } from '../../base/timers.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { DeadRecord } from '../consumer-records.ts'
import type { Cursor } from '../cursor/cursor.ts'
import type { EventBlock } from '../delivery-log.ts'
import type { Instance } from '../dispatch/instance.ts'
import type { Lane } from '../dispatch/lane.ts'
import type { LaneTable } from '../dispatch/lane-table.ts'
import type { Chain } from './dead-letter-box.ts'

/** Redriven events that join their chains in one turn of the event loop, at most. */
const TURN_MAX = 500

export interface KeptHost {
  /** The block of a lane's first event; null while it is being read, or where the lane is empty. */
  front(lane: Lane): EventBlock | null
  /** Whether the event's next attempt is due; if not, its lane is blocked until then. */
  due(lane: Lane, offset: number): boolean
  unblock(lane: Lane): void
  /** Nobody here is for the event of a block. */
  unwanted(block: EventBlock, offset: number): void
  hand(instance: Instance, lane: Lane, event: DeadRecord, offset: number): void
  /** Run a task when the event's next attempt is due. False where it is due. */
  later(offset: number, task: () => void): boolean
  /** Run a task again that has failed. */
  afterAWhile(task: () => void): void
  /** An event that is kept is settled. */
  settled(offset: number): void
  /** What was settled is to be written. */
  touch(): void
  alarm(error: unknown): void
}

export class KeptEvents {
  readonly #cursor: Cursor
  readonly #lanes: LaneTable
  readonly #host: KeptHost
  /** Texts are being fetched for redriven events without a chain, or the event loop has its turn. */
  #resting = false

  constructor(cursor: Cursor, lanes: LaneTable, host: KeptHost) {
    this.#cursor = cursor
    this.#lanes = lanes
    this.#host = host
  }

  /** Whether a new event of a key that has a chain may join it now. */
  mayJoin(lane: Lane | undefined, offset: number): boolean {
    if (this.#cursor.takers.claims.has(offset)) return false
    return lane === undefined || (lane.waiting === 0 && (lane.busy === 0 || lane.redriven))
  }

  join(chain: Chain, event: EncodedEvent, offset: number, timeMs: number): void {
    const { box, done, group, takers } = this.#cursor
    box.join(chain, takers.instances[0]?.spec.name ?? group, event, offset, timeMs)
    done.add(offset)
    this.#host.touch()
  }

  /** What the lane still holds of the log joins the chain; then the chain's head is handed out, unless it is dead. */
  giveChain(lane: Lane, chain: Chain): void {
    // What is in hands comes before what waits in the lane, and may come back to it.
    if (lane.busy > 0 && (!lane.redriven || (lane.waiting > 0 && lane.first < lane.last))) return
    const { box, takers } = this.#cursor
    while (lane.waiting > 0) {
      // Nothing is read before it may join.
      if (box.crowded) return this.#lanes.setAside(lane)
      const block = this.#host.front(lane)
      if (block === null) break
      const offset = lane.shift()
      if (!takers.wants(block, offset - block.firstOffset)) this.#host.unwanted(block, offset)
      else this.join(chain, block.at(offset - block.firstOffset), offset, block.timeAt(offset - block.firstOffset))
    }
    if (lane.waiting > 0 || lane.busy > 0) return
    const head = chain.offsets.first
    if (chain.dead || head === undefined) this.#lanes.forget(lane)
    else if (box.stops(chain)) this.#lanes.setAside(lane)
    else if (!lane.blocked) this.#giveHead(lane, chain, head)
  }

  #giveHead(lane: Lane, chain: Chain, offset: number): void {
    const { box, log, takers } = this.#cursor
    const record = box.event(offset)
    if (record === undefined) {
      lane.blocked = true
      this.#fetch(offset, chain.key, () => this.#host.unblock(lane))
      return
    }
    const instance = takers.pickKept(record)
    if (instance === 'nobody' && log.spec.kind === 'stream') this.#pass(lane, offset, chain.key)
    else if (typeof instance === 'string') this.#lanes.setAside(lane)
    else if (instance.keys.mayTake(chain.key, this.#cursor) && this.#host.due(lane, offset))
      this.#host.hand(instance, lane, record, offset)
  }

  /** Nobody wants it any more. */
  #pass(lane: Lane, offset: number, key: string): void {
    this.#cursor.box.done(offset, key)
    this.#host.settled(offset)
    this.#lanes.enqueue(lane)
  }

  /** Redriven events without a chain, each consumer's in their order. */
  giveLoose(): void {
    const { box, takers } = this.#cursor
    let left = TURN_MAX
    for (const [consumer, offsets] of this.#resting ? [] : box.loose) {
      for (let offset = box.nextLoose(offsets); offset !== undefined; offset = box.nextLoose(offsets)) {
        const instance = takers.of(consumer)
        if (instance === undefined) break
        if (left-- === 0) return void nextTurn(this.#rest())
        if (!this.#giveLoose(instance, offset)) return
      }
    }
  }

  /** Nothing without a chain is given until what it answers is called. */
  #rest(): () => void {
    this.#resting = true
    return () => {
      this.#resting = false
      this.#cursor.pump()
    }
  }

  /** False while its text is being fetched. */
  #giveLoose(instance: Instance, offset: number): boolean {
    const { box } = this.#cursor
    const { name } = instance.spec
    const record = box.event(offset)
    if (record === undefined && box.isLive(offset)) {
      this.#fetch(offset, null, this.#rest())
      return false
    }
    box.takeLoose(name, offset)
    // Without a record it was dropped, or the consumer was rewound.
    if (record === undefined) return true
    if (record.key !== null) {
      const lane = this.#lanes.of(record.key)
      if (lane.busy > 0 && !lane.redriven) lane.passed = lane.last
      box.enchain(name, record.key, offset)
      this.#lanes.enqueue(lane)
    } else if (!this.#host.later(offset, () => this.loosen(name, offset)))
      this.#host.hand(instance, this.#lanes.of(null), record, offset)
    return true
  }

  /** A redriven event without a key waits again, in its place. */
  loosen(consumer: string, offset: number): void {
    this.#cursor.box.loosen(consumer, offset)
    this.#cursor.pumpSoon()
  }

  #fetch(offset: number, key: string | null, then: () => void): void {
    this.#cursor.box.fetch(offset).then(
      (found) => {
        if (!found && this.#cursor.box.isLive(offset)) this.#lost(offset, key)
        then()
      },
      // The cursor has lost its place to another process, which ends this; or there is no room on the disk, or no answer from the servers.
      () => this.#host.afterAWhile(then),
    )
  }

  #lost(offset: number, key: string | null): void {
    const { box, group, log } = this.#cursor
    const message = `consumer "${group}" kept the event at offset ${offset} of channel "${log.name}" among its dead letters, but the text is gone: the event is not handled again`
    this.#host.alarm(new MillraceError('DATA_DAMAGED', message, { channel: log.name, offset }))
    for (const consumer of [...box.loose.keys()]) if (key === null) box.takeLoose(consumer, offset)
    box.done(offset, key)
    this.#host.settled(offset)
    this.#host.touch()
  }
}

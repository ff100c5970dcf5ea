/**
 * One channel as the engine holds it in memory: where its log ends, which events wait for their commit, its
 * deduplication window, and the few blocks that were read last.
 */

import { isMillraceError } from '../../base/errors.ts'
import { Meter } from '../../base/meter.ts'
import type { ChannelDescription, ChannelState } from '../../broker/description.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { PublishWaiter } from '../../broker/engine.ts'
import type { Position } from '../../broker/position.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { offsetOutOfRange } from '../../channel/channel-errors.ts'
import { fromFloat, toFloat, under } from '../../delivery/consumer-records.ts'
import type { DeliveryLog, EventBlock, LogListener } from '../../delivery/delivery-log.ts'
import { Block, decodeBlock } from '../../event/block.ts'
import { DedupeWindow } from './dedupe-window.ts'
import type { FreshBlock } from './fresh-block.ts'
import { keys } from './records.ts'
import type { Store, StoredBlock } from './store.ts'

/** Bytes of events read at a time for the deduplication window. */
const RECALL_BYTES = 1024 * 1024

function refuse(error: unknown): never {
  throw error
}

/** The waiter of every event of a batch except the last. A commit never ends after an event with this waiter. */
export const CONTINUES: PublishWaiter = { done: () => undefined, fail: () => undefined }

/** An event that another engine stored first. It keeps the time at which that engine stored it. */
export class Carried implements EncodedEvent {
  readonly id: string
  readonly type: string
  readonly key: string | null
  readonly text: string
  readonly timeMs: number

  constructor({ id, type, key, text, timeMs }: EncodedEvent & { readonly timeMs: number }) {
    this.id = id
    this.type = type
    this.key = key
    this.text = text
    this.timeMs = timeMs
  }
}

const CACHED_BLOCKS = 4

/** Events, with the waiter of each. An event with the waiter null cannot be refused. */
export interface Waiting {
  readonly events: readonly EncodedEvent[]
  readonly waiters: readonly (PublishWaiter | null)[]
}

function holds(block: EventBlock, offset: number): boolean {
  return offset >= block.firstOffset && offset < block.firstOffset + block.count
}

/**
 * A block of the store as a block whose events can be read. The checksum of its extent was checked when it was read.
 */
export function asBlock(channelId: number, block: StoredBlock): Block {
  return block instanceof Block ? block : decodeBlock(channelId, block.bytes, false)
}

export class ChannelLog implements DeliveryLog {
  readonly id: number
  readonly name: string
  spec: ChannelSpec
  /** Events below this offset are removed: by retention, or because a queue is done with them. */
  first: number
  /** Offset after the last durable event. */
  committed: number
  /** The offset that the next published event gets, provided that everything pending is committed. */
  tail: number
  lastTimeMs = 0
  /** The ids that the channel has seen; null where the channel does not deduplicate. `recall` fills it. */
  dedupe: DedupeWindow | null = null
  /** Whether the window contains the ids of the stored events. Until then nothing is published. */
  recalled = false
  readonly listeners: Set<LogListener> = new Set()
  readonly meter: Meter = new Meter()
  /** The due times of delayed events whose timers are not committed yet, by id. */
  readonly scheduling: Map<string, number> = new Map()
  /** The number of emissions for which it is not known yet whether their ids are new. */
  undecided = 0
  /** Whether the channel may have delayed events. */
  mayHaveScheduled = false
  /** Whether pending events may include ones that another engine stored before (`Carried`). */
  carries = false
  #recalling: Promise<void> | null = null
  /** Events that wait for their commit, and their waiters in `waiters`. */
  pending: EncodedEvent[] = []
  waiters: (PublishWaiter | null)[] = []
  /** The events of this channel in the commit that runs now. */
  committing: Waiting | null = null
  /** When the first pending event arrived. */
  pendingMs = 0
  removed = false
  readonly #store: Store<Block>
  #cache: Block[] = []
  /** The events of the last commits, as they were published. */
  #fresh: FreshBlock[] = []

  constructor(id: number, spec: ChannelSpec, first: number, store: Store<Block>) {
    this.id = id
    this.name = spec.name
    this.spec = spec
    this.first = first
    this.#store = store
    this.committed = store.bounds(id).next
    this.tail = this.committed
    this.#beginWindow()
  }

  /** Take another spec. If its deduplication differs, a new window begins. */
  respec(spec: ChannelSpec): void {
    const before = JSON.stringify(this.spec.dedupe)
    this.spec = spec
    if (JSON.stringify(spec.dedupe) !== before) this.#beginWindow()
  }

  #beginWindow(): void {
    const { dedupe } = this.spec
    this.dedupe = dedupe === null ? null : new DedupeWindow(dedupe)
    this.recalled = dedupe === null || this.tail === 0
    this.#recalling = null
  }

  describe(elapsedMs: number): ChannelDescription {
    const scheduled = this.mayHaveScheduled ? this.#store.count(...under(keys.scheduledOf(this.id))) : 0
    return { ...this.state(elapsedMs), scheduled }
  }

  /** The description without the number of delayed events, which needs a range of the store. */
  state(elapsedMs: number): ChannelState {
    const { name, spec, first, committed, meter } = this
    const { kind, types } = spec
    return { name, kind, types, first, next: committed, bytes: this.#store.size(this.id), rate: meter.rate(elapsedMs) }
  }

  push(event: EncodedEvent, waiter: PublishWaiter | null): number {
    this.pending.push(event)
    this.waiters.push(waiter)
    this.dedupe?.add(event.id, this.tail, this.carries && event instanceof Carried ? event.timeMs : this.pendingMs)
    return this.tail++
  }

  /** The event at an offset that is not durable yet, and whether it can still be refused. */
  uncommitted(offset: number): { readonly event: EncodedEvent; readonly refusable: boolean } | undefined {
    const committing = this.committing?.events.length ?? 0
    const at = offset - this.committed
    const [events, waiters, index] =
      at < committing && this.committing !== null
        ? [this.committing.events, this.committing.waiters, at]
        : [this.pending, this.waiters, at - committing]
    const event = events[index]
    return event === undefined ? undefined : { event, refusable: waiters[index] !== null }
  }

  /**
   * Clause 13: add the records that say where the latest event of each key is, for the commit that stores the events.
   */
  noteLatest(
    events: readonly EncodedEvent[],
    firstOffset: number,
    into: (readonly [key: string, value: Uint8Array])[],
  ): void {
    if (!this.spec.retain.latestByKey || this.removed) return
    for (let index = 0; index < events.length; index++) {
      const { key } = events[index] as EncodedEvent
      if (key !== null) into.push([keys.latest(this.id, key), toFloat(firstOffset + index)])
    }
  }

  /** Clause 13: whether the channel has a later event of this key, which replaces this one. */
  superseded(key: string | null, offset: number): boolean {
    if (!this.spec.retain.latestByKey || key === null) return false
    const latest = this.#store.get(keys.latest(this.id, key))
    return latest !== undefined && fromFloat(latest) > offset
  }

  /**
   * The offset that a position names.
   * @throws OFFSET_OUT_OF_RANGE
   */
  seek(position: Position): number {
    if ('at' in position) return position.at === 'beginning' ? this.first : this.committed
    if ('timeMs' in position) return Math.max(this.first, this.#store.seek(this.id, position.timeMs))
    const { offset } = position
    if (Number.isInteger(offset) && offset >= 0 && offset <= this.committed) return Math.max(this.first, offset)
    throw offsetOutOfRange(this.name, offset, this.first, this.committed)
  }

  /** The block that holds an offset, if it is in memory. */
  blockInMemory(offset: number): EventBlock | undefined {
    for (const block of this.#fresh) if (holds(block, offset)) return block
    for (const block of this.#cache) if (holds(block, offset)) return block
    return this.#store.peek(this.id, offset)
  }

  /** Offer committed events to consumers as they were published, until `letGo`. */
  offer(block: FreshBlock): void {
    this.#fresh.push(block)
  }

  letGo(block: FreshBlock): void {
    block.empty()
    this.#fresh = this.#fresh.filter((other) => other !== block)
  }

  /** Blocks from an offset on, read from the store: at least one, if the channel has any there. */
  async load(offset: number, maxBytes: number): Promise<Block[]> {
    const stored = await this.#store.read(this.id, offset, maxBytes)
    return stored.map((block) => asBlock(this.id, block))
  }

  /** Read the block of one offset into the cache. */
  async cache(offset: number): Promise<Block | undefined> {
    const [block] = await this.load(offset, 1)
    if (block === undefined) return undefined
    this.#cache.unshift(block)
    if (this.#cache.length > CACHED_BLOCKS) this.#cache.pop()
    return block
  }

  /**
   * Fill the deduplication window from the stored events: once, before the first publish. Damaged events raise `alarm`
   * and are skipped: their ids are not known. Without `alarm`, damage is thrown.
   */
  recall(nowMs: number, alarm: (error: unknown) => void = refuse): Promise<void> {
    if (this.recalled) return Promise.resolve()
    if (this.#recalling === null) {
      const { dedupe } = this
      const recalling = this.#recall(nowMs, alarm)
      this.#recalling = recalling
      // This handler is registered first, so earlier callers continue first, in their order, and before later ones.
      recalling.then(
        () => {
          if (this.dedupe === dedupe) this.recalled = true
        },
        () => {
          if (this.#recalling === recalling) this.#recalling = null
        },
      )
    }
    return this.#recalling
  }

  /** The oldest offset that the window may still compare: events from here on are needed for their ids. */
  windowStart(nowMs: number): number {
    if (this.recalled) return this.dedupe?.startOffset(nowMs, this.committed) ?? this.committed
    return this.#oldestKnown(nowMs, refuse)
  }

  #oldestKnown(nowMs: number, alarm: (error: unknown) => void): number {
    const { ageMs, count } = this.spec.dedupe ?? { ageMs: 0, count: 0 }
    return Math.min(
      this.committed,
      Math.max(this.committed - count, this.#seek(nowMs - ageMs, alarm), this.#store.bounds(this.id).first),
    )
  }

  async #recall(nowMs: number, alarm: (error: unknown) => void): Promise<void> {
    const { dedupe } = this
    if (dedupe === null) return
    let offset = this.#oldestKnown(nowMs, alarm)
    while (offset < this.committed) {
      const blocks = await this.#undamaged(offset, alarm)
      if (blocks.length === 0) {
        const [run] = this.#store.sizes(this.id, offset)
        if (run === undefined || run.end <= offset) break
        offset = run.end
      }
      for (const block of blocks) {
        for (let index = block.holes(0); index < block.count; index += 1 + block.holes(index + 1)) {
          dedupe.add(block.idAt(index), block.firstOffset + index, block.timeMs)
        }
        offset = block.firstOffset + block.count
      }
    }
    for (offset = this.committed; offset < this.tail; offset++)
      dedupe.add(this.uncommitted(offset)?.event.id ?? '', offset, this.pendingMs)
  }

  #seek(timeMs: number, alarm: (error: unknown) => void): number {
    try {
      return this.#store.seek(this.id, timeMs)
    } catch (error) {
      alarm(error)
      return 0
    }
  }

  /** Blocks from an offset on; none if the block there is damaged. */
  async #undamaged(offset: number, alarm: (error: unknown) => void): Promise<Block[]> {
    for (const maxBytes of [RECALL_BYTES, 1]) {
      try {
        return await this.load(offset, maxBytes)
      } catch (error) {
        if (!isMillraceError(error, 'DATA_DAMAGED')) throw error
        alarm(error)
      }
    }
    return []
  }
}

/**
 * A log as a cursor sees it: the events of one channel, or of one partition of it, at offsets that follow each other.
 *
 * Where the broker underneath leaves gaps, the log fills them with holes: they are nobody's, and settled when they are met.
 */
import type { ChannelSpec } from '../channel/channel.ts'
import type { BlockEvent } from '../event/block.ts'

/** Neighbouring events of a log. */
export interface EventBlock {
  readonly firstOffset: number
  readonly count: number
  /** The event at a place in the block, 0 to count − 1. */
  at(index: number): BlockEvent
  typeAt(index: number): string
  /** When the event there was stored, in milliseconds since the epoch. */
  timeAt(index: number): number
  /** How many places from this one on have no event: 0 where there is one. */
  holes(index: number): number
}

/** Told when events were committed to a log: the block, or null where another process wrote them. */
export interface LogListener {
  onCommitted(block: EventBlock | null): void
}

export interface DeliveryLog {
  /** A number for records. */
  readonly id: number
  /** The channel's name. */
  readonly name: string
  readonly spec: Pick<ChannelSpec, 'kind'>
  /** Events below are gone. */
  readonly first: number
  /** Offset after the last durable event. */
  readonly committed: number
  readonly listeners: Set<LogListener>
  /** Whether a later event of the key stands in this one's place. */
  superseded(key: string | null, offset: number): boolean
  /** The block that holds an offset, if it is in memory. */
  blockInMemory(offset: number): EventBlock | undefined
  /** Blocks from an offset on: at least one, if the log has any there. */
  load(offset: number, maxBytes: number): Promise<EventBlock[]>
  /** The block of one offset, which then stays in memory for a while. */
  cache(offset: number): Promise<EventBlock | undefined>
}

/**
 * A log as a cursor sees it: the events of one channel, or of one partition of a channel, at consecutive offsets.
 *
 * An offset without an event is a hole. Holes stand for gaps that a server leaves, and for events of other
 * partitions. A cursor settles a hole when it reads it.
 */
import type { ChannelSpec } from '../channel/channel.ts'
import type { BlockEvent } from '../event/block.ts'

/** Consecutive events of a log. */
export interface EventBlock {
  readonly firstOffset: number
  readonly count: number
  /** The event at an index, from 0 to count − 1. */
  at(index: number): BlockEvent
  typeAt(index: number): string
  /** When the event at an index was stored, in milliseconds since the epoch. */
  timeAt(index: number): number
  /** How many holes there are from an index on: 0 where the index has an event. */
  holes(index: number): number
}

/** Called after events were committed to a log: with their block, or with null where another process wrote them. */
export interface LogListener {
  onCommitted(block: EventBlock | null): void
}

export interface DeliveryLog {
  /** The number of the log in records. */
  readonly id: number
  /** The channel's name. */
  readonly name: string
  readonly spec: Pick<ChannelSpec, 'kind' | 'schemas'>
  /** The log no longer has the events below this offset. */
  readonly first: number
  /** The offset after the last durable event. */
  readonly committed: number
  readonly listeners: Set<LogListener>
  /** Whether a later event of the key has replaced this one. */
  superseded(key: string | null, offset: number): boolean
  /** The block that holds an offset, if it is in memory. */
  blockInMemory(offset: number): EventBlock | undefined
  /** Consecutive blocks from an offset on, up to `maxBytes`: at least one, if the log has events there. */
  load(offset: number, maxBytes: number): Promise<EventBlock[]>
  /** The block of one offset. It stays in memory for a while. */
  cache(offset: number): Promise<EventBlock | undefined>
}

/**
 * The events of a commit as they were published, for consumers that process them at once. So they are not decoded from
 * the block's bytes again, and several consumers share the same objects.
 *
 * The block is emptied soon after the commit. If events were kept until they are written to the segments, each garbage
 * collection would copy them. Code that still holds an empty block reads the events from the stored bytes.
 */
import type { EventBlock } from '../../delivery/delivery-log.ts'
import type { BlockEvent } from '../../event/block.ts'

export class FreshBlock implements EventBlock {
  readonly firstOffset: number
  readonly timeMs: number
  #events: readonly BlockEvent[]

  constructor(firstOffset: number, timeMs: number, events: readonly BlockEvent[]) {
    this.firstOffset = firstOffset
    this.timeMs = timeMs
    this.#events = events
  }

  get count(): number {
    return this.#events.length
  }

  at(index: number): BlockEvent {
    return this.#events[index] as BlockEvent
  }

  typeAt(index: number): string {
    return this.at(index).type
  }

  timeAt(): number {
    return this.timeMs
  }

  holes(): number {
    return 0
  }

  /** Drop the events. */
  empty(): void {
    this.#events = []
  }
}

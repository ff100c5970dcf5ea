/**
 * The events of a commit, as they were published, for who takes them up at once: it need not read them out of the block's bytes again, and
 * five consumers share what would otherwise be made five times.
 *
 * They are let go of soon after the commit: kept until they are applied, they would be copied by every collection of garbage. From then on
 * the block holds nothing, and whoever still has it looks the events up by their bytes.
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

  /** Hold no events any more. */
  empty(): void {
    this.#events = []
  }
}

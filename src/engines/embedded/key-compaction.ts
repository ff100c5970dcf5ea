/**
 * Compacts a stream that keeps the latest event of each key: makes blocks without the events that later ones have
 * replaced.
 *
 * Offsets stay. A few removed events become holes in their block. A longer run becomes a void block, whose size does
 * not depend on its length. The new blocks cover the same offsets as the old ones.
 */
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import { type Block, type BlockEvent, encodeBlock, HOLE, voidBlock } from '../../event/block.ts'

/** The smallest run of removed events that gets a block of its own. */
const VOID_MIN = 8
/** Blocks are rewritten only if this share of their bytes is saved. */
const GAIN_MIN = 0.25

class Remainder {
  readonly blocks: Block[] = []
  readonly #channelId: number
  #events: BlockEvent[] = []
  #firstOffset = 0
  #timeMs = 0
  #gone = { firstOffset: 0, count: 0, timeMs: 0 }

  constructor(channelId: number) {
    this.#channelId = channelId
  }

  /** The time of a void block is that of its last event, so a seek to a time within it finds the events after it. */
  gone(offset: number, count: number, timeMs: number): void {
    this.#gone =
      this.#gone.count === 0
        ? { firstOffset: offset, count, timeMs }
        : { ...this.#gone, count: this.#gone.count + count, timeMs }
  }

  kept(offset: number, event: EncodedEvent, timeMs: number): void {
    if (this.#events.length > 0 && this.#timeMs === timeMs && this.#gone.count < VOID_MIN) {
      for (let hole = 0; hole < this.#gone.count; hole++) this.#events.push(HOLE)
      this.#gone.count = 0
    } else this.end()
    if (this.#events.length === 0) [this.#firstOffset, this.#timeMs] = [offset, timeMs]
    this.#events.push(event)
  }

  end(): void {
    if (this.#events.length > 0)
      this.blocks.push(encodeBlock(this.#channelId, this.#firstOffset, this.#timeMs, this.#events))
    this.#events = []
    const { firstOffset, count, timeMs } = this.#gone
    if (count > 0) this.blocks.push(voidBlock(this.#channelId, firstOffset, count, timeMs))
    this.#gone = { firstOffset: 0, count: 0, timeMs: 0 }
  }
}

/** Whether an event is to be removed. */
export type IsGone = (key: string | null, offset: number, type: string, timeMs: number) => boolean

/**
 * The blocks that replace neighbouring blocks of a channel, or null if too little would be saved: less than the share
 * `gainMin`, or nothing.
 */
export function withoutSuperseded(
  channelId: number,
  blocks: readonly Block[],
  superseded: IsGone,
  gainMin: number = GAIN_MIN,
): Block[] | null {
  const left = new Remainder(channelId)
  let removed = 0
  for (const block of blocks) {
    for (let index = 0; index < block.count; ) {
      const offset = block.firstOffset + index
      const holes = block.holes(index)
      if (holes > 0) {
        left.gone(offset, holes, block.timeMs)
        index += holes
        continue
      }
      if (superseded(block.keyAt(index), offset, block.typeAt(index), block.timeMs)) {
        left.gone(offset, 1, block.timeMs)
        removed++
      } else left.kept(offset, block.at(index), block.timeMs)
      index++
    }
  }
  left.end()
  return removed > 0 && bytesOf(left.blocks) <= bytesOf(blocks) * (1 - gainMin) ? left.blocks : null
}

function bytesOf(blocks: readonly Block[]): number {
  return blocks.reduce((sum, { bytes }) => sum + bytes.length, 0)
}

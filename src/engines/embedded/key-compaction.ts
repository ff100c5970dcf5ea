/**
 * What is left of a stream that keeps the latest event of each key: blocks without the events that a later one has taken the place of.
 *
 * Offsets stay: a few events that are gone are holes in their block, a run of them is a void block, which costs the same however long it is.
 * Blocks cover the same offsets before and after.
 */
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import { type Block, type BlockEvent, encodeBlock, HOLE, voidBlock } from '../../event/block.ts'

/** A run of so many events that are gone is worth a block of its own. */
const VOID_MIN = 8
/** What gains less than this share of the bytes is left as it is. */
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

  /** Its time is that of the last event in it: whoever seeks a time between finds what comes behind. */
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

/** The blocks that take the place of neighbouring ones of a channel, or null where too little would be gained. */
export function withoutSuperseded(
  channelId: number,
  blocks: readonly Block[],
  superseded: (key: string | null, offset: number) => boolean,
): Block[] | null {
  const left = new Remainder(channelId)
  for (const block of blocks) {
    for (let index = 0; index < block.count; ) {
      const offset = block.firstOffset + index
      const holes = block.holes(index)
      if (holes > 0) {
        left.gone(offset, holes, block.timeMs)
        index += holes
        continue
      }
      const event = block.at(index)
      if (superseded(event.key, offset)) left.gone(offset, 1, block.timeMs)
      else left.kept(offset, event, block.timeMs)
      index++
    }
  }
  left.end()
  return bytesOf(left.blocks) <= bytesOf(blocks) * (1 - GAIN_MIN) ? left.blocks : null
}

function bytesOf(blocks: readonly Block[]): number {
  return blocks.reduce((sum, { bytes }) => sum + bytes.length, 0)
}

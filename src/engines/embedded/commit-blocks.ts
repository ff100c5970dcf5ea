/**
 * Makes the blocks of one channel in a commit. Events of this process are encoded. Events that arrived from other
 * processes in blocks are copied as bytes. Short runs of those are encoded with the events around them, because a block
 * for each would cost more.
 */
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import { type Block, type BlockBytes, encodeBlock } from '../../event/block.ts'
import { EventInBlock, gatherBlock } from '../../event/event-in-block.ts'

const PASSED_MIN = 16

export function blocksOf(
  channelId: number,
  firstOffset: number,
  timeMs: number,
  events: readonly EncodedEvent[],
  memory: BlockBytes | undefined,
): Block[] {
  const blocks: Block[] = []
  /** The first event that is not in a block yet. */
  let from = 0
  const encode = (to: number): void => {
    const own = from === 0 && to === events.length ? events : events.slice(from, to)
    if (own.length > 0) blocks.push(encodeBlock(channelId, firstOffset + from, timeMs, own, memory))
  }
  for (let at = 0; at < events.length; ) {
    const passed = runInBlocks(events, at)
    if (passed.length >= PASSED_MIN) {
      encode(at)
      blocks.push(gatherBlock(channelId, firstOffset + at, timeMs, passed, memory))
      from = at + passed.length
    }
    at += Math.max(1, passed.length)
  }
  encode(events.length)
  return blocks
}

function runInBlocks(events: readonly EncodedEvent[], from: number): readonly EventInBlock[] {
  if (!(events[from] instanceof EventInBlock)) return []
  const run: EventInBlock[] = []
  for (let at = from; at < events.length; at++) {
    const event = events[at]
    if (!(event instanceof EventInBlock)) break
    run.push(event)
  }
  return run
}

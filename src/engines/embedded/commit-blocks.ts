/**
 * The blocks of one channel's part of a commit. Events that came in blocks, from other processes, go on as the bytes they are; those of this process
 * are encoded. A few that came so between others are encoded with them: a block for each would cost more.
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
  /** Where those begin that are still to be encoded. */
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

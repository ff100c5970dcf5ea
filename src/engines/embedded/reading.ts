/** Reads a channel without consuming it (clause 9), block by block, and holds one block at a time. */
import { LIMITS } from '../../base/limits.ts'
import type { EngineReadOptions, StoredText } from '../../broker/engine.ts'
import type { EventBlock, LogListener } from '../../delivery/delivery-log.ts'
import type { ChannelLog } from './channel-log.ts'

/** The events of a block from one offset to before another, without holes. */
function pick(block: EventBlock, from: number, to: number, kept: (event: StoredText) => boolean): StoredText[] {
  const events: StoredText[] = []
  const end = Math.min(block.count, to - block.firstOffset)
  for (let index = Math.max(0, from - block.firstOffset); index < end; index++) {
    index += block.holes(index)
    if (index >= end) break
    const { id, type, key, text } = block.at(index)
    const event = { id, type, key, text, offset: block.firstOffset + index, timeMs: block.timeAt(index) }
    if (kept(event)) events.push(event)
  }
  return events
}

export async function* readLog(
  log: ChannelLog,
  from: number,
  to: number | null,
  options: EngineReadOptions,
  kept: (event: StoredText) => boolean,
): AsyncGenerator<readonly StoredText[]> {
  let offset = Math.max(from, log.first)
  const end = to ?? (options.follow ? Number.POSITIVE_INFINITY : log.committed)
  while (offset < end && !options.signal.aborted && !log.removed) {
    if (offset >= log.committed) {
      if (!options.follow) return
      await committed(log, options.signal)
      continue
    }
    const recent = log.blockInMemory(offset)
    const blocks: EventBlock[] = recent === undefined ? await log.load(offset, LIMITS.readAheadBytes) : [recent]
    if (blocks.length === 0) return
    for (const block of blocks) {
      const events = pick(block, Math.max(offset, log.first), end, kept)
      offset = block.firstOffset + block.count
      if (events.length > 0) yield events
      if (options.signal.aborted) return
    }
  }
}

/** Resolves when events are committed to the channel, or when the signal aborts. */
function committed(log: ChannelLog, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      log.listeners.delete(listener)
      signal.removeEventListener('abort', stop)
      resolve()
    }
    const listener: LogListener = { onCommitted: stop }
    log.listeners.add(listener)
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
  })
}

/** Reads parts of a channel from its end, until a number of bytes was read. What is left can be read later. */
import { isMillraceError } from '../base/errors.ts'
import type { Engine, StoredText } from '../broker/engine.ts'

/** The offsets from one to before another. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** The next piece has at most this many times the offsets of the piece before. */
const GROWTH = 8

/**
 * Read the spans, of which the newest is the first. Engines read forwards only, so a span is read in pieces, the last
 * piece first. The first piece is one event: the newest is always read. Further pieces have as many as the bytes
 * suffice for, if events are as large as those before. At most one event is read beyond the bytes.
 */
export async function readNewestFirst(
  engine: Engine,
  channel: string,
  spans: readonly Span[],
  bytesMax: number,
  use: (stored: StoredText) => void,
): Promise<{ readonly bytes: number; readonly left: readonly Span[] }> {
  const left: Span[] = []
  let [bytes, offsets, size] = [0, 0, 1]
  for (const span of spans) {
    let to = span.to
    while (to > span.from && bytes <= bytesMax) {
      const piece = { from: Math.max(span.from, to - size), to }
      let read = piece.from
      for await (const stored of textsOf(engine, channel, piece)) {
        bytes += stored.text.length
        read = stored.offset + 1
        use(stored)
        if (bytes > bytesMax) break
      }
      // Offsets without an event are read too: retention, or another system, has removed it.
      if (bytes > bytesMax && read < to) left.push({ from: read, to })
      offsets += to - piece.from
      to = piece.from
      const affordable = Math.floor((bytesMax - bytes) / Math.max(1, bytes / offsets))
      size = Math.max(1, Math.min(size * GROWTH, affordable))
    }
    if (to > span.from) left.push({ from: span.from, to })
  }
  return { bytes, left }
}

async function* textsOf(engine: Engine, channel: string, { from, to }: Span): AsyncGenerator<StoredText> {
  const reading = new AbortController()
  const range = { from: { offset: from }, to: { offset: to }, follow: false, signal: reading.signal }
  try {
    for await (const batch of engine.read(channel, range)) yield* batch
  } catch (error) {
    // The events were removed by retention meanwhile, or the channel was removed: there is nothing to read.
    if (!isMillraceError(error, 'UNKNOWN_CHANNEL') && !isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
  } finally {
    reading.abort()
  }
}

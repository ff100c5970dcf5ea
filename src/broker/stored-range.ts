/** Reads a few stored events by their offsets. */
import { isMillraceError } from '../base/errors.ts'
import type { Engine, StoredText } from './engine.ts'

type Read = Pick<Engine, 'read'>

/** The stored events from an offset up to, and without, another. @throws UNKNOWN_CHANNEL */
export async function* storedBetween(
  engine: Read,
  channel: string,
  from: number,
  to: number,
): AsyncGenerator<StoredText> {
  const reading = new AbortController()
  try {
    const range = { from: { offset: from }, to: { offset: to }, follow: false, signal: reading.signal }
    for await (const batch of engine.read(channel, range)) yield* batch
  } catch (error) {
    // The offsets are beyond the end: the channel was removed and declared again after somebody noted them.
    if (!isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
  } finally {
    reading.abort()
  }
}

/** The stored event at an offset; null where there is none. @throws UNKNOWN_CHANNEL */
export async function storedAt(engine: Read, channel: string, offset: number): Promise<StoredText | null> {
  for await (const event of storedBetween(engine, channel, offset, offset + 1))
    if (event.offset === offset) return event
  return null
}

/**
 * The position of an event stream as text, which the client sends back in `Last-Event-ID`.
 *
 * - One channel: the offset of its last event, `41`.
 * - Several channels: `carts=41,orders=7`. A channel that is not named was not read yet.
 * - Wildcards and no channel read yet: `*`, so that a client that reconnects is not treated as a new one.
 */
import { badRequest } from './problem.ts'
import type { StreamChannels } from './stream-channels.ts'

const NONE_YET = '*'

/** The last offset of each channel that the stream has now, as text. */
export function writeCursor(
  stream: StreamChannels,
  channels: Iterable<string>,
  last: ReadonlyMap<string, number>,
): string {
  if (stream.single) return String(last.get(stream.named[0] as string) ?? '')
  const parts = [...channels].flatMap((channel) => (last.has(channel) ? [`${channel}=${last.get(channel)}`] : []))
  return parts.length === 0 && stream.wild ? NONE_YET : parts.join(',')
}

/**
 * The last offset of each channel, from the text. With wildcards, it may name channels that no longer exist. @throws
 * INVALID_REQUEST
 */
export function readCursor(stream: StreamChannels, text: string): Map<string, number> {
  const last = new Map<string, number>()
  if (text === '' || (stream.wild && text === NONE_YET)) return last
  if (stream.single && /^-?\d{1,15}$/.test(text)) return last.set(stream.named[0] as string, Number(text))
  for (const part of text.split(',')) {
    const [, channel, offset] = /^(.+)=(-?\d{1,15})$/.exec(part) ?? []
    if (channel === undefined || !stream.has(channel)) {
      throw badRequest(
        400,
        `Last-Event-ID "${text.slice(0, 60)}" is not from this stream: send the id of the last event`,
        { lastEventId: text.slice(0, 200) },
      )
    }
    last.set(channel, Number(offset))
  }
  return last
}

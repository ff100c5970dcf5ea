/**
 * Where an event stream is, as the text that `Last-Event-ID` brings back.
 *
 * Of one channel: the offset of the last event, `41`. Of several: `carts=41,orders=7`. A channel that is not named was not read yet. With wildcards and
 * no channel read: `*`, so that a client that comes back is not taken for a new one.
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
  const places = [...channels].flatMap((channel) => (last.has(channel) ? [`${channel}=${last.get(channel)}`] : []))
  return places.length === 0 && stream.wild ? NONE_YET : places.join(',')
}

/** The last offset of each channel, from the text. With wildcards, a channel that is gone may be among them. @throws INVALID_REQUEST */
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

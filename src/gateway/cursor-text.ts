/**
 * Where an event stream is, as the text that `Last-Event-ID` brings back.
 *
 * Of one channel: the offset of the last event, `41`. Of several: `carts=41,orders=7`. A channel that is not named was not read yet.
 */
import { badRequest } from './problem.ts'

/** The last offset of each channel, as text. */
export function writeCursor(channels: readonly string[], last: ReadonlyMap<string, number>): string {
  if (channels.length === 1) return String(last.get(channels[0] as string) ?? '')
  return channels.flatMap((channel) => (last.has(channel) ? [`${channel}=${last.get(channel)}`] : [])).join(',')
}

/** The last offset of each channel, from the text. @throws INVALID_REQUEST */
export function readCursor(channels: readonly string[], text: string): Map<string, number> {
  const last = new Map<string, number>()
  if (text === '') return last
  if (channels.length === 1 && /^-?\d{1,15}$/.test(text)) return last.set(channels[0] as string, Number(text))
  for (const part of text.split(',')) {
    const [, channel, offset] = /^(.+)=(-?\d{1,15})$/.exec(part) ?? []
    if (channel === undefined || !channels.includes(channel)) {
      throw badRequest(400, `Last-Event-ID "${text.slice(0, 60)}" is not from this stream: send the id of the last event`, { lastEventId: text.slice(0, 200) })
    }
    last.set(channel, Number(offset))
  }
  return last
}

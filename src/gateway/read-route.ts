/**
 * `GET /channels/:channel/events?from=&to=&limit=&where=`: a page of a channel, without consuming.
 *
 * The answer is a CloudEvents batch, each event as it was published; `Link: <…>; rel="next"` leads on. With
 * `Accept: application/json` it is `{ channel, events: [{ offset, event }], next }` instead.
 */
import type { Context } from 'hono'
import { LIMITS } from '../base/limits.ts'
import { checkName } from '../base/names.ts'
import type { Broker, ReadOptions } from '../broker/broker.ts'
import { toJsonFormat } from '../event/http/encode-http.ts'
import { BATCHED } from '../event/http/media-type.ts'
import { countOf, parameters, patternOf, placeOf } from './query.ts'

interface Page {
  readonly offsets: readonly number[]
  /** JSON texts. */
  readonly events: readonly string[]
  /** Where the next page begins; `null` when this one reached the end. */
  readonly next: number | null
}

export async function readRoute(c: Context, broker: Broker): Promise<Response> {
  const channel = checkName(c.req.param('channel'), 'channel')
  const { from, to, limit, where } = parameters(c.req.url, ['from', 'to', 'limit', 'where'])
  const most = limit === undefined ? LIMITS.gatewayPageEventsDefault : countOf('limit', limit, 1, LIMITS.gatewayPageEventsMax)
  const page = await readPage(broker, channel, most, {
    ...(from !== undefined && { from: placeOf('from', from) }),
    ...(to !== undefined && { to: placeOf('to', to) }),
    ...(where !== undefined && { where: patternOf(where) }),
    signal: c.req.raw.signal,
  })
  if (page.next !== null) c.header('link', `<${nextUrl(c.req.url, page.next)}>; rel="next"`)
  if (!wantsOffsets(c.req.header('accept'))) return c.body(`[${page.events.join(',')}]`, 200, { 'content-type': `${BATCHED}; charset=utf-8` })
  const events = page.events.map((event, index) => `{"offset":${page.offsets[index]},"event":${event}}`)
  return c.body(`{"channel":${JSON.stringify(channel)},"events":[${events.join(',')}],"next":${page.next}}`, 200, { 'content-type': 'application/json' })
}

async function readPage(broker: Broker, channel: string, limit: number, options: ReadOptions): Promise<Page> {
  const offsets: number[] = []
  const events: string[] = []
  let bytes = 0
  for await (const stored of broker.read(channel, options)) {
    const text = JSON.stringify(toJsonFormat(stored))
    bytes += text.length
    if (events.length === limit || (events.length > 0 && bytes > LIMITS.gatewayPageBytesMax)) return { offsets, events, next: stored.offset }
    offsets.push(stored.offset)
    events.push(text)
  }
  return { offsets, events, next: null }
}

/** The same request, further on. Relative, so that it holds behind a proxy. */
function nextUrl(url: string, next: number): string {
  const { pathname, searchParams } = new URL(url)
  searchParams.set('from', String(next))
  return `${pathname}?${searchParams}`
}

function wantsOffsets(accept: string | undefined): boolean {
  return accept !== undefined && /(?:^|,)\s*application\/json\b/i.test(accept)
}

/**
 * `GET /channels/{channel}/events?from=&to=&limit=&where=`: a page of a channel, without consuming.
 *
 * The answer is a CloudEvents batch, each event as it was published; `Link: <…>; rel="next"` leads on. With
 * `Accept: application/json` it is `{ channel, events: [{ offset, event }], next }` instead.
 */
import { LIMITS } from '../base/limits.ts'
import type { Broker, ReadOptions } from '../broker/broker.ts'
import { toJsonFormat } from '../event/http/encode-http.ts'
import { BATCHED } from '../event/http/media-type.ts'
import { countOf, patternOf, placeOf } from './query.ts'
import type { GatewayRequest, Route } from './route.ts'
import { CHANNEL, FROM, ref, WHERE } from './schemas.ts'

interface Page {
  readonly offsets: readonly number[]
  /** JSON texts. */
  readonly events: readonly string[]
  /** Where the next page begins; `null` when this one reached the end. */
  readonly next: number | null
}

export function readRoute(broker: Broker): Route {
  return {
    method: 'GET',
    path: '/channels/{channel}/events',
    name: 'readEvents',
    summary: 'Read a page of a channel, without consuming.',
    tag: 'events',
    access: { action: 'read', of: 'channel' },
    parameters: { channel: CHANNEL },
    query: {
      from: { ...FROM, description: `${FROM.description} The beginning unless it is said.` },
      to: { ...FROM, description: `Stop before it: ${FROM.description} The end unless it is said.` },
      limit: {
        description: 'At most so many events.',
        schema: { type: 'integer', minimum: 1, maximum: LIMITS.gatewayPageEventsMax, default: LIMITS.gatewayPageEventsDefault },
      },
      where: WHERE,
    },
    headers: { accept: { description: 'application/json gives offsets, too.', schema: { type: 'string' } } },
    answers: {
      200: {
        description: 'The events, in the order of their offsets.',
        headers: { link: { description: '<…>; rel="next" when there is more.', schema: { type: 'string' } } },
        content: {
          [BATCHED]: { type: 'array', items: ref('CloudEvent') },
          'application/json': {
            type: 'object',
            required: ['channel', 'events', 'next'],
            properties: {
              channel: { type: 'string' },
              events: {
                type: 'array',
                items: { type: 'object', required: ['offset', 'event'], properties: { offset: { type: 'integer' }, event: ref('CloudEvent') } },
              },
              next: { type: ['integer', 'null'] },
            },
          },
        },
      },
    },
    refuses: ['INVALID_PATTERN', 'UNKNOWN_CHANNEL', 'CLOSED'],
    handle: (request) => read(request, broker),
  }
}

async function read(request: GatewayRequest, broker: Broker): Promise<Response> {
  const channel = request.parameters['channel'] as string
  const { from, to, limit, where } = request.query
  const most = limit === undefined ? LIMITS.gatewayPageEventsDefault : countOf('limit', limit, 1, LIMITS.gatewayPageEventsMax)
  const page = await readPage(broker, channel, most, {
    ...(from !== undefined && { from: placeOf('from', from) }),
    ...(to !== undefined && { to: placeOf('to', to) }),
    ...(where !== undefined && { where: patternOf(where) }),
    signal: request.signal,
  })
  const link = page.next === null ? {} : { link: `<${nextUrl(request.url, page.next)}>; rel="next"` }
  if (!wantsOffsets(request.raw.headers.get('accept'))) {
    return new Response(`[${page.events.join(',')}]`, { headers: { 'content-type': `${BATCHED}; charset=utf-8`, ...link } })
  }
  const events = page.events.map((event, index) => `{"offset":${page.offsets[index]},"event":${event}}`)
  const body = `{"channel":${JSON.stringify(channel)},"events":[${events.join(',')}],"next":${page.next}}`
  return new Response(body, { headers: { 'content-type': 'application/json', ...link } })
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

/** The same request, further on. Relative, so that it holds behind a proxy; without credentials. */
function nextUrl({ pathname, searchParams }: URL, next: number): string {
  const further = new URLSearchParams(searchParams)
  further.delete('access_token')
  further.set('from', String(next))
  return `${pathname}?${further}`
}

function wantsOffsets(accept: string | null): boolean {
  return accept !== null && /(?:^|,)\s*application\/json\b/i.test(accept)
}

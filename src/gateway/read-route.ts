/**
 * `GET /channels/{channel}/events?from=&to=&limit=&where=`: a page of a channel, without consuming.
 *
 * The response is a CloudEvents batch, with each event as it was published. `Link: <…>; rel="next"` gives the next
 * page. With `Accept: application/json` the response is `{ channel, events: [{ offset, event }], next }` instead.
 */
import { LIMITS } from '../base/limits.ts'
import { BATCHED } from '../event/http/media-type.ts'
import { filterOf, readTexts, type TextFilter, type TextReadOptions } from './channel-texts.ts'
import type { GatewayHost } from './gateway-host.ts'
import { countOf, positionOf } from './query.ts'
import type { GatewayRequest, Route } from './route.ts'
import { CHANNEL, FILTER, FROM, ref, WHERE } from './schemas.ts'

interface Page {
  readonly offsets: readonly number[]
  /** The JSON texts of the events. */
  readonly events: readonly string[]
  /** The offset at which the next page begins; `null` when this page reached the end. */
  readonly next: number | null
}

export function readRoute(host: GatewayHost): Route {
  return {
    method: 'GET',
    path: '/channels/{channel}/events',
    name: 'readEvents',
    summary: 'Read a page of a channel, without consuming.',
    tag: 'events',
    access: { action: 'read', of: 'channel' },
    parameters: { channel: CHANNEL },
    query: {
      from: { ...FROM, description: `${FROM.description} Default: the beginning.` },
      to: { ...FROM, description: `Stop before it: ${FROM.description} Default: the end.` },
      limit: {
        description: 'At most this many events.',
        schema: {
          type: 'integer',
          minimum: 1,
          maximum: LIMITS.gatewayPageEventsMax,
          default: LIMITS.gatewayPageEventsDefault,
        },
      },
      where: WHERE,
      filter: FILTER,
    },
    headers: { accept: { description: 'application/json includes offsets.', schema: { type: 'string' } } },
    answers: {
      200: {
        description: 'The events, in the order of their offsets.',
        headers: { link: { description: '<…>; rel="next" if there are more events.', schema: { type: 'string' } } },
        content: {
          [BATCHED]: { type: 'array', items: ref('CloudEvent') },
          'application/json': {
            type: 'object',
            required: ['channel', 'events', 'next'],
            properties: {
              channel: { type: 'string' },
              events: {
                type: 'array',
                items: {
                  type: 'object',
                  required: ['offset', 'event'],
                  properties: { offset: { type: 'integer' }, event: ref('CloudEvent') },
                },
              },
              next: { type: ['integer', 'null'] },
            },
          },
        },
      },
    },
    refuses: ['INVALID_PATTERN', 'INVALID_EXPRESSION', 'UNKNOWN_CHANNEL', 'OFFSET_OUT_OF_RANGE', 'CLOSED'],
    handle: (request) => read(request, host),
  }
}

async function read(request: GatewayRequest, host: GatewayHost): Promise<Response> {
  const channel = request.parameters['channel'] as string
  const { from, to, limit } = request.query
  const most =
    limit === undefined ? LIMITS.gatewayPageEventsDefault : countOf('limit', limit, 1, LIMITS.gatewayPageEventsMax)
  const page = await readPage(host, channel, most, filterOf(request.query), {
    from: from === undefined ? 'beginning' : positionOf('from', from),
    to: to === undefined ? undefined : positionOf('to', to),
    signal: request.signal,
    maySee: request.maySee,
  })
  const link = page.next === null ? {} : { link: `<${nextUrl(request.url, page.next)}>; rel="next"` }
  if (!wantsOffsets(request.raw.headers.get('accept'))) {
    return new Response(`[${page.events.join(',')}]`, {
      headers: { 'content-type': `${BATCHED}; charset=utf-8`, ...link },
    })
  }
  const events = page.events.map((event, index) => `{"offset":${page.offsets[index]},"event":${event}}`)
  const body = `{"channel":${JSON.stringify(channel)},"events":[${events.join(',')}],"next":${page.next}}`
  return new Response(body, { headers: { 'content-type': 'application/json', ...link } })
}

async function readPage(
  host: GatewayHost,
  channel: string,
  limit: number,
  filter: TextFilter | null,
  options: TextReadOptions,
): Promise<Page> {
  const offsets: number[] = []
  const events: string[] = []
  let bytes = 0
  for await (const batch of await readTexts(host.core, channel, options)) {
    for (const { text, offset } of batch) {
      if (filter !== null && !filter(text)) continue
      bytes += text.length
      if (events.length === limit || (events.length > 0 && bytes > LIMITS.gatewayPageBytesMax))
        return { offsets, events, next: offset }
      offsets.push(offset)
      events.push(text)
    }
  }
  return { offsets, events, next: null }
}

/**
 * The same request for the next page. The URL is relative, so that it works behind a proxy, and it contains no
 * credentials.
 */
function nextUrl({ pathname, searchParams }: URL, next: number): string {
  const further = new URLSearchParams(searchParams)
  further.delete('access_token')
  further.set('from', String(next))
  return `${pathname}?${further}`
}

function wantsOffsets(accept: string | null): boolean {
  return accept !== null && /(?:^|,)\s*application\/json\b/i.test(accept)
}

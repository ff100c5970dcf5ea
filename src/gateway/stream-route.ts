/**
 * `GET /channels/{channels}/stream?from=&where=`: Server-Sent Events of one channel, or of several (`carts,orders`), which then are
 * named by the SSE event type. A browser opens few connections to one host: several channels go over one.
 */

import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName } from '../base/names.ts'
import { boundsIn } from '../broker/bounds.ts'
import type { BrokerHost, From } from '../broker/broker.ts'
import { ChannelFeed } from './channel-feed.ts'
import { checkReadable, closedGateway, filterOf, type TextFilter } from './channel-texts.ts'
import { readCursor } from './cursor-text.ts'
import { EventStream } from './event-stream.ts'
import type { GatewayHost } from './gateway-host.ts'
import { badRequest } from './problem.ts'
import { placeOf } from './query.ts'
import type { GatewayPart, GatewayRequest, Route } from './route.ts'
import { CHANNEL, FILTER, FROM, WHERE } from './schemas.ts'

export interface StreamLimits {
  readonly heartbeatMs: number
  readonly stallMs: number
  readonly streamsMax: number
}

/** The open event streams of a gateway. */
export class EventStreams implements GatewayPart {
  readonly #host: GatewayHost
  readonly #limits: StreamLimits
  readonly #open = new Set<EventStream>()
  /** By channel and filters. One is there while a stream holds it. */
  readonly #feeds = new Map<string, ChannelFeed>()
  #closed = false

  constructor(host: GatewayHost, limits: StreamLimits) {
    this.#host = host
    this.#limits = limits
  }

  readonly routes: readonly Route[] = [
    {
      method: 'GET',
      path: '/channels/{channel}/stream',
      name: 'streamEvents',
      summary: 'Follow channels by Server-Sent Events. A client that reconnects with Last-Event-ID misses nothing.',
      tag: 'events',
      access: { action: 'read', of: 'channel' },
      noHead: true,
      parameters: { channel: { ...CHANNEL, description: 'One channel, or several separated by commas: each SSE event then has the name of its channel.' } },
      query: { from: { ...FROM, description: `${FROM.description} Default: the end.` }, where: WHERE, filter: FILTER },
      headers: { 'last-event-id': { description: 'The id of the last event that arrived.', schema: { type: 'string' } } },
      answers: { 200: { description: 'Each event in data, as JSON; its position in id.', content: { 'text/event-stream': { type: 'string' } } } },
      refuses: ['INVALID_PATTERN', 'INVALID_EXPRESSION', 'UNKNOWN_CHANNEL', 'OFFSET_OUT_OF_RANGE', 'BACKPRESSURE', 'CLOSED'],
      handle: (request) => this.#answer(request),
    },
  ]

  async #answer(request: GatewayRequest): Promise<Response> {
    const channels = channelsOf(request.parameters['channel'] as string)
    const filter = filterOf(request.query)
    const last = readCursor(channels, request.raw.headers.get('last-event-id') ?? '')
    const host = await this.#host.engine()
    const places = await this.#places(host, channels, last, placeOf('from', request.query['from'] ?? 'end'))
    if (this.#closed) throw closedGateway()
    if (this.#open.size >= this.#limits.streamsMax) {
      throw new MillraceError('BACKPRESSURE', `${this.#open.size} event streams are open, which is the limit: try again later`, {
        streamsMax: this.#limits.streamsMax,
      })
    }
    const release = request.holdOpen()
    const stream = new EventStream(host, {
      places: channels.map((channel) => ({ channel, from: places.get(channel) ?? 'end', feed: this.#feed(host, channel, request.query, filter) })),
      last,
      bytesMax: LIMITS.gatewayStreamBytesMax,
      heartbeatMs: this.#limits.heartbeatMs,
      stallMs: this.#limits.stallMs,
      ended: () => {
        unwatch()
        this.#open.delete(stream)
        release()
      },
      cut: () => request.outgoing?.destroy(),
    })
    const unwatch = this.#host.vigil.watch(request.principal, () => stream.close())
    this.#open.add(stream)
    stream.begin()
    return new Response(stream.body, {
      headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
    })
  }

  close(): void {
    this.#closed = true
    for (const stream of this.#open) stream.close()
  }

  #feed(host: BrokerHost, channel: string, { where, filter: expression }: GatewayRequest['query'], filter: TextFilter | null): ChannelFeed {
    const name = JSON.stringify([channel, where, expression])
    let feed = this.#feeds.get(name)
    if (feed === undefined) {
      const made = new ChannelFeed(host, channel, filter, () => {
        if (this.#feeds.get(name) === made) this.#feeds.delete(name)
      })
      feed = made
      this.#feeds.set(name, feed)
    }
    return feed
  }

  /** Where each channel is read from. `end` becomes an offset now, so that a client that reconnects before its first event misses nothing. */
  async #places(host: BrokerHost, channels: readonly string[], last: Map<string, number>, from: From): Promise<Map<string, From>> {
    const places = new Map<string, From>()
    for (const channel of channels) {
      const seen = last.get(channel)
      const next = seen === undefined && from === 'end' ? (await boundsIn(host.engine, channel))?.next : undefined
      if (seen === undefined && next !== undefined) last.set(channel, next - 1)
      const offset = seen === undefined ? next : seen + 1
      const place = offset === undefined ? from : { offset }
      places.set(channel, place)
      await checkReadable(host, channel, place)
    }
    return places
  }
}

function channelsOf(text: string): string[] {
  const channels = [...new Set(text.split(','))]
  if (channels.length > LIMITS.gatewayStreamChannelsMax) {
    throw badRequest(400, `an event stream has at most ${LIMITS.gatewayStreamChannelsMax} channels; these are ${channels.length}`)
  }
  return channels.map((channel) => checkName(channel, 'channel'))
}

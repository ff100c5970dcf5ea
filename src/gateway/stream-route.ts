/**
 * `GET /channels/{channel}/stream?from=&where=`: Server-Sent Events of one channel or of several (`carts,orders`,
 * `carts.*`).
 *
 * With several channels, the SSE event type is the channel's name. A browser opens few connections to one host, so
 * several channels share one.
 */

import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { boundsIn } from '../broker/bounds.ts'
import type { BrokerHost } from '../broker/broker.ts'
import type { From } from '../broker/position.ts'
import { ChannelFeed } from './channel-feed.ts'
import { checkReadable, closedGateway, filterOf, firstOffset, type TextFilter } from './channel-texts.ts'
import { readCursor } from './cursor-text.ts'
import { EventStream, type FollowedChannel } from './event-stream.ts'
import type { GatewayHost } from './gateway-host.ts'
import { positionOf } from './query.ts'
import type { GatewayPart, GatewayRequest, Route } from './route.ts'
import { CHANNEL, FILTER, FROM, WHERE } from './schemas.ts'
import { StreamChannels } from './stream-channels.ts'
import { WildStreams } from './wild-streams.ts'

const CHANNELS =
  'One channel, or several separated by commas, by name or wildcard (orders.*): each SSE event then has the name of its channel. ' +
  'A wildcard stands for the channels that the caller may read, also for those that are created later.'

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
  /** The feeds by channel and filters. A feed exists while a stream uses it. */
  readonly #feeds = new Map<string, ChannelFeed>()
  readonly #wild: WildStreams
  #closed = false

  constructor(host: GatewayHost, limits: StreamLimits) {
    this.#host = host
    this.#limits = limits
    this.#wild = new WildStreams(host)
  }

  readonly routes: readonly Route[] = [
    {
      method: 'GET',
      path: '/channels/{channel}/stream',
      name: 'streamEvents',
      summary: 'Follow channels by Server-Sent Events. A client that reconnects with Last-Event-ID misses nothing.',
      tag: 'events',
      access: { action: 'read', of: 'handler' },
      noHead: true,
      parameters: { channel: { ...CHANNEL, description: CHANNELS } },
      query: { from: { ...FROM, description: `${FROM.description} Default: the end.` }, where: WHERE, filter: FILTER },
      headers: {
        'last-event-id': { description: 'The id of the last event that arrived.', schema: { type: 'string' } },
      },
      answers: {
        200: {
          description: 'Each event in data, as JSON; its position in id.',
          content: { 'text/event-stream': { type: 'string' } },
        },
      },
      refuses: [
        'INVALID_NAME',
        'INVALID_PATTERN',
        'INVALID_EXPRESSION',
        'UNKNOWN_CHANNEL',
        'OFFSET_OUT_OF_RANGE',
        'BACKPRESSURE',
        'CLOSED',
      ],
      handle: (request) => this.#answer(request),
    },
  ]

  async #answer(request: GatewayRequest): Promise<Response> {
    const channels = new StreamChannels(request.parameters['channel'] as string, request.permitted('read'))
    for (const channel of channels.named) request.permit('read', channel)
    const filter = filterOf(request.query)
    const cursor = request.raw.headers.get('last-event-id') ?? ''
    const last = readCursor(channels, cursor)
    const host = this.#host.core
    const from = positionOf('from', request.query['from'] ?? 'end')
    const named = await this.#positions(host, channels.named, last, from)
    // A matched channel that is not in the cursor was created after the client left, so it is read from its beginning.
    const matched = channels.wild
      ? await this.#matched(host, channels, last, cursor === '' ? from : 'beginning')
      : new Map<string, From>()
    const feedOf = (channel: string): ChannelFeed => this.#feed(host, channel, request, filter)
    const followed = ([channel, at]: [string, From]): FollowedChannel => ({
      channel,
      from: at,
      feed: feedOf(channel),
      matched: matched.has(channel),
    })
    if (this.#closed) throw closedGateway()
    if (this.#open.size >= this.#limits.streamsMax) {
      throw new MillraceError(
        'BACKPRESSURE',
        `${this.#open.size} event streams are open, which is the limit: try again later`,
        {
          streamsMax: this.#limits.streamsMax,
        },
      )
    }
    const release = request.holdOpen()
    const stream = new EventStream(host, {
      channels,
      follow: [...named, ...matched].map(followed),
      last,
      bytesMax: LIMITS.gatewayStreamBytesMax,
      heartbeatMs: this.#limits.heartbeatMs,
      stallMs: this.#limits.stallMs,
      maySee: request.maySee,
      ended: () => {
        unwatch()
        this.#open.delete(stream)
        this.#wild.delete(stream)
        release()
      },
      cut: () => request.outgoing?.destroy(),
    })
    const unwatch = this.#host.vigil.watch(request.principal, () => stream.close())
    this.#open.add(stream)
    if (channels.wild) this.#wild.add(stream, channels, feedOf)
    stream.begin()
    return new Response(stream.body, {
      headers: {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      },
    })
  }

  close(): void {
    this.#closed = true
    for (const stream of this.#open) stream.close()
  }

  #feed(
    host: BrokerHost,
    channel: string,
    { query: { where, filter: expression }, maySee }: GatewayRequest,
    filter: TextFilter | null,
  ): ChannelFeed {
    const seesIt = maySee(channel)
    const name = JSON.stringify([channel, where, expression, seesIt])
    let feed = this.#feeds.get(name)
    if (feed === undefined) {
      const made = new ChannelFeed(host, channel, { filter, maySee: () => seesIt }, () => {
        if (this.#feeds.get(name) === made) this.#feeds.delete(name)
      })
      feed = made
      this.#feeds.set(name, feed)
    }
    return feed
  }

  /**
   * The position at which each channel is read. `end` becomes an offset now, so that a client that reconnects before
   * its first event misses nothing.
   */
  async #positions(
    host: BrokerHost,
    channels: readonly string[],
    last: Map<string, number>,
    from: From,
  ): Promise<Map<string, From>> {
    const positions = new Map<string, From>()
    for (const channel of channels) {
      const seen = last.get(channel)
      const next = seen === undefined && from === 'end' ? (await boundsIn(host.engine, channel))?.next : undefined
      if (seen === undefined && next !== undefined) last.set(channel, next - 1)
      const offset = seen === undefined ? next : seen + 1
      const position = offset === undefined ? from : { offset }
      positions.set(channel, position)
      await checkReadable(host, channel, position)
    }
    return positions
  }

  /**
   * The same for channels that a wildcard matches, which may be removed meanwhile. Each is in the cursor, unless it is
   * read from the beginning.
   */
  async #matched(
    host: BrokerHost,
    channels: StreamChannels,
    last: Map<string, number>,
    from: From,
  ): Promise<Map<string, From>> {
    const positions = new Map<string, From>()
    for (const channel of channels.matched((await host.engine.channels()).map(({ name }) => name))) {
      try {
        if (!last.has(channel) && from !== 'end' && from !== 'beginning')
          last.set(channel, (await firstOffset(host, channel, from)) - 1)
        for (const [, position] of await this.#positions(host, [channel], last, from)) positions.set(channel, position)
      } catch (error) {
        if (!isMillraceError(error, 'UNKNOWN_CHANNEL')) throw error
        last.delete(channel)
      }
    }
    return positions
  }
}

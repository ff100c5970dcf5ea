/**
 * `GET /channels/{channels}/stream?from=&where=`: Server-Sent Events of one channel, or of several (`carts,orders`), which then are
 * named by the SSE event type. A browser opens few connections to one host: several channels go over one.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName } from '../base/names.ts'
import type { Broker, From } from '../broker/broker.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { readCursor } from './cursor-text.ts'
import { EventStream } from './event-stream.ts'
import { badRequest } from './problem.ts'
import { patternOf, placeOf } from './query.ts'
import type { GatewayPart, GatewayRequest, Route } from './route.ts'
import { CHANNEL, FROM, WHERE } from './schemas.ts'

export interface StreamLimits {
  readonly heartbeatMs: number
  readonly stallMs: number
  readonly streamsMax: number
}

/** The open event streams of a gateway. */
export class EventStreams implements GatewayPart {
  readonly #broker: Broker
  readonly #limits: StreamLimits
  readonly #open = new Set<EventStream>()
  #closed = false

  constructor(broker: Broker, limits: StreamLimits) {
    this.#broker = broker
    this.#limits = limits
  }

  readonly routes: readonly Route[] = [
    {
      method: 'GET',
      path: '/channels/{channel}/stream',
      name: 'streamEvents',
      summary: 'Follow channels by Server-Sent Events. A client that comes back with Last-Event-ID misses nothing.',
      tag: 'events',
      access: { action: 'read', of: 'channel' },
      noHead: true,
      parameters: { channel: { ...CHANNEL, description: 'One channel, or several with commas between: each SSE event is then named by its channel.' } },
      query: { from: { ...FROM, description: `${FROM.description} The end unless it is said.` }, where: WHERE },
      headers: { 'last-event-id': { description: 'The id of the last event that arrived.', schema: { type: 'string' } } },
      answers: { 200: { description: 'Each event in data, as JSON; its place in id.', content: { 'text/event-stream': { type: 'string' } } } },
      refuses: ['INVALID_PATTERN', 'UNKNOWN_CHANNEL', 'OFFSET_OUT_OF_RANGE', 'BACKPRESSURE', 'CLOSED'],
      handle: (request) => this.#answer(request),
    },
  ]

  async #answer(request: GatewayRequest): Promise<Response> {
    const channels = channelsOf(request.parameters['channel'] as string)
    const parameter = request.query
    const where = parameter['where'] === undefined ? undefined : patternOf(parameter['where'])
    const last = readCursor(channels, request.raw.headers.get('last-event-id') ?? '')
    const from = await this.#places(channels, last, placeOf('from', parameter['from'] ?? 'end'), where)
    if (this.#closed) throw new MillraceError('CLOSED', 'the gateway is closing')
    if (this.#open.size >= this.#limits.streamsMax) {
      throw new MillraceError('BACKPRESSURE', `${this.#open.size} event streams are open, which is the limit: try again later`, {
        streamsMax: this.#limits.streamsMax,
      })
    }
    const release = request.holdOpen()
    const stream = new EventStream(this.#broker, {
      from,
      last,
      where,
      bytesMax: LIMITS.gatewayStreamBytesMax,
      heartbeatMs: this.#limits.heartbeatMs,
      stallMs: this.#limits.stallMs,
      ended: () => {
        this.#open.delete(stream)
        release()
      },
      cut: () => request.outgoing?.destroy(),
    })
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

  /** Where each channel is read from. `end` becomes an offset now, so that a client that reconnects before its first event misses nothing. */
  async #places(channels: readonly string[], last: Map<string, number>, from: From, where: PatternJson | undefined): Promise<Map<string, From>> {
    const places = new Map<string, From>()
    const needed = from === 'end' && channels.some((channel) => !last.has(channel))
    const described = needed ? new Map((await this.#broker.describe()).channels.map((channel) => [channel.name, channel])) : null
    for (const channel of channels) {
      const seen = last.get(channel)
      const next = described?.get(channel)?.next
      if (seen === undefined && next !== undefined) last.set(channel, next - 1)
      const place = seen !== undefined ? seen + 1 : (next ?? from)
      places.set(channel, place)
      await this.#check(channel, place, where)
    }
    return places
  }

  /** Reads nothing, and so finds out whether the channel, the place and the pattern hold before the answer begins. */
  async #check(channel: string, place: From, where: PatternJson | undefined): Promise<void> {
    const nothing = this.#broker.read(channel, { from: place, to: place, ...(where !== undefined && { where }) })
    await nothing.next()
    await nothing.return?.()
  }
}

function channelsOf(text: string): string[] {
  const channels = [...new Set(text.split(','))]
  if (channels.length > LIMITS.gatewayStreamChannelsMax) {
    throw badRequest(400, `an event stream has at most ${LIMITS.gatewayStreamChannelsMax} channels; these are ${channels.length}`)
  }
  return channels.map((channel) => checkName(channel, 'channel'))
}

/**
 * `GET /channels/:channels/stream?from=&where=`: Server-Sent Events of one channel, or of several (`carts,orders`), which then are
 * named by the SSE event type. A browser opens few connections to one host: several channels go over one.
 */
import type { Context } from 'hono'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName } from '../base/names.ts'
import type { Broker, From } from '../broker/broker.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { readCursor } from './cursor-text.ts'
import { EventStream } from './event-stream.ts'
import { badRequest } from './problem.ts'
import { parameters, patternOf, placeOf } from './query.ts'

export interface StreamLimits {
  readonly heartbeatMs: number
  readonly stallMs: number
  readonly streamsMax: number
}

/** The open event streams of a gateway. */
export class EventStreams {
  readonly #broker: Broker
  readonly #limits: StreamLimits
  readonly #open = new Set<EventStream>()
  #closed = false

  constructor(broker: Broker, limits: StreamLimits) {
    this.#broker = broker
    this.#limits = limits
  }

  async route(c: Context): Promise<Response> {
    if (c.req.raw.method === 'HEAD') throw badRequest(405, 'an event stream has no HEAD: use GET')
    const channels = channelsOf(c.req.param('channel') as string)
    const parameter = parameters(c.req.url, ['from', 'where'])
    const where = parameter.where === undefined ? undefined : patternOf(parameter.where)
    const last = readCursor(channels, c.req.header('last-event-id') ?? '')
    const from = await this.#places(channels, last, placeOf('from', parameter.from ?? 'end'), where)
    if (this.#closed) throw new MillraceError('CLOSED', 'the gateway is closing')
    if (this.#open.size >= this.#limits.streamsMax) {
      throw new MillraceError('BACKPRESSURE', `${this.#open.size} event streams are open, which is the limit: try again later`, {
        streamsMax: this.#limits.streamsMax,
      })
    }
    const outgoing = (c.env as { outgoing?: { destroy?: () => void } } | undefined)?.outgoing
    const stream = new EventStream(this.#broker, {
      from,
      last,
      where,
      bytesMax: LIMITS.gatewayStreamBytesMax,
      heartbeatMs: this.#limits.heartbeatMs,
      stallMs: this.#limits.stallMs,
      ended: () => this.#open.delete(stream),
      cut: () => outgoing?.destroy?.(),
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

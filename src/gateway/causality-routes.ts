/**
 * `GET /channels/{channel}/events/{offset}/causes` and `…/effects`: an event's causal tree, line by line as it is
 * found.
 *
 * The answer is JSON lines: `{"found":…}` for an event, `{"progress":…}` while the walk runs, and at the end
 * `{"end":…}`, which says whether everything was read, or `{"error":…}`. The walk reads at the client's pace: nothing
 * is read ahead.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { CausalWalk, type RelatedText } from '../broker/causality/causal-walk.ts'
import type { Found } from '../broker/causality/event-scan.ts'
import { engineOf } from '../broker/engine-of.ts'
import { maskFor, seenText } from '../broker/seen-events.ts'
import { oneLine } from './channel-texts.ts'
import type { GatewayHost } from './gateway-host.ts'
import { problemOf } from './problem.ts'
import { countOf } from './query.ts'
import type { GatewayPart, GatewayRequest, JsonSchema, Route } from './route.ts'
import { CHANNEL, ref } from './schemas.ts'
import { StallGuard } from './stall-guard.ts'

type Direction = 'causes' | 'effects'

const WHAT: Readonly<Record<Direction, string>> = {
  causes: 'List what caused an event, the nearest cause first, over all channels that the caller may read.',
  effects: 'List all that an event caused, each event after its cause, over all channels that the caller may read.',
}

const PROGRESS: JsonSchema = {
  type: 'object',
  required: ['looked', 'channels'],
  properties: {
    looked: { type: 'integer', description: 'Events looked at.' },
    channels: { type: 'integer', description: 'Channels that are looked through.' },
  },
}

const LINE: JsonSchema = {
  description: 'One line. The last one has end, or error.',
  oneOf: [
    {
      type: 'object',
      required: ['found'],
      properties: {
        found: {
          type: 'object',
          required: ['channel', 'offset', 'storedAt', 'relation', 'distance', 'event'],
          properties: {
            channel: { type: 'string' },
            offset: { type: 'integer' },
            storedAt: { type: 'string', format: 'date-time' },
            relation: { enum: ['cause', 'effect', 'copy'], description: 'copy: the same event in another channel.' },
            distance: { type: 'integer', description: 'Steps from the event that was asked about.' },
            event: ref('CloudEvent'),
          },
        },
      },
    },
    { type: 'object', required: ['progress'], properties: { progress: PROGRESS } },
    {
      type: 'object',
      required: ['end'],
      properties: {
        end: {
          ...PROGRESS,
          required: ['looked', 'channels', 'complete', 'ended'],
          properties: {
            ...(PROGRESS['properties'] as object),
            complete: { type: 'boolean', description: 'Every event that is kept and could belong was seen.' },
            ended: {
              enum: ['budget', 'limit', 'missing cause', 'stopped', null],
              description: 'Why it is not complete.',
            },
          },
        },
      },
    },
    { type: 'object', required: ['error'], properties: { error: ref('Problem') } },
  ],
}

export class CausalityPart implements GatewayPart {
  readonly routes: readonly Route[]
  readonly #host: GatewayHost
  readonly #walking = new Set<AbortController>()

  constructor(host: GatewayHost) {
    this.#host = host
    this.routes = (['causes', 'effects'] as const).map((direction) => this.#route(direction))
  }

  close(): void {
    for (const walking of this.#walking) walking.abort()
  }

  #route(direction: Direction): Route {
    return {
      method: 'GET',
      path: `/channels/{channel}/events/{offset}/${direction}`,
      name: direction,
      summary: WHAT[direction],
      description:
        'Publishing keeps no index for this: the channels are read. It looks at up to `scan` events and says at its end whether it has seen all.',
      tag: 'events',
      access: { action: 'read', of: 'channel' },
      noHead: true,
      parameters: { channel: CHANNEL, offset: { description: 'The event’s offset.', schema: { type: 'integer' } } },
      query: {
        scan: {
          description: 'Look at no more than this many events.',
          schema: { type: 'integer', minimum: 1, maximum: LIMITS.causalScanMax, default: LIMITS.causalScanDefault },
        },
        limit: {
          description: 'Find no more than this many events.',
          schema: { type: 'integer', minimum: 1, maximum: LIMITS.causalFoundMax, default: LIMITS.causalFoundDefault },
        },
      },
      answers: {
        200: { description: 'JSON lines, as it goes.', content: { 'application/x-ndjson': LINE } },
      },
      refuses: ['UNKNOWN_CHANNEL', 'OFFSET_OUT_OF_RANGE', 'BACKPRESSURE', 'CLOSED'],
      handle: (request) => this.#answer(request, direction),
    }
  }

  /** An event as the caller sees it. */
  #seen({ maySee }: GatewayRequest): (found: RelatedText) => Promise<RelatedText> {
    const { engine } = this.#host.core
    return async (found) => {
      const mask = await maskFor(engine, found.channel, maySee)
      const { stored } = found
      return mask === null ? found : { ...found, stored: seenText(stored, mask) }
    }
  }

  async #answer(request: GatewayRequest, direction: Direction): Promise<Response> {
    const { channel = '', offset: at = '' } = request.parameters
    const { scan, limit } = request.query
    const offset = countOf('offset', at, 0, Number.MAX_SAFE_INTEGER)
    const walking = new AbortController()
    const walk = new CausalWalk(engineOf(this.#host.broker), {
      mayRead: request.permitted('read'),
      lookedMax: scan === undefined ? LIMITS.causalScanDefault : countOf('scan', scan, 1, LIMITS.causalScanMax),
      foundMax: limit === undefined ? LIMITS.causalFoundDefault : countOf('limit', limit, 1, LIMITS.causalFoundMax),
      signal: AbortSignal.any([walking.signal, request.signal]),
    })
    if (this.#walking.size >= LIMITS.gatewayWalksMax)
      throw new MillraceError(
        'BACKPRESSURE',
        `${this.#walking.size} requests look through causes and effects, which is the limit: try again later`,
        { walksMax: LIMITS.gatewayWalksMax },
      )
    this.#walking.add(walking)
    const release = request.holdOpen()
    const unwatch = this.#host.vigil.watch(request.principal, () => walking.abort())
    const over = (): void => {
      unwatch()
      this.#walking.delete(walking)
      release()
      walking.abort()
    }
    try {
      const stored = await walk.event(channel, offset)
      return new Response(linesOf(walk, direction, { channel, stored }, this.#seen(request), this.#host, over), {
        headers: { 'content-type': 'application/x-ndjson', 'x-accel-buffering': 'no' },
      })
    } catch (error) {
      over()
      throw error
    }
  }
}

/** The lines at the client's pace. `over` is called at the end, or when the client has disconnected or stalls. */
function linesOf(
  walk: CausalWalk,
  direction: Direction,
  from: Found,
  seen: (found: RelatedText) => Promise<RelatedText>,
  { report, stallMs }: GatewayHost,
  over: () => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  const batches = walk[direction](from)
  let gone = false
  const leave = async (): Promise<void> => {
    if (gone) return
    gone = true
    guard.taken()
    over()
    await batches.return(undefined)
  }
  const guard = new StallGuard(stallMs, () => void leave().catch(report))
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      guard.taken()
      if (gone) return controller.close()
      try {
        const { done, value } = await batches.next()
        if (gone) return
        const { looked, channels, complete, ended } = walk.progress
        const found = done === true ? '' : (await Promise.all(value.map(seen))).map(lineOf).join('')
        const state =
          done === true ? { end: { looked, channels, complete, ended } } : { progress: { looked, channels } }
        controller.enqueue(encoder.encode(`${found}${JSON.stringify(state)}\n`))
        if (done !== true) return guard.offered()
      } catch (error) {
        if (gone) return
        report(error)
        controller.enqueue(encoder.encode(`{"error":${problemOf(error).body}}\n`))
      }
      controller.close()
      over()
    },
    cancel: leave,
  })
}

function lineOf({ channel, stored, relation, distance }: RelatedText): string {
  const storedAt = new Date(stored.timeMs).toISOString()
  const facts = JSON.stringify({ channel, offset: stored.offset, storedAt, relation, distance })
  return `{"found":${facts.slice(0, -1)},"event":${oneLine(stored.text)}}}\n`
}

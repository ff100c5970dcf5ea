/** The figures of one channel or consumer over time. The gateway records them while it runs. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { engineOf } from '../broker/engine-of.ts'
import { position } from '../broker/position.ts'
import { FIGURES, type ObjectKind } from '../metrics-history/figures.ts'
import type { HistoryOf } from '../metrics-history/metrics-history.ts'
import { HistoryRecorder } from '../metrics-history/recorder.ts'
import { ACTIONS } from './access/permissions.ts'
import type { Principal } from './access/principal.ts'
import type { GatewayHost } from './gateway-host.ts'
import { badRequest } from './problem.ts'
import { countOf, positionOf } from './query.ts'
import type { GatewayPart, GatewayRequest, JsonSchema, Route } from './route.ts'
import { CHANNEL, CONSUMER, json } from './schemas.ts'

const POINTS_DEFAULT = 360
const MONTH_MS = 31 * 86_400_000
const TIME = 'An RFC 3339 time or an age such as 1h.'

const POINTS: JsonSchema = { type: 'array', items: { type: ['number', 'null'] } }
const ANSWER: JsonSchema = {
  type: 'object',
  required: ['stepMs', 'fromMs', 'figures'],
  properties: {
    stepMs: { type: 'integer', description: 'From one point to the next.' },
    fromMs: { type: 'integer', description: 'The time of the first point, in milliseconds since the epoch.' },
    figures: {
      type: 'object',
      description:
        'Each figure has one value for each point. null: nothing was recorded then. Events are counted a second; other figures are the largest of the time between two points.',
      properties: Object.fromEntries(
        [...Object.keys(FIGURES.channel), ...Object.keys(FIGURES.consumer)].map((name) => [name, POINTS]),
      ),
    },
  },
}

const SHARED = {
  method: 'GET',
  tag: 'operation',
  access: 'known',
  query: {
    from: { description: TIME, schema: { type: 'string', default: '1h' } },
    to: { description: `${TIME} Without it: now.`, schema: { type: 'string' } },
    points: {
      description: 'At most this many points.',
      schema: { type: 'integer', minimum: 1, maximum: LIMITS.historyPointsMax, default: POINTS_DEFAULT },
    },
  },
  answers: { 200: { description: 'The figures.', content: json(ANSWER) } },
} as const satisfies Partial<Route>

export class HistoryPart implements GatewayPart {
  readonly routes: readonly Route[]
  readonly #host: GatewayHost
  readonly #recorder: HistoryRecorder | null

  constructor(host: GatewayHost, objectsMax: number) {
    this.#host = host
    this.#recorder = objectsMax === 0 ? null : new HistoryRecorder(host.core, objectsMax)
    this.routes = [
      {
        ...SHARED,
        path: '/api/channels/{channel}/history',
        name: 'showChannelHistory',
        summary: 'The figures of a channel over the last day or month: rate and size.',
        parameters: { channel: CHANNEL },
        refuses: ['UNKNOWN_CHANNEL', 'CLOSED'],
        handle: (request) => this.#ofChannel(request),
      },
      {
        ...SHARED,
        path: '/api/consumers/{consumer}/history',
        name: 'showConsumerHistory',
        summary: 'The figures of a consumer over the last day or month: rate, lag, failures, latency.',
        description: 'The caller needs a permission on every channel of the consumer.',
        parameters: { consumer: CONSUMER },
        refuses: ['UNKNOWN_CONSUMER', 'CLOSED'],
        handle: (request) => this.#ofConsumer(request),
      },
    ]
  }

  start(): Promise<void> {
    this.#recorder?.start()
    return Promise.resolve()
  }

  async close(): Promise<void> {
    await this.#recorder?.close()
  }

  async #ofChannel(request: GatewayRequest): Promise<Response> {
    const name = request.parameters['channel'] as string
    if (!seesAny(request.principal, name)) request.permit('read', name)
    const channel = await engineOf(this.#host.broker).channel(name)
    const found = this.#find(request, 'channel', name)
    if (found !== null || channel !== undefined) return this.#answer(found)
    throw new MillraceError('UNKNOWN_CHANNEL', `there is no channel "${name}"`, { channel: name })
  }

  async #ofConsumer(request: GatewayRequest): Promise<Response> {
    const name = request.parameters['consumer'] as string
    const described = await engineOf(this.#host.broker).consumers.describe(name)
    const channels = described?.channels.map(({ channel }) => channel) ?? []
    const sees = (channel: string): boolean => seesAny(request.principal, channel)
    if (!sees('>') && (channels.length === 0 || !channels.every(sees)))
      request.permitNamed('read', 'consumer', name, channels)
    const found = this.#find(request, 'consumer', name)
    if (found !== null || described !== null) return this.#answer(found)
    throw new MillraceError('UNKNOWN_CONSUMER', `there is no consumer "${name}"`, { consumer: name })
  }

  #find({ query }: GatewayRequest, kind: ObjectKind, name: string): HistoryOf | null {
    const { from = '1h', to, points } = query
    const nowMs = this.#host.core.engine.clock.now()
    const fromMs = timeOf('from', from, nowMs)
    const toMs = to === undefined ? nowMs : timeOf('to', to, nowMs)
    if (fromMs >= toMs || toMs - fromMs > MONTH_MS)
      throw badRequest(400, 'from must be before to, by at most 31 days', { parameter: 'from' })
    const pointsMax = points === undefined ? POINTS_DEFAULT : countOf('points', points, 1, LIMITS.historyPointsMax)
    return this.#recorder?.history.of(kind, name, fromMs, Math.min(toMs, nowMs), pointsMax) ?? null
  }

  #answer(found: HistoryOf | null): Response {
    return Response.json(found ?? { stepMs: LIMITS.historyDayStepMs, fromMs: 0, figures: {} })
  }
}

function seesAny({ permits }: Principal, channel: string): boolean {
  return ACTIONS.some((action) => permits(action, channel))
}

function timeOf(parameter: string, text: string, nowMs: number): number {
  const found = position(positionOf(parameter, text), nowMs, parameter)
  if ('timeMs' in found) return found.timeMs
  throw badRequest(400, `${parameter} must be an RFC 3339 time or an age such as 1h; it is "${text.slice(0, 60)}"`, {
    parameter,
  })
}

/**
 * The gateway: a broker for everyone who speaks HTTP. Routes only; each is in a file of its own.
 *
 * There is no access control yet, and so it takes requests for this machine's own names only, and none from pages of other sites.
 */
import { Hono } from 'hono'
import { cors } from 'hono/cors'
import { isMillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { type Duration, durationMs, knownOptions, type Size, sizeBytes, wholeNumber } from '../base/units.ts'
import type { Broker } from '../broker/broker.ts'
import { dropDeadLetters, listDeadLetters, redriveDeadLetters } from './dead-letter-routes.ts'
import { LOOPBACK_HOSTS, originGuard } from './origin-guard.ts'
import { badRequest, problem } from './problem.ts'
import { publishRoute } from './publish-route.ts'
import { readRoute } from './read-route.ts'
import { RequestBodies } from './request-body.ts'
import { EventStreams } from './stream-route.ts'

export interface GatewayOptions {
  /** Host names that requests may ask for, without port; `'any'` turns the check off. @default localhost, 127.0.0.1 and [::1] */
  readonly hosts?: readonly string[] | 'any'
  /** Pages of other origins that may use the gateway. @default none */
  readonly cors?: { readonly origins: readonly string[] }
  /** Largest request body. @default 16 MiB */
  readonly maxBodyBytes?: Size
  /** How often a silent event stream says that it lives. @default '15s' */
  readonly heartbeat?: Duration
  /** An event stream whose client takes nothing for so long is cut. @default '30s' */
  readonly stall?: Duration
  /** Event streams open at once. @default 5,000 */
  readonly maxStreams?: number
  /** Answers what the gateway has no route for: an application's own pages. @default a 404 */
  readonly fallback?: (request: Request) => Response | Promise<Response>
  /** Told of failures that are not a `MillraceError`. @default written to standard error */
  readonly onError?: (error: unknown, request: Request) => void
}

/** A gateway as a `fetch` handler, for any framework that has them. */
export interface Gateway {
  /** Answer a request. `env` is what the server passes along; a Node adapter's lets a stalled client be cut. */
  fetch(request: Request, env?: object): Promise<Response>
  /** End open event streams and take no new ones. The broker stays open. */
  close(): void
}

const OPTIONS = ['hosts', 'cors', 'maxBodyBytes', 'heartbeat', 'stall', 'maxStreams', 'fallback', 'onError'] as const

/**
 * A broker's HTTP interface.
 *
 * `POST /channels/:channel/events` publishes CloudEvents (binary, structured, batched) and answers when they are durable;
 * `GET` of the same reads; `/channels/:channel/stream` follows (Server-Sent Events); `/api/describe`, `/api/consumers/:consumer/dead-letters`,
 * `/health` and `/ready` are for whoever is on call.
 *
 * @throws INVALID_OPTION
 * @example
 * ```ts
 * import { connect } from 'millrace'
 * import { createGateway } from 'millrace/gateway'
 *
 * const broker = await connect('memory:')
 * const gateway = createGateway(broker)
 * const answer = await gateway.fetch(new Request('http://localhost/health'))
 * answer.status // 200
 * ```
 */
export function createGateway(broker: Broker, options: GatewayOptions = {}): Gateway {
  knownOptions(options, OPTIONS, 'the gateway')
  const bodies = new RequestBodies(sizeBytes(options.maxBodyBytes ?? LIMITS.gatewayBodyBytesMax, 'maxBodyBytes'), LIMITS.gatewayBodiesBytesMax)
  const streams = new EventStreams(broker, {
    heartbeatMs: Math.max(10, durationMs(options.heartbeat ?? LIMITS.gatewayHeartbeatMs, 'heartbeat')),
    stallMs: Math.max(10, durationMs(options.stall ?? LIMITS.gatewayStallMs, 'stall')),
    streamsMax: wholeNumber(options.maxStreams ?? LIMITS.gatewayStreamsMax, 'maxStreams', 0, 1_000_000),
  })
  const app = new Hono()
  guard(app, options)
  routes(app, broker, bodies, streams)
  const report = options.onError ?? ((error: unknown) => console.error('millrace gateway:', error))
  app.onError((error, c) => {
    if (!isMillraceError(error)) report(error, c.req.raw)
    return problem(error)
  })
  const { fallback } = options
  app.notFound(async (c) => (fallback === undefined ? problem(badRequest(404, `there is nothing at ${c.req.path}`)) : fallback(c.req.raw)))
  return {
    fetch: async (request, env) => app.fetch(request, env),
    close: () => streams.close(),
  }
}

function guard(app: Hono, options: GatewayOptions): void {
  const origins = options.cors?.origins ?? []
  app.use(originGuard(options.hosts === 'any' ? null : (options.hosts ?? LOOPBACK_HOSTS), origins))
  if (origins.length > 0) app.use(cors({ origin: [...origins], exposeHeaders: ['link', 'retry-after'], maxAge: 600 }))
  app.use(async (c, next) => {
    await next()
    c.res.headers.set('x-content-type-options', 'nosniff')
    if (!c.res.headers.has('cache-control')) c.res.headers.set('cache-control', 'no-store')
  })
}

function routes(app: Hono, broker: Broker, bodies: RequestBodies, streams: EventStreams): void {
  const events = '/channels/:channel/events'
  app.post(events, (c) => publishRoute(c, broker, bodies))
  app.get(events, (c) => readRoute(c, broker))
  refuseOthers(app, events, 'GET, HEAD, POST')
  const stream = '/channels/:channel/stream'
  app.get(stream, (c) => streams.route(c))
  refuseOthers(app, stream, 'GET')
  app.get('/api/describe', async (c) => c.json(await broker.describe()))
  refuseOthers(app, '/api/describe', 'GET, HEAD')
  const letters = '/api/consumers/:consumer/dead-letters'
  app.get(letters, (c) => listDeadLetters(c, broker))
  app.delete(letters, (c) => dropDeadLetters(c, broker))
  refuseOthers(app, letters, 'GET, HEAD, DELETE')
  app.post(`${letters}/redrive`, (c) => redriveDeadLetters(c, broker))
  refuseOthers(app, `${letters}/redrive`, 'POST')
  app.post(`${letters}/drop`, (c) => dropDeadLetters(c, broker))
  refuseOthers(app, `${letters}/drop`, 'POST')
  app.get('/health', (c) => c.json({ status: 'ok' }))
  app.get('/ready', (c) => readiness(broker).then(({ ready, alarms }) => c.json({ status: ready ? 'ready' : 'not ready', alarms }, ready ? 200 : 503)))
}

function refuseOthers(app: Hono, path: string, allow: string): void {
  app.all(path, (c) => problem(badRequest(405, `${c.req.method} is not for ${c.req.path}: it takes ${allow}`), { allow }))
}

/** Ready is a broker that takes events: open, its store well. */
async function readiness(broker: Broker): Promise<{ readonly ready: boolean; readonly alarms: readonly unknown[] }> {
  try {
    const { alarms } = await broker.describe()
    return { ready: !alarms.some(({ code }) => code === 'STORE_FAILED' || code === 'DISK_FULL'), alarms }
  } catch (error) {
    if (!isMillraceError(error)) throw error
    return { ready: false, alarms: [{ code: error.code, message: error.message }] }
  }
}

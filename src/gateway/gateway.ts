/**
 * The gateway: a broker for everything that speaks HTTP. It puts the parts together; each part has its own files, and
 * `route.ts` defines what a part is.
 *
 * Without access control it accepts requests from this machine only. It never accepts requests from web pages of
 * origins that are not allowed.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { Hono } from 'hono'
import { cors } from 'hono/cors'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { type Duration, durationMs, knownOptions, type Size, sizeBytes, wholeNumber } from '../base/units.ts'
import { Audit } from '../broker/audit.ts'
import type { Broker } from '../broker/broker.ts'
import { checkBroker, coreOf } from '../broker/engine-of.ts'
import { type AccessOptions, authenticatorOf } from './access/access-options.ts'
import type { Authenticator } from './access/authenticator.ts'
import { callerOfRequest } from './access/caller.ts'
import { Quota } from './access/quota.ts'
import { Vigil } from './access/vigil.ts'
import { type ConsoleOptions, mountConsole, servedConsole } from './console/console-pages.ts'
import { mountRoutes } from './dispatch.ts'
import { documentPart, upgradePaths, upgradeRequired } from './document-part.ts'
import type { GatewayHost } from './gateway-host.ts'
import { type NodeListener, nodeListener } from './node-listener.ts'
import { LOOPBACK_HOSTS, OriginGuard } from './origin-guard.ts'
import { gatewayParts } from './parts.ts'
import { badRequest, problem } from './problem.ts'
import { type PushOptions, pushSettingsOf } from './push/push-options.ts'
import { RequestBodies } from './request-body.ts'
import type { GatewayPart } from './route.ts'
import { Upgrades } from './upgrades.ts'
import { type WebhookOptions, webhookEndpoints } from './webhooks/webhook-options.ts'

/** Limits for all callers together, and for each caller. */
export interface GatewayLimits {
  /** Requests a second. @default 200,000 */
  readonly requestsPerSecond?: number
  /** Requests, streams and sockets open at once. @default 20,000 */
  readonly open?: number
  /** Bytes of request bodies held at once. @default 128 MiB */
  readonly bytes?: Size
  /** Bounds on one caller, unless its token has others. @default 100,000 requests a second, 10,000 open, 64 MiB */
  readonly caller?: { readonly requestsPerSecond?: number; readonly open?: number; readonly bytes?: Size }
}

export interface GatewayOptions {
  /** The callers and their permissions. @default undefined: no access control, and callers of this machine only */
  readonly access?: AccessOptions
  /**
   * Host names that requests may use, without port; `'any'` turns the check off. @default `'any'` with access control;
   * else localhost, 127.0.0.1 and [::1]
   */
  readonly hosts?: readonly string[] | 'any'
  /** Pages of other origins that may use the gateway. @default none */
  readonly cors?: { readonly origins: readonly string[] }
  readonly limits?: GatewayLimits
  /** Senders whose webhooks are accepted, by the name of their endpoint: `POST /webhooks/NAME`. @default none */
  readonly webhooks?: Readonly<Record<string, WebhookOptions>>
  /** Push subscriptions: events are posted to subscribers' URLs (`/api/subscriptions`). */
  readonly push?: PushOptions
  /**
   * Serve the console, a web page over this gateway: what flows, what failed, and the means to act. `true` is
   * `{ path: '/console' }`. It uses the gateway's own API, so a caller sees and does there what its credentials permit.
   * @default false
   */
  readonly console?: boolean | ConsoleOptions
  /**
   * Record the figures of channels and consumers while the gateway runs: every 10 s for a day, every 5 min for a month.
   * `objects` is how many channels and consumers together; `false` records nothing.
   * @default 1,000 objects
   */
  readonly history?: false | { readonly objects: number }
  /** Largest request body. @default 16 MiB */
  readonly maxBodyBytes?: Size
  /** How often a silent event stream sends a heartbeat. @default '15s' */
  readonly heartbeat?: Duration
  /** An event stream, a search or a walk ends if its client takes nothing for this time. @default '30s' */
  readonly stall?: Duration
  /** Event streams open at once. @default 5,000 */
  readonly maxStreams?: number
  /** How long a closing gateway waits for leased events to be settled and for running requests. @default '5s' */
  readonly drain?: Duration
  /** Answers requests for which the gateway has no route: an application's own pages. @default the answer 404 */
  readonly fallback?: (request: Request) => Response | Promise<Response>
  /** Called for failures that are not a `MillraceError`. @default a line on standard error */
  readonly onError?: (error: unknown, request?: Request) => void
}

/** A gateway as a `fetch` handler, for any framework that accepts one. */
export interface Gateway {
  /**
   * Answer a request. `env` is what the server passes; with a Node adapter's `{ incoming, outgoing }` the gateway can
   * disconnect a stalled client.
   */
  fetch(request: Request, env?: object): Promise<Response>
  /**
   * Answer a request of Node's HTTP server: `createServer(gateway.listener)`, or in Express
   * `app.use('/events', gateway.listener)`. Mount it before body parsers, because the gateway reads bodies itself.
   */
  readonly listener: (incoming: IncomingMessage, outgoing: ServerResponse) => void
  /** Answer a WebSocket upgrade: `server.on('upgrade', gateway.upgrade)`. */
  readonly upgrade: (incoming: IncomingMessage, socket: Duplex, head: Buffer) => void
  /** Resolves when all parts run. */
  readonly started: Promise<void>
  /** Whether there is access control. */
  readonly guarded: boolean
  /** Take no new requests, wait for running ones, end event streams and sockets. The broker stays open. */
  close(): Promise<void>
}

export const GATEWAY_OPTIONS: readonly string[] = [
  'access',
  'hosts',
  'cors',
  'limits',
  'webhooks',
  'push',
  'console',
  'history',
  'maxBodyBytes',
  'heartbeat',
  'stall',
  'maxStreams',
  'drain',
  'fallback',
  'onError',
]

/**
 * A broker's HTTP interface.
 *
 * `POST /channels/:channel/events` publishes CloudEvents (binary, structured, batched) and answers when they are
 * durable; `GET` of the same reads; `/channels/:channel/stream` follows (Server-Sent Events); `/api/describe`,
 * `/api/consumers/:consumer/dead-letters`, `/health` and `/ready` are for operators.
 *
 * @throws INVALID_OPTION when an option is wrong · INVALID_NAME when the channel of a webhook cannot have its name
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
  checkBroker(broker, 'createGateway')
  knownOptions(options, GATEWAY_OPTIONS, 'the gateway')
  return new BrokerGateway(broker, options)
}

class BrokerGateway implements Gateway {
  /** Arrow functions, because frameworks call these without the object. */
  readonly fetch = async (request: Request, env?: object): Promise<Response> => this.#app.fetch(request, env)
  readonly listener: NodeListener = nodeListener(this.fetch)
  readonly upgrade: (incoming: IncomingMessage, socket: Duplex, head: Buffer) => void
  readonly started: Promise<void>
  readonly #app = new Hono()
  readonly #parts: readonly GatewayPart[]
  readonly #authenticator: Authenticator
  readonly #host: GatewayHost
  #closing: Promise<void> | null = null

  constructor(broker: Broker, options: GatewayOptions) {
    const report = reporterOf(options)
    const host = hostOf(broker, options, report)
    this.#host = host
    const isClosing = (): boolean => this.#closing !== null
    this.#authenticator = authenticatorOf(options.access, report)
    const origins = originsOf(options.cors)
    const guard = new OriginGuard(() => options.hosts ?? (this.guarded ? 'any' : LOOPBACK_HOSTS), origins)
    guardApp(this.#app, guard, origins)
    const parts = gatewayParts(host, {
      streams: streamLimitsOf(options),
      drainMs: drainMsOf(options),
      ratePerMinute: 60 * callerRateOf(options),
      isClosing,
      push: pushSettingsOf(options.push ?? {}),
      webhooks: webhookEndpoints(options.webhooks ?? {}),
      historyObjects: historyObjectsOf(options),
    })
    this.#parts = [...parts, documentPart(parts)]
    mountRoutes(
      this.#app,
      this.#parts.flatMap(({ routes }) => routes),
      this.#authenticator,
      host,
    )
    for (const path of upgradePaths(this.#parts)) this.#app.all(path, (c) => upgradeRequired(c.req.method, path))
    const page = servedConsole(options.console)
    if (page !== null) mountConsole(this.#app, page)
    const upgrades = new Upgrades(
      this.#parts.flatMap((part) => part.upgrades ?? []),
      guard,
      this.#authenticator,
      host,
      isClosing,
    )
    this.upgrade = (incoming, socket, head) => void upgrades.answer(incoming, socket, head)
    answerRest(this.#app, options.fallback, report)
    this.started = this.#start()
    this.started.catch(report)
  }

  get guarded(): boolean {
    return this.#authenticator.guards
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #start(): Promise<void> {
    for (const part of this.#parts) await part.start?.()
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#parts].reverse().map(async (part) => part.close?.()))
    this.#authenticator.close()
    this.#host.vigil.close()
  }
}

function originsOf(cors: GatewayOptions['cors']): readonly string[] {
  if (cors === undefined) return []
  knownOptions(cors, ['origins'], 'cors')
  if (Array.isArray(cors.origins)) return cors.origins
  throw new MillraceError('INVALID_OPTION', `cors.origins must be an array of origins; it is ${shown(cors.origins)}`, {
    option: 'cors.origins',
  })
}

type Report = (error: unknown, request?: Request) => void

function reporterOf({ onError }: GatewayOptions): Report {
  const tell = onError ?? ((error: unknown) => console.error('millrace gateway:', error))
  return (error, request) => {
    if (!isMillraceError(error)) tell(error, request)
  }
}

function hostOf(broker: Broker, options: GatewayOptions, report: Report): GatewayHost {
  const { limits = {} } = options
  knownOptions(limits, ['requestsPerSecond', 'open', 'bytes', 'caller'], 'limits')
  const { caller = {} } = limits
  knownOptions(caller, ['requestsPerSecond', 'open', 'bytes'], 'limits.caller')
  const count = (value: number | undefined, standard: number, name: string): number =>
    wholeNumber(value ?? standard, name, 1, Number.MAX_SAFE_INTEGER)
  const core = coreOf(broker)
  return {
    broker,
    core,
    bodies: new RequestBodies(
      sizeBytes(options.maxBodyBytes ?? LIMITS.gatewayBodyBytesMax, 'maxBodyBytes'),
      sizeBytes(limits.bytes ?? LIMITS.gatewayBodiesBytesMax, 'limits.bytes'),
      sizeBytes(caller.bytes ?? LIMITS.gatewayCallerBytesMax, 'limits.caller.bytes'),
    ),
    quota: new Quota({
      requestsPerSecond: count(limits.requestsPerSecond, LIMITS.gatewayRequestsPerSecond, 'limits.requestsPerSecond'),
      open: count(limits.open, LIMITS.gatewayOpenMax, 'limits.open'),
      callerRequestsPerSecond: callerRateOf(options),
      callerOpen: count(caller.open, LIMITS.gatewayCallerOpenMax, 'limits.caller.open'),
    }),
    vigil: new Vigil(),
    audit: new Audit(core),
    stallMs: stallMsOf(options),
    report,
  }
}

function callerRateOf({ limits }: GatewayOptions): number {
  const rate = limits?.caller?.requestsPerSecond ?? LIMITS.gatewayCallerRequestsPerSecond
  return wholeNumber(rate, 'limits.caller.requestsPerSecond', 1, Number.MAX_SAFE_INTEGER)
}

/** @throws INVALID_OPTION */
function historyObjectsOf({ history = { objects: LIMITS.historyObjectsMax } }: GatewayOptions): number {
  if (history === false) return 0
  knownOptions(history, ['objects'], 'history')
  return wholeNumber(history.objects, 'history.objects', 1, 100_000)
}

/** The option `drain` in milliseconds. @throws INVALID_OPTION when it is not a duration */
export function drainMsOf({ drain }: GatewayOptions): number {
  return durationMs(drain ?? LIMITS.gatewayDrainMs, 'drain')
}

function streamLimitsOf(options: GatewayOptions): { heartbeatMs: number; stallMs: number; streamsMax: number } {
  return {
    heartbeatMs: Math.max(10, durationMs(options.heartbeat ?? LIMITS.gatewayHeartbeatMs, 'heartbeat')),
    stallMs: stallMsOf(options),
    streamsMax: wholeNumber(options.maxStreams ?? LIMITS.gatewayStreamsMax, 'maxStreams', 0, 1_000_000),
  }
}

function stallMsOf({ stall }: GatewayOptions): number {
  return Math.max(10, durationMs(stall ?? LIMITS.gatewayStallMs, 'stall'))
}

function guardApp(app: Hono, guard: OriginGuard, origins: readonly string[]): void {
  app.use(async (c, next) => {
    guard.check(callerOfRequest(c.req.raw, undefined))
    await next()
  })
  if (origins.length > 0) {
    const share = cors({ origin: [...origins], exposeHeaders: ['link', 'retry-after'], maxAge: 600 })
    // An OPTIONS request that is not a CORS preflight is a webhook's handshake.
    app.use((c, next) =>
      c.req.method === 'OPTIONS' && c.req.header('access-control-request-method') === undefined
        ? next()
        : share(c, next),
    )
  }
  app.use(async (c, next) => {
    await next()
    c.res.headers.set('x-content-type-options', 'nosniff')
    if (!c.res.headers.has('cache-control')) c.res.headers.set('cache-control', 'no-store')
  })
}

function answerRest(app: Hono, fallback: GatewayOptions['fallback'], report: Report): void {
  app.onError((error, c) => {
    report(error, c.req.raw)
    return problem(error)
  })
  app.notFound(async (c) =>
    fallback === undefined ? problem(badRequest(404, `there is nothing at ${c.req.path}`)) : fallback(c.req.raw),
  )
}

/** The gateway on its own port: HTTP or HTTPS, with limits for each connection. */
import type { Server, ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import { createAdaptorServer } from '@hono/node-server'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { TIMER_MS_MAX } from '../base/timers.ts'
import { type Duration, durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import type { Broker } from '../broker/broker.ts'
import { isGuarded } from './access/access-options.ts'
import { isLoopbackHost } from './access/caller.ts'
import { createGateway, drainMsOf, GATEWAY_OPTIONS, type Gateway, type GatewayOptions } from './gateway.ts'
import { nodeFetch } from './node-listener.ts'
import { badRequest, refuseOnSocket } from './problem.ts'

export interface ServeOptions extends GatewayOptions {
  /** 0 chooses a free port. @default 8080 */
  readonly port?: number
  /** Loopback only, unless there is access control. @default '127.0.0.1' */
  readonly host?: string
  /** Serve HTTPS. PEM texts. TLS 1.2 or later. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer }
  /** How long a client may take to send its request: the headers and the body. @default '30s' */
  readonly requestTimeout?: Duration
  /**
   * A connection is closed if nothing was sent on it, or if it did not take its answer, for this time. Longer than a
   * pull may wait. @default '2m'
   */
  readonly idle?: Duration
  /** TCP connections open at once. @default 20,000 */
  readonly maxConnections?: number
}

/** A gateway that listens. */
export interface ServingGateway {
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string
  readonly port: number
  /** A sentence for the person who starts it: who can connect, and which credentials are needed. */
  readonly notice: string
  /**
   * Take no new requests, wait until leased events are settled and running requests end, end event streams (each for up
   * to `drain`). The broker stays open.
   */
  close(): Promise<void>
}

/**
 * Serve a broker over HTTP: on this machine's loopback address, or, with access control, on any.
 *
 * @throws as `createGateway` · INVALID_OPTION when the host is not loopback and there is no access control ·
 * UNAVAILABLE when the port is taken
 * @example
 * ```ts
 * import { connect } from 'millrace'
 * import { serveGateway } from 'millrace/gateway'
 *
 * const broker = await connect('memory:')
 * const gateway = await serveGateway(broker, { port: 0 })
 * const answer = await fetch(`${gateway.url}/ready`)
 * await gateway.close()
 * await broker.close()
 * answer.status // 200
 * ```
 */
export async function serveGateway(broker: Broker, options: ServeOptions = {}): Promise<ServingGateway> {
  knownOptions(
    options,
    [...GATEWAY_OPTIONS, 'port', 'host', 'tls', 'requestTimeout', 'idle', 'maxConnections'],
    'serveGateway',
  )
  const { port = 8080, host = '127.0.0.1', tls, requestTimeout, idle, maxConnections, ...rest } = options
  wholeNumber(port, 'port', 0, 65_535)
  if (typeof host !== 'string' || host === '')
    throw new MillraceError('INVALID_OPTION', `host must be a text; it is ${shown(host)}`, { option: 'host' })
  if (!isGuarded(options.access)) refusePublicHost(host)
  if (tls !== undefined) checkTls(tls)
  const gateway = createGateway(broker, rest)
  const idleMs = Math.min(wholeMs(idle ?? LIMITS.gatewayIdleMs, 'idle'), TIMER_MS_MAX)
  const requestMs = Math.min(wholeMs(requestTimeout ?? LIMITS.gatewayRequestMs, 'requestTimeout'), TIMER_MS_MAX)
  const server = serverOf(gateway, tls, requestMs, idleMs)
  server.timeout = idleMs
  server.maxConnections = wholeNumber(maxConnections ?? LIMITS.gatewayConnectionsMax, 'maxConnections', 1, 1_000_000)
  server.on('upgrade', gateway.upgrade)
  const unused = unusedConnections(server)
  try {
    await gateway.started
    await listen(server, port, host)
  } catch (error) {
    await gateway.close()
    throw error
  }
  const { port: bound } = server.address() as AddressInfo
  const url = `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${bound}`
  let closing: Promise<void> | undefined
  return {
    url,
    port: bound,
    notice: noticeOf(gateway.guarded, host, tls !== undefined),
    close: () => {
      // Requests that settle leased events are accepted until the gateway has drained.
      closing ??= gateway.close().then(() => stop(server, unused, drainMsOf(rest)))
      return closing
    },
  }
}

/** @throws INVALID_OPTION when they are not a certificate and its key */
function checkTls(tls: NonNullable<ServeOptions['tls']>): void {
  knownOptions(tls, ['cert', 'key'], 'tls')
  try {
    createSecureContext({ cert: tls.cert, key: tls.key })
  } catch (cause) {
    const message = `tls.cert and tls.key must be PEM texts, a certificate and its key: ${(cause as Error).message}`
    throw new MillraceError('INVALID_OPTION', message, { option: 'tls' }, { cause })
  }
}

/** Node accepts whole milliseconds only. */
function wholeMs(duration: Duration, option: string): number {
  return Math.ceil(durationMs(duration, option))
}

function serverOf(gateway: Gateway, tls: ServeOptions['tls'], requestMs: number, idleMs: number): Server {
  const bounds = {
    requestTimeout: requestMs,
    headersTimeout: requestMs,
    connectionsCheckingInterval: Math.max(20, Math.min(1000, requestMs / 4)),
    maxHeaderSize: 64 * 1024,
  }
  const server = createAdaptorServer({
    fetch: nodeFetch(gateway.fetch, (answer, outgoing) => cutWhenLate(answer, outgoing, idleMs)),
    // The gateway keeps Node's own Request and Response, because it must not replace an application's globals.
    overrideGlobalObjects: false,
    ...(tls === undefined
      ? { serverOptions: bounds }
      : {
          createServer: createSecureServer,
          serverOptions: { ...bounds, cert: tls.cert, key: tls.key, minVersion: 'TLSv1.2' as const },
        }),
  }) as Server
  server.on('clientError', refuseMalformed)
  return server
}

/**
 * A client that does not read its response in time is disconnected, even if it still sends. Event streams have their
 * own check.
 */
function cutWhenLate(answer: Response, outgoing: ServerResponse, lateMs: number): void {
  if (answer.headers.get('content-type')?.startsWith('text/event-stream') === true) return
  const late = setTimeout(() => outgoing.destroy(), lateMs)
  late.unref()
  outgoing.once('close', () => clearTimeout(late))
}

/**
 * Answer a request that Node's parser refuses, or that does not arrive in time, with a problem document. If the client
 * is gone, only close the socket.
 */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
    refuseOnSocket(socket, badRequest(408, 'the request took too long to arrive'))
  else if (error.code === 'HPE_HEADER_OVERFLOW')
    refuseOnSocket(socket, badRequest(431, 'the headers of the request are larger than 64 KiB'))
  else refuseOnSocket(socket, badRequest(400, `the request is not valid HTTP (${error.code ?? error.message})`))
  // A client that keeps sending, or reads nothing, cannot keep the connection open.
  setTimeout(() => socket.destroy(), 1000).unref()
}

function noticeOf(guarded: boolean, host: string, secure: boolean): string {
  if (!guarded) return 'loopback only: there is no access control (add it with millrace tokens add)'
  if (isLoopbackHost(host)) return 'loopback only, with access control'
  return secure
    ? 'with access control, over TLS'
    : 'with access control, without TLS: put a proxy with TLS in front, or tokens are sent in the clear'
}

function refusePublicHost(host: string): void {
  if (isLoopbackHost(host)) return
  throw new MillraceError(
    'INVALID_OPTION',
    `host "${host}" is not a loopback address, and there is no access control: everybody who can connect could read, publish and delete. Use 127.0.0.1, or give it tokens (millrace tokens add, the gateway's access option)`,
    { option: 'host', host },
  )
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? `port ${port} is in use: choose another, or 0 for any` : cause.message
      reject(
        new MillraceError(
          'UNAVAILABLE',
          `the gateway cannot listen on ${host}:${port}: ${why}`,
          { host, port, errno: cause.code ?? null },
          { cause },
        ),
      )
    })
    server.listen(port, host, () => resolve())
  })
}

/** Connections that have sent no request yet. Browsers open them in advance, and Node does not count them as idle. */
function unusedConnections(server: Server): ReadonlySet<Socket> {
  const unused = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  server.on('request', ({ socket }) => unused.delete(socket))
  return unused
}

/** Keep-alive connections do not end by themselves: each is closed after its last response. */
function stop(server: Server, unused: ReadonlySet<Socket>, drainMs: number): Promise<void> {
  return new Promise((resolve) => {
    const idle = setInterval(() => server.closeIdleConnections(), 20)
    const cut = setTimeout(() => server.closeAllConnections(), Math.min(drainMs, TIMER_MS_MAX))
    server.close(() => {
      clearInterval(idle)
      clearTimeout(cut)
      resolve()
    })
    for (const socket of unused) socket.destroy()
  })
}

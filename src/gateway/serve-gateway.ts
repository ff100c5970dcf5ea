/** The gateway on a port of its own. */
import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { wholeNumber } from '../base/units.ts'
import type { Broker } from '../broker/broker.ts'
import { createGateway, drainMsOf, type GatewayOptions } from './gateway.ts'

export interface ServeOptions extends GatewayOptions {
  /** 0 takes any that is free. @default 8080 */
  readonly port?: number
  /** Loopback only, as there is no access control yet. @default '127.0.0.1' */
  readonly host?: string
}

/** A gateway that listens. */
export interface ServingGateway {
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string
  readonly port: number
  /** Take no more requests, finish those that run (for up to 5 s), end event streams. The broker stays open. */
  close(): Promise<void>
}

/**
 * Serve a broker over HTTP on this machine's loopback address.
 *
 * @throws INVALID_OPTION when the host is not loopback: without access control nobody else may reach it · UNAVAILABLE when the port is taken
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
  const { port = 8080, host = '127.0.0.1', ...rest } = options
  wholeNumber(port, 'port', 0, 65_535)
  refusePublicHost(host)
  const gateway = createGateway(broker, rest)
  const server = createAdaptorServer({
    fetch: (request, env) => gateway.fetch(request, env),
    // The gateway keeps Node's own Request and Response: an application's globals are not its to replace.
    overrideGlobalObjects: false,
    serverOptions: { requestTimeout: LIMITS.gatewayRequestMs, headersTimeout: LIMITS.gatewayRequestMs, maxHeaderSize: 64 * 1024 },
  }) as Server
  server.maxConnections = LIMITS.gatewayConnectionsMax
  server.on('upgrade', gateway.upgrade)
  await gateway.started
  const unused = unusedConnections(server)
  await listen(server, port, host)
  const { port: bound } = server.address() as AddressInfo
  let closing: Promise<void> | undefined
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    port: bound,
    close: () => {
      // Until the gateway has drained, requests that settle what is leased are still taken.
      closing ??= gateway.close().then(() => stop(server, unused, drainMsOf(rest)))
      return closing
    },
  }
}

function refusePublicHost(host: string): void {
  if (host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)) return
  throw new MillraceError(
    'INVALID_OPTION',
    `host "${host}" is not a loopback address. The gateway has no access control yet: whoever reaches it may read, publish and delete. Use 127.0.0.1, and a proxy that authenticates to let others in`,
    { option: 'host', host },
  )
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? `port ${port} is in use: choose another, or 0 for any` : cause.message
      reject(new MillraceError('UNAVAILABLE', `the gateway cannot listen on ${host}:${port}: ${why}`, { host, port, errno: cause.code ?? null }, { cause }))
    })
    server.listen(port, host, () => resolve())
  })
}

/** Connections that have asked for nothing yet. Browsers open them ahead, and Node does not count them as idle. */
function unusedConnections(server: Server): ReadonlySet<Socket> {
  const unused = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  server.on('request', ({ socket }) => unused.delete(socket))
  return unused
}

/** Connections that are kept alive do not end by themselves: each is closed when its last answer is out. */
function stop(server: Server, unused: ReadonlySet<Socket>, drainMs: number): Promise<void> {
  return new Promise((resolve) => {
    const idle = setInterval(() => server.closeIdleConnections(), 20)
    const cut = setTimeout(() => server.closeAllConnections(), drainMs)
    server.close(() => {
      clearInterval(idle)
      clearTimeout(cut)
      resolve()
    })
    for (const socket of unused) socket.destroy()
  })
}

/**
 * WebSocket for other Millrace processes: `connect('ws://…')` gives the whole broker over one connection. The protocol
 * is in `wire/` and docs/protocol.md.
 *
 * Here a connection gets its access from the principal that the gateway has authenticated.
 */
import type { WebSocketServer } from 'ws'
import { LIMITS } from '../../base/limits.ts'
import type { Access, Permission } from '../../wire/access.ts'
import { SessionServer } from '../../wire/server/session-server.ts'
import { webSocketLibrary } from '../../wire/web-socket-library.ts'
import { WebSocketTransport } from '../../wire/web-socket-transport.ts'
import { type Principal, requireHeld, requirePermission } from '../access/principal.ts'
import type { GatewayHost } from '../gateway-host.ts'
import type { GatewayPart, Route, Upgrade, UpgradeRoute } from '../route.ts'

/** The WebSocket subprotocol that both ends must name. */
const SUBPROTOCOL = 'millrace.1'
const POLICY_VIOLATION = 1008

export class SocketPart implements GatewayPart {
  readonly routes: readonly Route[] = []
  readonly upgrades: readonly UpgradeRoute[]
  readonly #host: GatewayHost
  #sockets: WebSocketServer | null = null
  #sessions: SessionServer | null = null

  constructor(host: GatewayHost) {
    this.#host = host
    this.upgrades = [
      {
        path: '/ws',
        name: 'connect',
        summary: 'Connect to the broker over a WebSocket: docs/protocol.md',
        handle: (upgrade) => this.#take(upgrade),
      },
    ]
  }

  async start(): Promise<void> {
    const { engine } = this.#host.core
    this.#sessions ??= new SessionServer(engine)
  }

  async #take({ incoming, socket, head, principal, release }: Upgrade): Promise<void> {
    const ignore = (): void => undefined
    socket.on('error', ignore)
    await this.start()
    const sockets = await this.#listener()
    socket.off('error', ignore)
    if (socket.destroyed) return release()
    const sessions = this.#sessions as SessionServer
    socket.once('close', release)
    sockets.handleUpgrade(incoming, socket, head, (webSocket) => {
      const accepted = sessions.accept(new WebSocketTransport(webSocket, () => undefined), () =>
        this.#accessOf(principal),
      )
      const unwatch = this.#host.vigil.watch(principal, () => {
        webSocket.close(POLICY_VIOLATION, 'the credentials are no longer valid')
        accepted.end()
        setTimeout(() => webSocket.terminate(), LIMITS.gatewayCredentialsMs).unref()
      })
      webSocket.once('close', unwatch)
    })
  }

  async #listener(): Promise<WebSocketServer> {
    const { WebSocketServer } = await webSocketLibrary()
    this.#sockets ??= new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: LIMITS.wireFrameBytesMax,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    })
    return this.#sockets
  }

  #accessOf(principal: Principal): Access {
    return {
      name: `${principal.kind}:${principal.name}`,
      trusted: principal.kind === 'owner',
      check: (permission: Permission, channel: string) => {
        requireHeld(principal)
        requirePermission(principal, permission, channel)
      },
      admit: (requests) => this.#host.quota.take(principal, requests),
      charge: () => this.#host.quota.charge(principal),
      audit: async ({ method, target, outcome, code }) => {
        const status = outcome === 'done' ? 200 : outcome === 'refused' ? 403 : 400
        await this.#host.audit.record({
          action: method,
          principal,
          target,
          outcome,
          status,
          ...(code !== undefined && { code }),
        })
      },
    }
  }

  close(): void {
    this.#sessions?.close()
  }
}

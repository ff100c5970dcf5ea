/**
 * WebSocket (and other) upgrades. The checks of origin, credentials and quota, and the problem documents, are the same
 * as for requests.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { MillraceError } from '../base/errors.ts'
import type { Authenticator } from './access/authenticator.ts'
import { type Caller, callerOfUpgrade } from './access/caller.ts'
import type { GatewayHost } from './gateway-host.ts'
import type { OriginGuard } from './origin-guard.ts'
import { badRequest, refuseOnSocket } from './problem.ts'
import type { UpgradeRoute } from './route.ts'

export class Upgrades {
  readonly #routes: ReadonlyMap<string, UpgradeRoute>
  readonly #guard: OriginGuard
  readonly #authenticator: Authenticator
  readonly #host: GatewayHost
  readonly #isClosing: () => boolean

  constructor(
    routes: readonly UpgradeRoute[],
    guard: OriginGuard,
    authenticator: Authenticator,
    host: GatewayHost,
    isClosing: () => boolean,
  ) {
    this.#routes = new Map(routes.map((route) => [route.path, route]))
    this.#guard = guard
    this.#authenticator = authenticator
    this.#host = host
    this.#isClosing = isClosing
  }

  /** Answer an upgrade: give the socket to its route, or refuse it. Never throws. */
  async answer(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const ignore = (): void => undefined
    // Until a route has the socket, an error on it only means that the client has disconnected.
    socket.on('error', ignore)
    let release = ignore
    try {
      const caller = callerOf(incoming)
      this.#guard.check(caller)
      const route = this.#routes.get(caller.url.pathname)
      if (route === undefined)
        throw badRequest(404, `there is nothing to upgrade to at ${caller.url.pathname.slice(0, 200)}`)
      if (this.#isClosing()) throw new MillraceError('CLOSED', 'the gateway is closing')
      const principal = await this.#authenticator.authenticate(caller)
      release = this.#host.quota.admit(principal)
      if (socket.destroyed) return release()
      socket.off('error', ignore)
      await route.handle({ incoming, socket, head, url: caller.url, principal, release })
    } catch (error) {
      release()
      this.#host.report(error)
      refuseOnSocket(socket, error)
    }
  }
}

function callerOf(incoming: IncomingMessage): Caller {
  try {
    return callerOfUpgrade(incoming)
  } catch {
    throw badRequest(400, 'the target of the request is not a URL')
  }
}

/** The part of the gateway that pushes: it runs the subscriptions, and serves their routes. */
import type { GatewayHost } from '../gateway-host.ts'
import type { GatewayPart, Route } from '../route.ts'
import { pushRoutes } from './push-routes.ts'
import { PushService, type PushSettings } from './push-service.ts'

export class PushPart implements GatewayPart {
  readonly routes: readonly Route[]
  readonly #service: PushService

  constructor(host: GatewayHost, settings: PushSettings) {
    this.#service = new PushService(host, settings)
    this.routes = pushRoutes(this.#service)
  }

  start(): Promise<void> {
    return this.#service.start()
  }

  close(): Promise<void> {
    return this.#service.close()
  }
}

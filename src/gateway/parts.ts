/** The list of the gateway's parts. A new part is added here. */

import { callerRoute } from './caller-route.ts'
import { CataloguePart } from './catalogue/catalogue-routes.ts'
import { CausalityPart } from './causality-routes.ts'
import { deadLetterRoutes } from './dead-letter-routes.ts'
import { delayedRoutes } from './delayed-routes.ts'
import { FlowPartOfGateway } from './flow/flow-routes.ts'
import type { GatewayHost } from './gateway-host.ts'
import { HistoryPart } from './history-part.ts'
import { LettersPart } from './letters/letter-routes.ts'
import { managementRoutes } from './management-routes.ts'
import { metricsRoute } from './metrics-route.ts'
import { operationRoutes } from './operation-routes.ts'
import { publishRoute } from './publish-route.ts'
import { pullPart } from './pull/pull-routes.ts'
import { PushPart } from './push/push-part.ts'
import type { PushSettings } from './push/push-service.ts'
import { readRoute } from './read-route.ts'
import { requestRoute } from './request-route.ts'
import { retryRoute } from './retry-routes.ts'
import type { GatewayPart } from './route.ts'
import { rulesRoutes } from './rules-routes.ts'
import { scheduleRoutes } from './schedule-routes.ts'
import { channelRoute } from './search/channel-route.ts'
import { rewindPreviewRoute } from './search/rewind-preview.ts'
import { searchRoute } from './search/search-route.ts'
import { SocketPart } from './socket/socket-part.ts'
import { EventStreams, type StreamLimits } from './stream-route.ts'
import { tableRoutes } from './table-routes.ts'
import { handshakeRoute } from './webhook-handshake.ts'
import type { WebhookEndpoint } from './webhooks/webhook-options.ts'
import { WebhookPart } from './webhooks/webhook-part.ts'
import { whyRoutes } from './why-routes.ts'

export interface PartSettings {
  readonly streams: StreamLimits
  /** How long a closing part waits for running work. */
  readonly drainMs: number
  /** The rate for a sender that has no limit of its own. */
  readonly ratePerMinute: number
  readonly isClosing: () => boolean
  readonly push: Omit<PushSettings, 'drainMs'>
  /** Channels and consumers whose figures are recorded; 0 records nothing. */
  readonly historyObjects: number
  readonly webhooks: ReadonlyMap<string, WebhookEndpoint>
}

/** The parts, in the order in which they start. They close in reverse order. */
export function gatewayParts(host: GatewayHost, settings: PartSettings): GatewayPart[] {
  const { broker } = host
  return [
    {
      routes: [
        publishRoute(host),
        requestRoute(host),
        handshakeRoute(settings.ratePerMinute),
        readRoute(host),
        searchRoute(host),
        channelRoute(host),
      ],
    },
    new WebhookPart(host, settings.webhooks),
    new CausalityPart(host),
    new EventStreams(host, settings.streams),
    pullPart(host, settings.drainMs),
    new PushPart(host, { ...settings.push, drainMs: settings.drainMs }),
    new SocketPart(host),
    { routes: deadLetterRoutes(host) },
    new LettersPart(host),
    { routes: delayedRoutes(host) },
    { routes: tableRoutes(host) },
    { routes: rulesRoutes(broker) },
    { routes: scheduleRoutes(broker) },
    { routes: [...whyRoutes(host), retryRoute(host)] },
    { routes: [...managementRoutes(host), rewindPreviewRoute(host)] },
    new FlowPartOfGateway(host),
    new HistoryPart(host, settings.historyObjects),
    new CataloguePart(host),
    { routes: [...operationRoutes(host, settings.isClosing), callerRoute(host)] },
    { routes: [metricsRoute(host)] },
  ]
}

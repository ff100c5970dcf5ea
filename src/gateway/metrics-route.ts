/**
 * `GET /metrics`: what this process counts, and the numbers of `describe()`, in Prometheus form. Counting begins with
 * the first request.
 */
import { compileWildcard, isWildcard } from '../base/names.ts'
import type { BrokerDescription } from '../broker/description.ts'
import { metricFamilies } from '../telemetry/broker-metrics.ts'
import { CONTENT_TYPES, type Exposition, prometheusText } from '../telemetry/prometheus-text.ts'
import { observerOf } from '../telemetry/telemetry-observer.ts'
import type { GatewayHost } from './gateway-host.ts'
import type { Route } from './route.ts'

export function metricsRoute(host: GatewayHost): Route {
  let describing: Promise<BrokerDescription> | null = null
  /** Scrapes at the same time share one description. */
  const describe = (): Promise<BrokerDescription> => {
    describing ??= host.broker.describe().finally(() => {
      describing = null
    })
    return describing
  }
  return {
    method: 'GET',
    path: '/metrics',
    name: 'metrics',
    summary: 'Show metrics for Prometheus: those of the channels for which the caller has the permission.',
    description:
      'Text format 0.0.4, or OpenMetrics 1.0 if the Accept header asks for it. Beyond 1,000 channels or consumers the others are one series, "other": ask for fewer with match.',
    tag: 'operation',
    access: { action: 'metrics', of: 'handler' },
    query: {
      match: { description: 'Only channels of this name or wildcard (orders.*).', schema: { type: 'string' } },
    },
    headers: { accept: { description: 'application/openmetrics-text for OpenMetrics.', schema: { type: 'string' } } },
    answers: {
      200: {
        description: 'The metrics.',
        content: {
          'text/plain': { type: 'string' },
          'application/openmetrics-text': { type: 'string' },
        },
      },
    },
    refuses: ['INVALID_NAME', 'CLOSED'],
    handle: async (request) => {
      const permitted = request.permitted('metrics')
      const matches = matcherOf(request.query['match'])
      const { meter } = observerOf(host.core)
      const description = await describe()
      const seesAll = permitted('>')
      if (!seesAll && !description.channels.some(({ name }) => permitted(name))) request.permit('metrics', '>')
      const families = metricFamilies(
        meter,
        seesAll ? description : { ...description, alarms: [] },
        (channel) => matches(channel) && permitted(channel),
      )
      const exposition = expositionOf(request.raw.headers.get('accept'))
      return new Response(prometheusText(families, exposition), {
        headers: { 'content-type': CONTENT_TYPES[exposition] },
      })
    },
  }
}

/** @throws INVALID_NAME when a wildcard is malformed */
function matcherOf(match: string | undefined): (channel: string) => boolean {
  if (match === undefined) return () => true
  return isWildcard(match) ? compileWildcard(match) : (channel) => channel === match
}

function expositionOf(accept: string | null): Exposition {
  return accept?.includes('application/openmetrics-text') === true ? 'openmetrics' : 'text'
}

/**
 * `POST /channels/{channel}/requests`: publish one CloudEvent as a request, and answer with the reply (clause 22). One
 * HTTP call, as if the consumer were a web service.
 */
import { LIMITS } from '../base/limits.ts'
import { durationMs } from '../base/units.ts'
import type { UntypedEvent } from '../broker/broker.ts'
import { decodeForPublish } from '../event/http/decode-for-publish.ts'
import { httpModeOf } from '../event/http/decode-http.ts'
import { STRUCTURED } from '../event/http/media-type.ts'
import type { GatewayHost } from './gateway-host.ts'
import { badRequest } from './problem.ts'
import type { GatewayRequest, Route } from './route.ts'
import { CHANNEL, CLOUD_EVENTS } from './schemas.ts'

export function requestRoute(host: GatewayHost): Route {
  return {
    method: 'POST',
    path: '/channels/{channel}/requests',
    name: 'request',
    summary: 'Publish one CloudEvent as a request, and wait for the reply of the consumer that handles it.',
    tag: 'events',
    access: { action: 'publish', of: 'channel' },
    parameters: { channel: CHANNEL },
    query: {
      timeout: {
        description: 'How long to wait for the reply: 500ms, 10s; at most 5m.',
        schema: { type: 'string', default: '30s' },
      },
    },
    body: { required: true, content: { ...CLOUD_EVENTS, '*/*': {} } },
    answers: { 200: { description: 'The reply, as a CloudEvent.', content: { [STRUCTURED]: { type: 'object' } } } },
    refuses: [
      'INVALID_EVENT',
      'SCHEMA_MISMATCH',
      'UNKNOWN_VERSION',
      'TYPE_NOT_CARRIED',
      'EVENT_TOO_LARGE',
      'REQUEST_TOO_LARGE',
      'UNKNOWN_CHANNEL',
      'REQUEST_FAILED',
      'REQUEST_TIMEOUT',
      'BACKPRESSURE',
      'CLOSED',
    ],
    handle: (request) => ask(request, host),
  }
}

async function ask(request: GatewayRequest, { broker }: GatewayHost): Promise<Response> {
  const { headers } = request.raw
  const mode = httpModeOf(headers)
  if (mode !== 'structured' && mode !== 'binary')
    throw badRequest(415, `a request is one CloudEvent: send ${STRUCTURED}, or the binary mode's ce- headers`)
  const timeout = durationMs(request.query['timeout'] ?? LIMITS.requestMsDefault, 'timeout')
  const [event] = await request.body((body) => decodeForPublish(headers, body) as UntypedEvent[])
  const channel = request.parameters['channel'] as string
  const asked = event as UntypedEvent
  // The copy has the data that a schema sees, and keeps the text that is stored.
  const copy = { ...asked, ...(asked.data !== undefined && { data: asked.data }) }
  const reply = await broker.request(channel, copy, { timeout, signal: request.signal })
  const { offset: _, ...said } = reply
  return new Response(JSON.stringify(said), { headers: { 'content-type': STRUCTURED } })
}

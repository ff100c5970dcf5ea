/**
 * `POST /channels/{channel}/events`: CloudEvents in binary, structured or batched mode. Answers after the events are
 * durable.
 */
import { MillraceError } from '../base/errors.ts'
import { timeMsOf } from '../base/time-text.ts'
import type { Duration } from '../base/units.ts'
import type { PublishOptions, UntypedEvent } from '../broker/broker.ts'
import { refuseMasked } from '../broker/masked-publish.ts'
import { decodeForPublish } from '../event/http/decode-for-publish.ts'
import { httpModeOf } from '../event/http/decode-http.ts'
import { BATCHED, STRUCTURED } from '../event/http/media-type.ts'
import { putTrace, traceOfHeaders } from '../event/http/trace-headers.ts'
import { MASK } from '../event/sensitive/masked-event.ts'
import { jsonAnswer } from './direct-answer.ts'
import type { GatewayHost } from './gateway-host.ts'
import { badRequest } from './problem.ts'
import type { GatewayRequest, Route } from './route.ts'
import { CHANNEL, CLOUD_EVENTS, json, ref } from './schemas.ts'

export function publishRoute(host: GatewayHost): Route {
  return {
    method: 'POST',
    path: '/channels/{channel}/events',
    name: 'publishEvents',
    summary: 'Publish CloudEvents: one (binary or structured mode), or a batch, which is stored whole or not at all.',
    description: `Answers when they are durable. Any other content type than ${STRUCTURED} and ${BATCHED} is the data of one event, whose attributes are in ce- headers (binary mode).`,
    tag: 'events',
    access: { action: 'publish', of: 'channel' },
    parameters: { channel: CHANNEL },
    query: {
      delay: { description: 'Delay the events by this time: 30s, 10m, 2h.', schema: { type: 'string' } },
      at: { description: 'Delay the events until this time.', schema: { type: 'string', format: 'date-time' } },
    },
    headers: {
      traceparent: {
        description: 'W3C trace context: that of events without one of their own, with tracestate.',
        schema: { type: 'string' },
      },
      tracestate: { description: 'Belongs to traceparent.', schema: { type: 'string' } },
    },
    body: { required: true, content: { ...CLOUD_EVENTS, '*/*': {} } },
    answers: {
      202: {
        description: 'The events are durable. One receipt for each event, in order.',
        content: json({
          type: 'object',
          required: ['receipts'],
          properties: { receipts: { type: 'array', items: ref('Receipt') } },
        }),
      },
    },
    refuses: [
      'INVALID_EVENT',
      'INVALID_OPTION',
      'SCHEMA_MISMATCH',
      'UNKNOWN_VERSION',
      'TYPE_NOT_CARRIED',
      'EVENT_TOO_LARGE',
      'REQUEST_TOO_LARGE',
      'UNKNOWN_CHANNEL',
      'BACKPRESSURE',
      'DISK_FULL',
      'CLOSED',
    ],
    handle: (request) => publish(request, host),
  }
}

async function publish(request: GatewayRequest, host: GatewayHost): Promise<Response> {
  const later = laterOf(request.query)
  const { headers } = request.raw
  const mode = httpModeOf(headers)
  if (mode === 'foreign' || mode === 'none') {
    const contentType = headers.get('content-type')
    throw badRequest(
      415,
      `there is no CloudEvent in the request that can be read: send ${STRUCTURED}, ${BATCHED}, or the binary mode's ce- headers`,
      {
        contentType,
      },
    )
  }
  const channel = request.parameters['channel'] as string
  const { encoder } = host.core
  if (!encoder.isReady(channel)) await encoder.prepare(channel)
  const bytesMax = mode === 'batched' ? Number.POSITIVE_INFINITY : encoder.eventBytesMax(channel)
  return request.body(async (body) => {
    // Whitespace around attributes is not stored, so a structured body may be larger than the stored event.
    if (body.byteLength > (mode === 'structured' ? 2 * bytesMax : bytesMax))
      throw tooLarge(channel, body.byteLength, bytesMax)
    const events = decodeForPublish(headers, body) as UntypedEvent[]
    if (Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes(MASK))
      await refuseMaskedIn(host, channel, events)
    const trace = traceOfHeaders(headers)
    if (trace !== null) putTrace(events, trace)
    const receipts = await host.broker.publish(channel, events, later)
    return jsonAnswer(request, { receipts }, 202)
  })
}

async function refuseMaskedIn({ core }: GatewayHost, channel: string, events: readonly UntypedEvent[]): Promise<void> {
  const spec = await core.engine.channel(channel)
  if (spec === undefined) return
  for (const { id, type, data } of events)
    refuseMasked(spec, { id, type, text: JSON.stringify({ id, type, data: data ?? null }) })
}

function tooLarge(channel: string, bytes: number, bytesMax: number): MillraceError {
  return new MillraceError(
    'EVENT_TOO_LARGE',
    `the event has ${bytes} bytes; channel "${channel}" takes ${bytesMax}: store the data elsewhere and publish a reference`,
    {
      channel,
      bytes,
      bytesMax,
    },
  )
}

function laterOf({ delay, at }: GatewayRequest['query']): PublishOptions {
  if (at === undefined) return delay === undefined ? {} : { delay: delay as Duration }
  const atMs = timeMsOf(at)
  if (atMs === undefined)
    throw badRequest(400, `at must be an RFC 3339 time; it is "${at.slice(0, 60)}"`, { parameter: 'at' })
  return { at: new Date(atMs), ...(delay !== undefined && { delay: delay as Duration }) }
}

/**
 * Incoming webhooks: `POST /webhooks/NAME`, one endpoint for each configured sender.
 *
 * The signature authenticates a delivery; no token is needed. It is checked over the received bytes before they are
 * parsed. A valid delivery is published as an event whose id is the sender's id of the delivery, so a repeated delivery
 * is stored once. The response is sent when the event is durable.
 */
import { createHash } from 'node:crypto'
import { MillraceError } from '../../base/errors.ts'
import type { UntypedEvent } from '../../broker/broker.ts'
import { type ChannelSpec, stream } from '../../channel/channel.ts'
import { DATA_TEXT, type Encodable } from '../../event/encode.ts'
import { checkedDepth, decodeForPublish } from '../../event/http/decode-for-publish.ts'
import { httpModeOf } from '../../event/http/decode-http.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { badRequest } from '../problem.ts'
import type { GatewayPart, GatewayRequest, Route } from '../route.ts'
import { json, ref } from '../schemas.ts'
import type { EventFacts, Payload, Verified } from './scheme.ts'
import { badSignature } from './signature.ts'
import type { WebhookEndpoint } from './webhook-options.ts'

/** The window for ids: senders retry for days. */
const DEDUPE_AGE = '7d'

export class WebhookPart implements GatewayPart {
  readonly routes: readonly Route[]
  readonly #endpoints: ReadonlyMap<string, WebhookEndpoint>
  readonly #host: GatewayHost

  constructor(host: GatewayHost, endpoints: ReadonlyMap<string, WebhookEndpoint>) {
    this.#host = host
    this.#endpoints = endpoints
    this.routes = [receiveRoute((request) => this.#receive(request))]
  }

  /** Create missing channels: a sender stops using an endpoint that answers 404. */
  async start(): Promise<void> {
    if (this.#endpoints.size === 0) return
    const { engine } = this.#host.core
    for (const [channel, eventBytesMax] of limitsOf([...this.#endpoints.values()])) {
      const there = await engine.channel(channel)
      if (there === undefined) {
        const limit = eventBytesMax === null ? {} : { maxEventBytes: eventBytesMax }
        await this.#host.broker.declare(stream(channel, { dedupe: { age: DEDUPE_AGE }, ...limit }))
      } else if (eventBytesMax !== null && eventBytesMax !== there.eventBytesMax) throw otherLimit(there, eventBytesMax)
    }
  }

  async #receive(request: GatewayRequest): Promise<Response> {
    const endpoint = this.#endpoints.get(request.parameters['webhook'] ?? '')
    if (endpoint === undefined)
      throw badRequest(404, 'there is no webhook endpoint of that name: name it in the configuration (webhooks)')
    const { scheme, secrets, toleranceMs, name } = endpoint
    const { headers } = request.raw
    // The body of an unsigned delivery is not read.
    if (!scheme.signedBy.some((header) => headers.has(header)))
      throw badSignature(`it has no ${scheme.signedBy[0]} header`)
    const { engine } = this.#host.core
    return request.body(async (body) => {
      scheme.verify({ headers, body, secrets, toleranceMs, nowMs: engine.clock.now() })
      const verified: Verified = { headers, body, endpoint: name }
      const mode = httpModeOf(headers)
      if (mode === 'structured' || mode === 'batched') return this.#publish(endpoint, decodeForPublish(headers, body))
      const payload = scheme.payload(verified)
      const answer = scheme.answer?.(payload) ?? null
      if (answer !== null) return Response.json(answer)
      const published = await this.#publish(endpoint, [eventOf(verified, scheme.event(verified, payload), payload)])
      return scheme.quiet?.(verified) === true ? new Response(null) : published
    })
  }

  async #publish({ channel }: WebhookEndpoint, events: readonly Encodable[]): Promise<Response> {
    return Response.json({ receipts: await this.#host.broker.publish(channel, events as UntypedEvent[]) })
  }
}

/** The channels of the endpoints, each with the largest limit that one of its endpoints asks for. */
function limitsOf(endpoints: readonly WebhookEndpoint[]): ReadonlyMap<string, number | null> {
  const limits = new Map<string, number | null>()
  for (const { channel, eventBytesMax } of endpoints) {
    const before = limits.get(channel) ?? null
    limits.set(
      channel,
      before === null || eventBytesMax === null ? (before ?? eventBytesMax) : Math.max(before, eventBytesMax),
    )
  }
  return limits
}

function otherLimit({ name, eventBytesMax }: ChannelSpec, asked: number): MillraceError {
  return new MillraceError(
    'INVALID_OPTION',
    `webhooks: channel "${name}" is there already and takes events of up to ${eventBytesMax} bytes, not ${asked}: ` +
      'leave maxEventBytes out, or remove the channel so that it is made again',
    { option: 'maxEventBytes', channel: name },
  )
}

function eventOf({ body, endpoint }: Verified, facts: EventFacts, { value, text }: Payload): Encodable {
  const { type, source, subject, time, key } = facts
  // A sender without delivery ids repeats the same bytes, so their hash serves as the id.
  const id = facts.id ?? `sha256-${createHash('sha256').update(body).digest('base64url')}`
  return {
    type,
    id,
    source: source ?? `/webhooks/${endpoint}`,
    datacontenttype: 'application/json',
    ...(subject !== undefined && { subject }),
    ...(time !== undefined && { time }),
    ...(key !== undefined && { partitionkey: key }),
    data: value,
    [DATA_TEXT]: checkedDepth(text, { type, id }),
  } as Encodable
}

function receiveRoute(handle: Route['handle']): Route {
  const text = { type: 'string' }
  return {
    method: 'POST',
    path: '/webhooks/{webhook}',
    name: 'receiveWebhook',
    summary:
      'Deliver a webhook of a configured sender: GitHub, Stripe, Slack, Shopify, or one that follows Standard Webhooks.',
    description:
      'The signature is the credential. It is checked over the body as it arrived. A delivery that is sent again is stored once.',
    tag: 'webhooks',
    access: 'open',
    parameters: { webhook: { description: 'The endpoint’s name.', required: true, schema: text } },
    headers: {
      'x-hub-signature-256': { description: 'GitHub', schema: text },
      'stripe-signature': { description: 'Stripe', schema: text },
      'x-slack-signature': { description: 'Slack', schema: text },
      'x-shopify-hmac-sha256': { description: 'Shopify', schema: text },
      'webhook-signature': { description: 'Standard Webhooks', schema: text },
    },
    body: {
      required: true,
      content: { ...json({ type: 'object' }), 'application/x-www-form-urlencoded': { type: 'object' } },
    },
    answers: {
      200: {
        description: 'It is durable; or the answer that the sender asked for (Slack’s url_verification).',
        content: json({
          type: 'object',
          properties: { receipts: { type: 'array', items: ref('Receipt') }, challenge: text },
        }),
      },
    },
    refuses: [
      'INVALID_SIGNATURE',
      'INVALID_EVENT',
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
    handle,
  }
}

/**
 * The handshake of the CloudEvents webhook specification, in both roles: a sender first asks with OPTIONS, and the
 * target grants it.
 *
 * As target: `OPTIONS /channels/{channel}/events` with `WebHook-Request-Origin`. It is granted with the permission to
 * publish to the channel, at the caller's usual rate. As sender: `requestHandshake`, before anything is pushed to a
 * subscriber's URL.
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md §4
 */
import { guardedRequest, type Resolver, systemResolver } from '../outbound/guarded-request.ts'
import type { AddressGuard } from '../outbound/public-address.ts'
import { badRequest } from './problem.ts'
import type { Route } from './route.ts'
import { CHANNEL } from './schemas.ts'

/** A DNS name, as the specification requires for the origin. */
const ORIGIN = /^(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}))*$/
const ANSWER_MS = 10_000

export function isDnsName(text: string): boolean {
  return ORIGIN.test(text)
}

/** The route of the webhook handshake. `ratePerMinute` is the rate for a caller that has no limit of its own. */
export function handshakeRoute(ratePerMinute: number): Route {
  const text = { schema: { type: 'string' } }
  return {
    method: 'OPTIONS',
    path: '/channels/{channel}/events',
    name: 'grantWebhook',
    summary: 'Ask whether an origin may send to the channel, and how fast: the handshake of CloudEvents webhooks.',
    tag: 'events',
    access: { action: 'publish', of: 'channel' },
    parameters: { channel: CHANNEL },
    headers: {
      'webhook-request-origin': { ...text, required: true, description: 'The DNS name of the system that will send.' },
      'webhook-request-rate': { ...text, description: 'The requests a minute that it asks for.' },
      'webhook-request-callback': { ...text, description: 'Not needed: the answer is given at once.' },
    },
    answers: {
      200: {
        description: 'It may.',
        headers: {
          'webhook-allowed-origin': { ...text, description: 'The origin that was asked for.' },
          'webhook-allowed-rate': { ...text, description: 'Requests a minute.' },
          allow: { ...text, description: 'POST' },
        },
      },
    },
    handle: ({ raw, principal }) => {
      const origin = raw.headers.get('webhook-request-origin')
      if (origin === null || !ORIGIN.test(origin)) {
        throw badRequest(400, 'WebHook-Request-Origin must be the DNS name of the system that asks to send', {
          header: 'webhook-request-origin',
        })
      }
      const most = Math.min(
        ratePerMinute,
        Math.floor((principal.limits.requestsPerSecond ?? Number.POSITIVE_INFINITY) * 60),
      )
      const asked = rateOf(raw.headers.get('webhook-request-rate'))
      if (asked === undefined)
        throw badRequest(400, 'WebHook-Request-Rate must be a whole number of requests a minute', {
          header: 'webhook-request-rate',
        })
      const granted = String(asked === null ? most : Math.min(asked, most))
      return new Response(null, {
        headers: { 'webhook-allowed-origin': origin, 'webhook-allowed-rate': granted, allow: 'OPTIONS, POST' },
      })
    },
  }
}

/** `null` when the rate is missing or `*`; `undefined` when it is not a number. */
function rateOf(text: string | null): number | null | undefined {
  if (text === null || text.trim() === '*') return null
  return /^[1-9]\d{0,14}$/.test(text.trim()) ? Number(text) : undefined
}

export interface HandshakeOptions {
  /** The DNS name that this system sends as. */
  readonly origin: string
  /** The rate that it asks for, in requests per minute. */
  readonly ratePerMinute?: number
  /** Further headers for the target, such as credentials. */
  readonly headers?: Readonly<Record<string, string>>
  /** Decides which addresses may be connected to. */
  readonly guard: AddressGuard
  readonly resolver?: Resolver
  readonly signal?: AbortSignal
}

export interface Handshake {
  /** Whether the target allows this origin to send. */
  readonly allowed: boolean
  /** Requests per minute; `null` means no limit. */
  readonly ratePerMinute: number | null
  readonly status: number
}

/**
 * Ask a target whether events may be sent to it. Redirects are not followed.
 * @throws UNAVAILABLE when it does not answer within 10 s · FORBIDDEN when its address must not be connected to
 */
export async function requestHandshake(url: string, options: HandshakeOptions): Promise<Handshake> {
  const {
    origin,
    ratePerMinute,
    headers = {},
    guard,
    resolver = systemResolver,
    signal = new AbortController().signal,
  } = options
  const asked = {
    ...headers,
    'webhook-request-origin': origin,
    ...(ratePerMinute !== undefined && { 'webhook-request-rate': String(ratePerMinute) }),
  }
  const answer = await guardedRequest(
    { url, method: 'OPTIONS', headers: asked, body: '', timeoutMs: ANSWER_MS, signal },
    guard,
    resolver,
  )
  const granted = headerOf(answer.headers['webhook-allowed-origin'])
  const rate = rateOf(headerOf(answer.headers['webhook-allowed-rate']))
  const { status } = answer
  const allowed =
    status >= 200 &&
    status < 300 &&
    rate !== undefined &&
    (granted === '*' || granted?.toLowerCase() === origin.toLowerCase())
  return { allowed, ratePerMinute: rate ?? null, status }
}

function headerOf(value: string | string[] | undefined): string | null {
  return typeof value === 'string' ? value : (value?.[0] ?? null)
}

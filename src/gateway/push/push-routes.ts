/**
 * Push subscriptions over HTTP: list, show, put, remove, enable, disable.
 *
 * Every route needs the permission `consume` for all channels of the subscription, before and after a change, and
 * `publish` for the channel of its replies. Each change adds an event to `$audit`. Secrets and the values of headers
 * are never shown, except a secret that the gateway generates: the answer that creates it shows it once.
 */
import { MillraceError } from '../../base/errors.ts'
import { checkName, isWildcard } from '../../base/names.ts'
import type { ConsumerDescription } from '../../broker/description.ts'
import { requireHeld } from '../access/principal.ts'
import { membersOf } from '../json-body.ts'
import { badRequest } from '../problem.ts'
import type { GatewayRequest, Parameter, Route } from '../route.ts'
import { json, ref } from '../schemas.ts'
import { requestHandshake } from '../webhook-handshake.ts'
import type { PushEntry } from './push-book.ts'
import { consumerOf } from './push-consumer.ts'
import type { PushService } from './push-service.ts'
import {
  addressIn,
  newSecret,
  PUSH_MEMBERS,
  PUSH_SCHEMA,
  type PushJson,
  type PushSpec,
  pushSpecOf,
} from './push-spec.ts'

const PATH = '/api/subscriptions/{subscription}'
const SUBSCRIPTION: Parameter = {
  description: 'The subscription’s name; its consumer is push.NAME.',
  required: true,
  schema: { type: 'string' },
}
const NAME_CHARS_MAX = 100

const access = { action: 'consume', of: 'handler' } as const
const one = {
  tag: 'subscriptions',
  parameters: { subscription: SUBSCRIPTION },
  access,
  refuses: ['INVALID_NAME', 'UNKNOWN_SUBSCRIPTION', 'CLOSED'],
} as const
const changed = { ...one, audited: true } as const
const shown = { 200: { description: 'The subscription.', content: json(ref('Subscription')) } }

export function pushRoutes(service: PushService): Route[] {
  const switched = (enabled: boolean) => (request: GatewayRequest) => change(request, service, enabled)
  return [
    listRoute(service),
    {
      ...one,
      method: 'GET',
      path: PATH,
      name: 'showSubscription',
      summary: 'Show a push subscription and its state.',
      answers: shown,
      handle: async (request) => Response.json(await describe(await known(request, service), service)),
    },
    putRoute(service),
    {
      ...changed,
      method: 'DELETE',
      path: PATH,
      name: 'removeSubscription',
      needsReason: true,
      summary: 'Remove a push subscription, with its positions and its dead letters.',
      answers: { 204: { description: 'It is gone.' } },
      handle: (request) => remove(request, service),
    },
    {
      ...changed,
      method: 'POST',
      path: `${PATH}/enable`,
      name: 'enableSubscription',
      summary: 'Enable a push subscription: it continues where it was.',
      answers: shown,
      handle: switched(true),
    },
    {
      ...changed,
      method: 'POST',
      path: `${PATH}/disable`,
      name: 'disableSubscription',
      summary: 'Disable a push subscription: new events wait.',
      answers: shown,
      handle: switched(false),
    },
  ]
}

function listRoute(service: PushService): Route {
  return {
    tag: 'subscriptions',
    method: 'GET',
    path: '/api/subscriptions',
    name: 'listSubscriptions',
    summary: 'List the push subscriptions: those whose channels the caller may consume.',
    access: 'known',
    answers: {
      200: {
        description: 'By name.',
        content: json({
          type: 'object',
          required: ['subscriptions'],
          properties: { subscriptions: { type: 'array', items: ref('Subscription') } },
        }),
      },
    },
    refuses: ['CLOSED'],
    handle: (request) => list(request, service),
  }
}

function putRoute(service: PushService): Route {
  return {
    ...changed,
    method: 'PUT',
    path: PATH,
    name: 'putSubscription',
    summary:
      'Create or change a push subscription, which posts the events of channels to a URL, signed as Standard Webhooks specifies.',
    description:
      'The subscription is durable and running when this is answered. With handshake, the subscriber is asked first, and nothing is stored unless it agrees.',
    body: { required: true, content: json(PUSH_SCHEMA) },
    answers: {
      200: { description: 'It existed and was changed.', content: json(ref('Subscription')) },
      201: {
        description: 'It was created; with the secret, if one was generated.',
        content: json(ref('Subscription')),
      },
    },
    refuses: [
      'INVALID_NAME',
      'INVALID_OPTION',
      'INVALID_PATTERN',
      'UNKNOWN_CHANNEL',
      'UNAVAILABLE',
      'BACKPRESSURE',
      'CLOSED',
    ],
    handle: (request) => put(request, service),
  }
}

function nameOf({ parameters }: GatewayRequest): string {
  const name = checkName(parameters['subscription'], 'consumer')
  if (name.length > NAME_CHARS_MAX)
    throw badRequest(400, `a subscription's name has at most ${NAME_CHARS_MAX} characters`)
  return name
}

const channelsOf = ({ subscription }: PushEntry): readonly string[] => [subscription['channels']].flat().map(String)

/** The subscription of the path, if the caller has the permission for it. */
async function known(request: GatewayRequest, service: PushService): Promise<PushEntry> {
  const entry = await found(request, service)
  request.permitNamed('consume', 'subscription', entry.name, channelsOf(entry))
  return entry
}

async function found(request: GatewayRequest, service: PushService): Promise<PushEntry> {
  const name = nameOf(request)
  try {
    return await service.book.get(name)
  } catch (error) {
    // Only a caller that may consume all channels learns that a name does not exist.
    request.permitNamed('consume', 'subscription', name, [])
    throw error
  }
}

async function list({ principal }: GatewayRequest, service: PushService): Promise<Response> {
  await service.book.refresh()
  const entries = [...service.book.entries.values()].filter((entry) =>
    channelsOf(entry).every((channel) => principal.permits('consume', channel)),
  )
  entries.sort((one, other) => (one.name < other.name ? -1 : 1))
  return Response.json({ subscriptions: await Promise.all(entries.map((entry) => describe(entry, service))) })
}

async function put(request: GatewayRequest, service: PushService): Promise<Response> {
  const name = nameOf(request)
  const body = membersOf(await request.json(), PUSH_MEMBERS, 'a subscription') as PushJson
  const { enabled = true, ...given } = body
  if (typeof enabled !== 'boolean') throw badRequest(400, 'enabled must be true or false')
  const before = await service.book.get(name).catch(unlessUnknown)
  const own: PushJson = {
    handshake: service.settings.handshake,
    secret: before?.subscription['secret'] ?? newSecret(),
    ...given,
  }
  const spec = pushSpecOf(own)
  // The audit event has the origin only: the path or the query of such a URL is often a secret.
  const { origin } = new URL(spec.url)
  request.note({ to: origin, channels: spec.channels.join(','), ...(spec.reply !== null && { reply: spec.reply }) })
  for (const channel of spec.channels) request.permit('consume', channel)
  if (before !== null) request.permitNamed('consume', 'subscription', name, channelsOf(before))
  if (spec.reply !== null) request.permit('publish', spec.reply)
  await check(spec, service)
  const grantedPerMinute = spec.handshake ? await granted(spec, service, request.signal) : null
  requireHeld(request.principal)
  await service.change({ name, subscription: own, enabled, by: request.principal.name, reason: null, grantedPerMinute })
  const made = given['secret'] === undefined && before === null ? { secret: own['secret'] } : {}
  return Response.json(
    { ...(await describe(await service.book.get(name), service)), ...made },
    { status: before === null ? 201 : 200 },
  )
}

function unlessUnknown(error: unknown): null {
  if (error instanceof MillraceError && error.code === 'UNKNOWN_SUBSCRIPTION') return null
  throw error
}

/** Checks the spec against the broker and the configuration of the gateway. */
async function check(spec: PushSpec, { host, settings }: PushService): Promise<void> {
  if (settings.handshake && !spec.handshake)
    throw new MillraceError(
      'FORBIDDEN',
      'this gateway requires the handshake of every subscriber: handshake cannot be false',
      {},
    )
  const address = addressIn(spec.url)
  if (address !== null && !settings.guard(address)) {
    throw new MillraceError(
      'FORBIDDEN',
      `${address} is not a public address: if you want it, allow it in the configuration of the gateway (push.allow)`,
      {
        address,
      },
    )
  }
  const { engine } = host.core
  for (const channel of [
    ...spec.channels.filter((each) => !isWildcard(each)),
    ...(spec.reply === null ? [] : [spec.reply]),
  ]) {
    if ((await engine.channel(channel)) === undefined) {
      throw new MillraceError(
        'UNKNOWN_CHANNEL',
        `channel "${channel}" is not declared: declare it first, or correct the name`,
        { channel },
      )
    }
  }
}

async function granted(
  { url, headers }: PushSpec,
  { settings }: PushService,
  signal: AbortSignal,
): Promise<number | null> {
  const { origin, guard, resolver } = settings
  const answer = await requestHandshake(url, {
    origin,
    headers,
    guard,
    signal,
    ...(resolver !== undefined && { resolver }),
  })
  if (answer.allowed) return answer.ratePerMinute
  throw new MillraceError(
    'FORBIDDEN',
    `the subscriber does not allow ${origin} to send: it answered ${answer.status} to the webhook handshake, without that origin in WebHook-Allowed-Origin`,
    { origin, status: answer.status },
  )
}

async function change(request: GatewayRequest, service: PushService, enabled: boolean): Promise<Response> {
  const { name, subscription, grantedPerMinute } = await known(request, service)
  await service.change({ name, subscription, enabled, by: request.principal.name, reason: null, grantedPerMinute })
  return Response.json(await describe(await service.book.get(name), service))
}

async function remove(request: GatewayRequest, service: PushService): Promise<Response> {
  const { name } = await known(request, service)
  const reason = request.reason()
  const by = request.principal.name
  await service.change({ name, subscription: null, enabled: false, by, reason, grantedPerMinute: null })
  // A disabled subscription had no running consumer that would be removed when it stops.
  await service.removeConsumer(name)
  return new Response(null, { status: 204 })
}

async function describe(entry: PushEntry, service: PushService): Promise<object> {
  const { engine } = service.host.core
  return shownAs(entry, service, await engine.consumers.describe(consumerOf(entry.name)))
}

function shownAs(
  { name, subscription, enabled, changedAt, by, reason, grantedPerMinute }: PushEntry,
  service: PushService,
  consumer: ConsumerDescription | null,
): object {
  const { secret: _, headers, ...shown } = subscription
  return {
    name,
    ...shown,
    ...(headers !== undefined && { headers: Object.keys(headers as object).map((each) => each.toLowerCase()) }),
    enabled,
    changedAt,
    by,
    reason,
    grantedPerMinute,
    ...service.stateOf(name),
    consumer: consumerOf(name),
    lag: consumer?.channels.reduce((sum, { lag }) => sum + lag, 0) ?? 0,
    inFlight: consumer?.inFlight ?? 0,
    retrying: consumer?.retrying ?? 0,
    deadLetters: consumer?.deadLetters ?? 0,
    parked: consumer?.parked ?? 0,
    stalled: consumer?.stalled ?? null,
  }
}

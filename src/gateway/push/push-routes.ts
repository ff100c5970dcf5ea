/**
 * Push subscriptions over HTTP: list, show, put, remove, switch.
 *
 * Each takes the permission `consume` for all channels of the subscription, those that it had included, and `publish` for where replies go. Each change leaves an
 * event on `$audit`. Secrets and the values of headers are never shown; a secret that is made here is shown once, in the answer that makes it.
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
import type { PushPart } from './push-part.ts'
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

export function pushRoutes(part: PushPart): Route[] {
  const switched = (enabled: boolean) => (request: GatewayRequest) => change(request, part, enabled)
  return [
    listRoute(part),
    {
      ...one,
      method: 'GET',
      path: PATH,
      name: 'showSubscription',
      summary: 'A push subscription and its state.',
      answers: shown,
      handle: async (request) => Response.json(await describe(await known(request, part), part)),
    },
    putRoute(part),
    {
      ...changed,
      method: 'DELETE',
      path: PATH,
      name: 'removeSubscription',
      summary: 'Remove a push subscription, with its positions and its dead letters.',
      answers: { 204: { description: 'It is gone.' } },
      handle: (request) => remove(request, part),
    },
    {
      ...changed,
      method: 'POST',
      path: `${PATH}/enable`,
      name: 'enableSubscription',
      summary: 'Enable it: it continues where it was.',
      answers: shown,
      handle: switched(true),
    },
    {
      ...changed,
      method: 'POST',
      path: `${PATH}/disable`,
      name: 'disableSubscription',
      summary: 'Disable it: new events wait.',
      answers: shown,
      handle: switched(false),
    },
  ]
}

function listRoute(part: PushPart): Route {
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
    handle: (request) => list(request, part),
  }
}

function putRoute(part: PushPart): Route {
  return {
    ...changed,
    method: 'PUT',
    path: PATH,
    name: 'putSubscription',
    summary:
      'Create or change a subscription: the events of channels are posted to a URL, signed as Standard Webhooks specifies.',
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
    handle: (request) => put(request, part),
  }
}

function nameOf({ parameters }: GatewayRequest): string {
  const name = checkName(parameters['subscription'], 'consumer')
  if (name.length > NAME_CHARS_MAX)
    throw badRequest(400, `a subscription's name has at most ${NAME_CHARS_MAX} characters`)
  return name
}

const channelsOf = ({ subscription }: PushEntry): readonly string[] => [subscription['channels']].flat().map(String)

/** The one of the path, if one may know of it. Who may not consume everything does not learn which names there are. */
async function known(request: GatewayRequest, part: PushPart): Promise<PushEntry> {
  const entry = await found(request, part)
  request.permitNamed('consume', 'subscription', entry.name, channelsOf(entry))
  return entry
}

async function found(request: GatewayRequest, part: PushPart): Promise<PushEntry> {
  const name = nameOf(request)
  try {
    return await part.book.get(name)
  } catch (error) {
    request.permitNamed('consume', 'subscription', name, [])
    throw error
  }
}

async function list({ principal }: GatewayRequest, part: PushPart): Promise<Response> {
  await part.book.refresh()
  const entries = [...part.book.entries.values()].filter((entry) =>
    channelsOf(entry).every((channel) => principal.permits('consume', channel)),
  )
  entries.sort((one, other) => (one.name < other.name ? -1 : 1))
  return Response.json({ subscriptions: await Promise.all(entries.map((entry) => describe(entry, part))) })
}

async function put(request: GatewayRequest, part: PushPart): Promise<Response> {
  const name = nameOf(request)
  const body = membersOf(await request.json(), PUSH_MEMBERS, 'a subscription') as PushJson
  const { enabled = true, ...given } = body
  if (typeof enabled !== 'boolean') throw badRequest(400, 'enabled must be true or false')
  const before = await part.book.get(name).catch(unlessUnknown)
  const own: PushJson = {
    handshake: part.settings.handshake,
    secret: before?.subscription['secret'] ?? newSecret(),
    ...given,
  }
  const spec = pushSpecOf(own)
  // The path or the query of such a URL is often a secret.
  const { origin } = new URL(spec.url)
  request.note({ to: origin, channels: spec.channels.join(','), ...(spec.reply !== null && { reply: spec.reply }) })
  for (const channel of spec.channels) request.permit('consume', channel)
  if (before !== null) request.permitNamed('consume', 'subscription', name, channelsOf(before))
  if (spec.reply !== null) request.permit('publish', spec.reply)
  await check(spec, part)
  const grantedPerMinute = spec.handshake ? await granted(spec, part, request.signal) : null
  requireHeld(request.principal)
  await part.change({ name, subscription: own, enabled, by: request.principal.name, reason: null, grantedPerMinute })
  const made = given['secret'] === undefined && before === null ? { secret: own['secret'] } : {}
  return Response.json(
    { ...(await describe(await part.book.get(name), part)), ...made },
    { status: before === null ? 201 : 200 },
  )
}

function unlessUnknown(error: unknown): null {
  if (error instanceof MillraceError && error.code === 'UNKNOWN_SUBSCRIPTION') return null
  throw error
}

/** What only the broker and the configuration can say of it. */
async function check(spec: PushSpec, { host, settings }: PushPart): Promise<void> {
  if (settings.handshake && !spec.handshake)
    throw new MillraceError('FORBIDDEN', 'this gateway asks every subscriber first: handshake cannot be false', {})
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
  { settings }: PushPart,
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

async function change(request: GatewayRequest, part: PushPart, enabled: boolean): Promise<Response> {
  const { name, subscription, grantedPerMinute } = await known(request, part)
  await part.change({ name, subscription, enabled, by: request.principal.name, reason: null, grantedPerMinute })
  return Response.json(await describe(await part.book.get(name), part))
}

async function remove(request: GatewayRequest, part: PushPart): Promise<Response> {
  const { name } = await known(request, part)
  await part.change({
    name,
    subscription: null,
    enabled: false,
    by: request.principal.name,
    reason: null,
    grantedPerMinute: null,
  })
  // One that was switched off had no consumer that could do it.
  await part.forget(name)
  return new Response(null, { status: 204 })
}

async function describe(entry: PushEntry, part: PushPart): Promise<object> {
  const { engine } = part.host.core
  return shownAs(entry, part, await engine.consumers.describe(consumerOf(entry.name)))
}

function shownAs(
  { name, subscription, enabled, changedAt, by, reason, grantedPerMinute }: PushEntry,
  part: PushPart,
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
    ...part.stateOf(name),
    consumer: consumerOf(name),
    lag: consumer?.channels.reduce((sum, { lag }) => sum + lag, 0) ?? 0,
    inFlight: consumer?.inFlight ?? 0,
    retrying: consumer?.retrying ?? 0,
    deadLetters: consumer?.deadLetters ?? 0,
    parked: consumer?.parked ?? 0,
    stalled: consumer?.stalled ?? null,
  }
}

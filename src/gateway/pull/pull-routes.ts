/**
 * Consuming by plain HTTP: pull, then settle each lease.
 *
 *     curl -X POST localhost:8080/consumers/stock/pull -d '{"channels": ["orders"], "max": 10, "wait": "20s"}'
 *     curl -X POST localhost:8080/leases/<lease>/complete
 *
 * A settlement is durable when its answer is sent. A lease id has 144 random bits: everybody who has the id and the
 * permission to consume the channel can settle the lease.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkConsumerName, checkName } from '../../base/names.ts'
import { durationMs, wholeNumber } from '../../base/units.ts'
import { requireHeld } from '../access/principal.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { membersOf } from '../json-body.ts'
import { badRequest } from '../problem.ts'
import type { GatewayPart, GatewayRequest, Route } from '../route.ts'
import { CONSUMER, json, ref } from '../schemas.ts'
import { leaseRoutes } from './lease-routes.ts'
import type { Lease, PullConsumer } from './pull-consumer.ts'
import { PullConsumers } from './pull-consumers.ts'
import { PULL_MEMBERS, PULL_SCHEMA, type PullJson, type PullSpec, pullSpecOf } from './pull-spec.ts'

const PULL_BODY = {
  ...PULL_SCHEMA,
  properties: {
    ...(PULL_SCHEMA['properties'] as object),
    max: {
      type: 'integer',
      minimum: 1,
      maximum: LIMITS.gatewayPullEventsMax,
      default: LIMITS.gatewayPullEventsDefault,
    },
    wait: {
      type: ['string', 'integer'],
      description: 'How long to wait for the first event, at most 60s.',
      default: 0,
    },
  },
}

/** The routes by which clients consume, and what closes with the gateway. */
export function pullPart(host: GatewayHost, drainMs: number): GatewayPart {
  const consumers = new PullConsumers(host, drainMs)
  return {
    routes: [join(consumers), pull(consumers, host), leave(consumers), ...leaseRoutes(host, consumers)],
    close: () => consumers.close(),
  }
}

const common = {
  tag: 'consume',
  parameters: { consumer: CONSUMER },
  access: { action: 'consume', of: 'handler' },
} as const
const OPENS = [
  'INVALID_NAME',
  'INVALID_OPTION',
  'INVALID_PATTERN',
  'UNKNOWN_CHANNEL',
  'BACKPRESSURE',
  'CLOSED',
] as const

function join(consumers: PullConsumers): Route {
  return {
    ...common,
    method: 'PUT',
    path: '/consumers/{consumer}',
    name: 'joinConsumer',
    summary: 'Open a consumer, or open it again with other settings. Its leased events are then handed back.',
    body: { required: true, content: json({ ...PULL_SCHEMA, required: ['channels'] }) },
    answers: {
      200: { description: 'It was open with these settings.', content: json({ type: 'object' }) },
      201: { description: 'It is open.', content: json({ type: 'object' }) },
    },
    refuses: [...OPENS],
    handle: async (request) => {
      const name = checkConsumerName(request.parameters['consumer'])
      const spec = pullSpecOf(membersOf(await request.json(), PULL_MEMBERS, 'a consumer'))
      permitSpec(request, spec)
      const found = consumers.get(name)
      if (found !== undefined) request.permitNamed('consume', 'consumer', name, found.spec.channels)
      const { opened, consumer } = await consumers.join(name, spec, true)
      return Response.json(described(consumer), { status: opened ? 201 : 200 })
    },
  }
}

function pull(consumers: PullConsumers, host: GatewayHost): Route {
  return {
    ...common,
    method: 'POST',
    path: '/consumers/{consumer}/pull',
    name: 'pullEvents',
    summary:
      'Lease events: those that are available, or the first that arrive while the pull waits. A pull with channels opens the consumer if it is not open.',
    body: { required: false, content: json(PULL_BODY) },
    answers: {
      200: {
        description: 'The events, each with the lease that settles it. The list is empty if no event arrived.',
        content: json({
          type: 'object',
          required: ['deliveries'],
          properties: { deliveries: { type: 'array', items: ref('Delivery') } },
        }),
      },
      409: {
        description: 'The consumer is open with other settings.',
        content: { 'application/problem+json': ref('Problem') },
      },
    },
    refuses: ['UNKNOWN_CONSUMER', ...OPENS],
    handle: async (request) => {
      const name = checkConsumerName(request.parameters['consumer'])
      const {
        max = LIMITS.gatewayPullEventsDefault,
        wait = 0,
        ...spec
      } = membersOf(await request.json(), [...PULL_MEMBERS, 'max', 'wait'], 'a pull')
      const most = wholeNumber(max, 'max', 1, LIMITS.gatewayPullEventsMax)
      const waitMs = durationMs(wait, 'wait')
      if (waitMs > LIMITS.gatewayPullWaitMsMax)
        throw badRequest(400, `wait must be at most ${LIMITS.gatewayPullWaitMsMax} ms; it is ${waitMs}`)
      const consumer = await opened(request, consumers, name, spec)
      const leases = await pullHeld(request, host, (signal) => consumer.pull(most, waitMs, signal))
      handBackUnsent(request, leases)
      return deliveries(leases)
    },
  }
}

function leave(consumers: PullConsumers): Route {
  return {
    ...common,
    method: 'POST',
    path: '/consumers/{consumer}/leave',
    name: 'leaveConsumer',
    summary: 'Close a consumer: its leased events are handed back. Its positions stay.',
    answers: { 204: { description: 'It is closed.' } },
    refuses: ['UNKNOWN_CONSUMER'],
    handle: async (request) => {
      const name = checkName(request.parameters['consumer'], 'consumer')
      mine(request, consumers, name)
      await consumers.leave(name)
      return new Response(null, { status: 204 })
    },
  }
}

async function opened(
  request: GatewayRequest,
  consumers: PullConsumers,
  name: string,
  json: PullJson,
): Promise<PullConsumer> {
  if (json.channels !== undefined) {
    const spec = pullSpecOf(json)
    permitSpec(request, spec)
    const found = consumers.get(name)
    if (found !== undefined) request.permitNamed('consume', 'consumer', name, found.spec.channels)
    return (await consumers.join(name, spec, false)).consumer
  }
  const [member] = Object.keys(json)
  if (member !== undefined) throw badRequest(400, `a pull that has "${member}" must have channels, too`, { member })
  return mine(request, consumers, name)
}

/**
 * The open consumer of this name. A caller without permission for all of its channels gets the same answer as for a
 * name that is not open.
 */
function mine(request: GatewayRequest, consumers: PullConsumers, name: string): PullConsumer {
  const found = consumers.get(name)
  if (found === undefined) {
    request.permitNamed('consume', 'consumer', name, [])
    throw unknown(name)
  }
  request.permitNamed('consume', 'consumer', name, found.spec.channels)
  return found
}

function permitSpec(request: GatewayRequest, { channels }: PullSpec): void {
  for (const channel of channels) request.permit('consume', channel)
}

function unknown(name: string): MillraceError {
  return new MillraceError(
    'UNKNOWN_CONSUMER',
    `consumer "${name}" is not open: name its channels in the pull, or open it with PUT /consumers/${name}`,
    {
      consumer: name,
    },
  )
}

function described({ name, spec, leased }: PullConsumer): object {
  return {
    consumer: name,
    channels: spec.channels,
    leaseMs: spec.leaseMs,
    leases: spec.leases,
    attempts: spec.retry.attempts,
    leased,
  }
}

/** The answer with the leases. Each event is the text that is stored. */
function deliveries(leases: readonly Lease[]): Response {
  const texts = leases.map((lease) => {
    const { channel, offset, key, attempt, redriven, text } = lease.delivery
    const facts = {
      lease: lease.id,
      expiresAt: new Date(lease.consumer.expiresAtMs(lease)).toISOString(),
      channel,
      offset,
      key,
      attempt,
      redriven,
    }
    return `${JSON.stringify(facts).slice(0, -1)},"event":${text}}`
  })
  return new Response(`{"deliveries":[${texts.join(',')}]}`, { headers: { 'content-type': 'application/json' } })
}

/** Aborts when the client has disconnected, so that no event is leased in vain. */
function goneSignal({ outgoing, signal }: GatewayRequest): AbortSignal {
  if (outgoing === undefined) return signal
  const gone = new AbortController()
  if (outgoing.destroyed) gone.abort()
  else outgoing.once('close', () => gone.abort())
  return gone.signal
}

/**
 * Pull while the caller's credentials are valid. If they expire meanwhile, the leased events go back.
 * @throws UNAUTHENTICATED
 */
async function pullHeld(
  request: GatewayRequest,
  { vigil }: GatewayHost,
  pull: (signal: AbortSignal) => Promise<Lease[]>,
): Promise<Lease[]> {
  const { principal } = request
  const lapsed = new AbortController()
  const unwatch = vigil.watch(principal, () => lapsed.abort())
  try {
    const leases = await pull(AbortSignal.any([goneSignal(request), lapsed.signal]))
    if (!principal.holds()) for (const lease of leases) lease.consumer.release(lease)
    requireHeld(principal)
    return leases
  } finally {
    unwatch()
  }
}

/** Hand back events whose answer could not be sent, at once instead of when their leases expire. */
function handBackUnsent({ outgoing }: GatewayRequest, leases: readonly Lease[]): void {
  outgoing?.once('close', () => {
    if (outgoing.writableFinished) return
    for (const lease of leases) lease.consumer.release(lease)
  })
}

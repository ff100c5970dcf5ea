/**
 * The routes of leases: complete (with emissions), retry, reject, release and extend, one lease or many in one request.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import { type Duration, durationMs } from '../../base/units.ts'
import type { BrokerHost } from '../../broker/broker.ts'
import { dueAt } from '../../broker/due-at.ts'
import type { Emission } from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import { causeAttributes, causeOf } from '../../consumer/cause.ts'
import { decodeForPublish } from '../../event/http/decode-for-publish.ts'
import { itemTexts, memberText } from '../../event/http/json-text.ts'
import { STRUCTURED } from '../../event/http/media-type.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { membersOf } from '../json-body.ts'
import { badRequest, problemOf } from '../problem.ts'
import type { GatewayRequest, JsonSchema, Route } from '../route.ts'
import { json, ref } from '../schemas.ts'
import type { Lease } from './pull-consumer.ts'
import type { PullConsumers, Settled } from './pull-consumers.ts'

const VERBS = ['complete', 'retry', 'reject', 'release', 'extend'] as const
type Verb = (typeof VERBS)[number]

/** The members that the body of each verb may have. */
const MEMBERS: Readonly<Record<Verb, readonly Member[]>> = {
  complete: ['emit'],
  retry: ['delay', 'reason'],
  reject: ['reason'],
  release: [],
  extend: ['lease'],
}
type Member = 'emit' | 'delay' | 'reason' | 'lease'
type Members = Partial<Record<Member, unknown>>

const SUMMARY: Readonly<Record<Verb, string>> = {
  complete: 'Complete an event: it is done. The emissions are stored with the completion, or not at all.',
  retry:
    'Fail the attempt: the event is delivered again, after the delay or as the consumer’s backoff says. After the last attempt it is a dead letter.',
  reject: 'Give up on the event: it becomes a dead letter of the consumer.',
  release: 'Hand the event back unhandled: no attempt is used.',
  extend: 'Keep the lease for this time from now.',
}
const REASON_CHARS_MAX = 2000
const EMIT: JsonSchema = {
  type: 'array',
  items: {
    type: 'object',
    required: ['channel', 'event'],
    properties: { channel: { type: 'string' }, event: ref('CloudEvent'), delay: { type: ['string', 'integer'] } },
    additionalProperties: false,
  },
}
const MEMBER_SCHEMA: Readonly<Record<Member, JsonSchema>> = {
  emit: EMIT,
  delay: { type: ['string', 'integer'], description: 'Milliseconds, or text such as 30s.' },
  reason: { type: 'string' },
  lease: { type: ['string', 'integer'], description: 'At most 12h.' },
}
const SETTLED: JsonSchema = {
  type: 'object',
  required: ['lease'],
  properties: {
    lease: { type: 'string' },
    settled: { enum: ['completed', 'retried', 'dead-lettered', 'released'] },
    expiresAt: { type: 'string', format: 'date-time' },
  },
}

export function leaseRoutes(host: GatewayHost, consumers: PullConsumers): Route[] {
  return [...VERBS.map((verb) => verbRoute(host, consumers, verb)), settleRoute(host, consumers)]
}

/** The permission needed is for the channel of the lease, so `settle` checks it. */
const common = { method: 'POST', tag: 'consume', access: 'known' } as const

function verbRoute(host: GatewayHost, consumers: PullConsumers, verb: Verb): Route {
  const emits =
    verb === 'complete'
      ? ([
          'INVALID_EVENT',
          'UNKNOWN_CHANNEL',
          'EVENT_TOO_LARGE',
          'SCHEMA_MISMATCH',
          'UNKNOWN_VERSION',
          'TYPE_NOT_CARRIED',
        ] as const)
      : []
  return {
    ...common,
    path: `/leases/{lease}/${verb}`,
    name: `${verb}Lease`,
    summary: SUMMARY[verb],
    parameters: {
      lease: { description: 'The lease, as the pull gave it.', required: true, schema: { type: 'string' } },
    },
    ...(MEMBERS[verb].length > 0 && {
      body: { required: verb === 'extend', content: json(bodySchema(MEMBERS[verb])) },
    }),
    answers: { 200: { description: 'It is durable.', content: json(SETTLED) } },
    refuses: [
      'LEASE_LOST',
      ...(MEMBERS[verb].some((name) => name === 'delay' || name === 'lease') ? (['INVALID_OPTION'] as const) : []),
      ...emits,
    ],
    handle: async (request) => {
      const { value, text } = await request.jsonText()
      const lease = request.parameters['lease'] as string
      const members = membersOf(value, MEMBERS[verb], `the body of ${verb}`)
      const settling = await settle(request, host, consumers, verb, lease, members, text)
      await settling.durable
      return Response.json(settling.answer)
    },
  }
}

function bodySchema(members: readonly Member[]): JsonSchema {
  return {
    type: 'object',
    properties: Object.fromEntries(members.map((name) => [name, MEMBER_SCHEMA[name]])),
    additionalProperties: false,
  }
}

function settleRoute(host: GatewayHost, consumers: PullConsumers): Route {
  const item = {
    lease: { type: 'string' },
    as: { enum: VERBS },
    delay: MEMBER_SCHEMA.delay,
    reason: MEMBER_SCHEMA.reason,
    for: MEMBER_SCHEMA.lease,
  }
  return {
    ...common,
    path: '/leases/settle',
    name: 'settleLeases',
    summary:
      'Settle many leases in one request. Each has an answer of its own: a lost lease does not affect the others.',
    body: {
      required: true,
      content: json({
        type: 'object',
        required: ['settlements'],
        properties: {
          settlements: {
            type: 'array',
            items: { type: 'object', required: ['lease', 'as'], properties: item, additionalProperties: false },
          },
        },
        additionalProperties: false,
      }),
    },
    answers: {
      200: {
        description:
          'One answer for each, in order; problem says why one was refused. Every settlement that is confirmed is durable.',
        content: json({
          type: 'object',
          required: ['settled'],
          properties: { settled: { type: 'array', items: { anyOf: [SETTLED, ref('Problem')] } } },
        }),
      },
    },
    handle: async (request) => {
      const { settlements } = membersOf(await request.json(), ['settlements'], 'the body of settle')
      if (!Array.isArray(settlements) || settlements.length > LIMITS.gatewayPullEventsMax) {
        throw badRequest(400, `settlements must be an array of at most ${LIMITS.gatewayPullEventsMax}`)
      }
      return Response.json({ settled: await settleAll(request, host, consumers, settlements) })
    },
  }
}

async function settleAll(
  request: GatewayRequest,
  host: GatewayHost,
  consumers: PullConsumers,
  settlements: readonly unknown[],
): Promise<object[]> {
  const settling = settlements.map(async (settlement) => {
    try {
      const {
        lease,
        as,
        for: extendBy,
        ...rest
      } = membersOf(settlement, ['lease', 'as', 'delay', 'reason', 'for'], 'a settlement')
      if (typeof lease !== 'string') throw badRequest(400, 'a settlement must have a lease')
      const verb = VERBS.find((one) => one === as)
      if (verb === undefined) throw badRequest(400, `as must be one of ${VERBS.join(', ')}`)
      const given = extendBy === undefined ? rest : { ...rest, lease: extendBy }
      const { answer, durable } = await settle(
        request,
        host,
        consumers,
        verb,
        lease,
        membersOf(given, MEMBERS[verb], `a settlement as ${verb}`),
        '',
      )
      await durable
      return answer
    } catch (error) {
      host.report(error)
      const { body } = problemOf(error)
      return JSON.parse(body) as object
    }
  })
  return Promise.all(settling)
}

interface Settling {
  readonly answer: object
  readonly durable: Promise<void> | undefined
}

async function settle(
  request: GatewayRequest,
  host: GatewayHost,
  consumers: PullConsumers,
  verb: Verb,
  id: string,
  members: Members,
  text: string,
): Promise<Settling> {
  const lease = consumers.lease(id)
  if (typeof lease === 'string') return again(verb, id, lease)
  request.permit('consume', lease.delivery.channel)
  if (verb === 'extend') {
    lease.consumer.extend(lease, leaseMsOf(members.lease))
    return {
      answer: { lease: id, expiresAt: new Date(lease.consumer.expiresAtMs(lease)).toISOString() },
      durable: undefined,
    }
  }
  const settled = await settleAs(request, host.core, verb, lease, members, text)
  if (settled === null) throw lost(id)
  return {
    answer: { lease: id, settled },
    durable: lease.consumer.flushed().then(() => consumers.remember(id, settled)),
  }
}

/** Answers a repeated request for a settled lease: the first answer may have been lost. */
function again(verb: Verb, id: string, settled: Settled): Settling {
  const same: Readonly<Record<Verb, readonly Settled[]>> = {
    complete: ['completed'],
    retry: ['retried', 'dead-lettered'],
    reject: ['dead-lettered'],
    release: ['released'],
    extend: [],
  }
  if (!same[verb].includes(settled))
    throw new MillraceError('LEASE_LOST', `the lease was settled before: its event was ${settled}`, {
      lease: id,
      settled,
    })
  return { answer: { lease: id, settled }, durable: undefined }
}

async function settleAs(
  request: GatewayRequest,
  broker: BrokerHost,
  verb: Exclude<Verb, 'extend'>,
  lease: Lease,
  members: Members,
  text: string,
): Promise<Settled | null> {
  const { consumer } = lease
  switch (verb) {
    case 'complete':
      return consumer.complete(
        lease,
        members.emit === undefined ? [] : await emissionsOf(request, broker, lease, members.emit, text),
      )
        ? 'completed'
        : null
    case 'retry':
      return consumer.retry(
        lease,
        members.delay === undefined ? null : durationMs(members.delay, 'delay'),
        failureOf(members.reason, 'error'),
      )
    case 'reject':
      return consumer.reject(lease, failureOf(members.reason, 'rejected')) ? 'dead-lettered' : null
    case 'release':
      return consumer.release(lease) ? 'released' : null
  }
}

/**
 * The emissions of a completion. The events are taken from the text of the request, so that numbers in their data keep
 * all digits.
 */
async function emissionsOf(
  request: GatewayRequest,
  { encoder, engine }: BrokerHost,
  { delivery }: Lease,
  emit: unknown,
  text: string,
): Promise<Emission[]> {
  if (!Array.isArray(emit) || emit.length > LIMITS.gatewayPullEventsMax)
    throw badRequest(400, `emit must be an array of at most ${LIMITS.gatewayPullEventsMax}`)
  const items = itemTexts(memberText(text, 'emit') as string)
  const emissions: Emission[] = []
  const cause = causeOf(delivery.id, delivery.text)
  for (const [index, item] of emit.entries()) {
    const { channel: name, delay } = membersOf(item, ['channel', 'event', 'delay'], 'an emission')
    const channel = checkName(name, 'channel')
    request.permit('publish', channel)
    const eventText = memberText(items[index] as string, 'event')
    if (eventText === undefined) throw badRequest(400, 'an emission must have an event')
    const [event] = decodeForPublish({ 'content-type': STRUCTURED }, Buffer.from(eventText))
    if (!encoder.isReady(channel)) await encoder.prepare(channel)
    const made = event as NonNullable<typeof event>
    const encoded = await encoder.encode(channel, Object.assign(made, causeAttributes(made, cause)))
    emissions.push({
      channel,
      event: encoded,
      dueAtMs: dueAt(delay === undefined ? {} : { delay: delay as Duration }, engine.clock.now(), 'an emission'),
    })
  }
  return emissions
}

function failureOf(reason: unknown, kind: Failure['kind']): Failure {
  if (reason !== undefined && typeof reason !== 'string') throw badRequest(400, 'reason must be text')
  return { name: 'Error', message: (reason ?? 'the client gave no reason').slice(0, REASON_CHARS_MAX), kind }
}

function leaseMsOf(value: unknown): number {
  const leaseMs = durationMs(value, 'lease')
  if (leaseMs >= LIMITS.leaseMsMin && leaseMs <= LIMITS.gatewayPullLeaseMsMax) return leaseMs
  throw new MillraceError('INVALID_OPTION', `lease must be from ${LIMITS.leaseMsMin} ms to 12h; it is ${leaseMs} ms`, {
    option: 'lease',
  })
}

function lost(id: string): MillraceError {
  return new MillraceError('LEASE_LOST', 'the lease expired before it was settled: its event is handled elsewhere', {
    lease: id,
  })
}

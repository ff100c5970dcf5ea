/**
 * "Why?": why an event was not handled, why a consumer does not move, why a rule did not act. The same answers as those
 * of `millrace why`.
 *
 * An answer never says anything about a channel that the caller may not read: an earlier event of the same key in
 * another channel is "an earlier event".
 */
import { isMillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName } from '../base/names.ts'
import { engineOf } from '../broker/engine-of.ts'
import { rulesOf } from '../rules/rules.ts'
import { type Reason, reason } from '../why/reason.ts'
import { whyConsumer } from '../why/why-consumer.ts'
import { type AskedEvent, type DeliveryWhy, whyDelivery } from '../why/why-delivery.ts'
import { type PublishWhy, whyPublish } from '../why/why-publish.ts'
import { whyRule } from '../why/why-rule.ts'
import { permitConsumer } from './dead-letter-routes.ts'
import type { GatewayHost } from './gateway-host.ts'
import { badRequest } from './problem.ts'
import { countOf } from './query.ts'
import type { GatewayRequest, JsonSchema, Parameter, Route } from './route.ts'
import { CHANNEL, CONSUMER, json } from './schemas.ts'

const text: JsonSchema = { type: 'string' }
const REASON: JsonSchema = {
  type: 'object',
  required: ['because', 'text', 'facts'],
  properties: {
    because: { ...text, description: 'A code: docs/guide/why.md lists them.' },
    text: { ...text, description: 'In words.' },
    facts: { type: 'object', description: 'The numbers, names and times of the text.' },
  },
}
const REASONS: JsonSchema = { type: 'array', items: REASON, description: 'The first one decides.' }
const NOT_KNOWN: JsonSchema = { type: 'array', items: text, description: 'What is not kept, or not known here.' }
const DELIVERY: JsonSchema = {
  type: 'object',
  required: ['consumer', 'channel', 'offset', 'standing', 'reasons', 'notKnown'],
  properties: {
    consumer: text,
    channel: text,
    offset: { type: ['integer', 'null'] },
    id: { type: ['string', 'null'] },
    type: { type: ['string', 'null'] },
    key: { type: ['string', 'null'] },
    standing: { enum: ['settled', 'pending', 'dead letter', 'never', 'not there'] },
    reasons: REASONS,
    notKnown: NOT_KNOWN,
  },
}
const OFFSET: Parameter = { description: 'The event’s offset.', schema: { type: 'integer', minimum: 0 } }
const RULE: Parameter = { description: 'The name of the rule.', required: true, schema: text }

export function whyRoutes(host: GatewayHost): Route[] {
  return [deliveryRoute(host), consumerRoute(host), publishRoute(host), ruleRoute(host)]
}

function deliveryRoute(host: GatewayHost): Route {
  return {
    method: 'GET',
    path: '/channels/{channel}/why',
    name: 'whyDelivery',
    summary: 'Why an event was, or was not, handled: by one consumer, or by each consumer of its channel.',
    description: `The event is named by offset, or by id, which is searched in the newest ${LIMITS.whyLookMax} offsets and among the delayed events.`,
    tag: 'why',
    access: { action: 'read', of: 'channel' },
    parameters: { channel: CHANNEL },
    query: {
      offset: OFFSET,
      id: { description: 'The event’s id.', schema: text },
      consumer: { description: 'Only this consumer.', schema: text },
    },
    answers: {
      200: {
        description: `At most ${LIMITS.whyConsumersMax} consumers; all says whether these are all.`,
        content: json({
          type: 'object',
          required: ['consumers', 'all'],
          properties: { consumers: { type: 'array', items: DELIVERY }, all: { type: 'boolean' } },
        }),
      },
    },
    refuses: ['UNKNOWN_CHANNEL', 'UNKNOWN_CONSUMER', 'CLOSED'],
    handle: (request) => delivery(request, host),
  }
}

async function delivery(request: GatewayRequest, host: GatewayHost): Promise<Response> {
  const channel = request.parameters['channel'] as string
  const asked = askedIn(request.query)
  const engine = engineOf(host.broker)
  const asker = { mayRead: request.permitted('read'), maySee: request.maySee }
  const { consumer } = request.query
  if (consumer !== undefined) {
    const name = checkName(consumer, 'consumer')
    await permitConsumer(request, host, 'read', name, channel)
    return Response.json({ consumers: [await whyDelivery(engine, name, channel, asked, asker)], all: true })
  }
  await engine.bounds(channel)
  const { consumers } = await engine.describe()
  const names = consumers.flatMap(({ name, channels }) =>
    channels.some((each) => each.channel === channel) ? name : [],
  )
  const answers: DeliveryWhy[] = []
  for (const name of names.slice(0, LIMITS.whyConsumersMax))
    answers.push(await whyDelivery(engine, name, channel, asked, asker))
  return Response.json({ consumers: answers, all: names.length <= LIMITS.whyConsumersMax })
}

function askedIn({ offset, id }: GatewayRequest['query']): AskedEvent {
  if (offset !== undefined && id === undefined) return { offset: countOf('offset', offset, 0, Number.MAX_SAFE_INTEGER) }
  if (id !== undefined && offset === undefined) return { id }
  throw badRequest(400, 'name the event: offset=, or id=')
}

function consumerRoute(host: GatewayHost): Route {
  return {
    method: 'GET',
    path: '/api/consumers/{consumer}/why',
    name: 'whyConsumer',
    summary: 'Why a consumer does not move.',
    tag: 'why',
    access: { action: 'read', of: 'handler' },
    parameters: { consumer: CONSUMER },
    answers: {
      200: {
        description: 'The reasons. The first one decides.',
        content: json({
          type: 'object',
          required: ['consumer', 'hasWork', 'reasons', 'notKnown'],
          properties: { consumer: text, hasWork: { type: 'boolean' }, reasons: REASONS, notKnown: NOT_KNOWN },
        }),
      },
    },
    refuses: ['UNKNOWN_CONSUMER', 'CLOSED'],
    handle: async (request) => {
      const consumer = checkName(request.parameters['consumer'], 'consumer')
      await permitConsumer(request, host, 'read', consumer)
      const why = await whyConsumer(engineOf(host.broker), consumer)
      return Response.json({ ...why, reasons: withoutAlarms(why.reasons, request) })
    },
  }
}

/** The alarms of the broker are for callers with a permission for all channels. */
function withoutAlarms(reasons: readonly Reason[], { principal }: GatewayRequest): readonly Reason[] {
  return reasons.filter(({ because }) => because !== 'store' || principal.permits('read', '>'))
}

function publishRoute(host: GatewayHost): Route {
  return {
    method: 'GET',
    path: '/channels/{channel}/why-publish',
    name: 'whyPublish',
    summary: 'Why publishing to a channel is slow, or is refused: which bound it has reached.',
    tag: 'why',
    access: { action: 'publish', of: 'channel' },
    parameters: { channel: CHANNEL },
    answers: {
      200: {
        description: 'The reasons. The first one decides; not-slow: no bound is reached.',
        content: json({
          type: 'object',
          required: ['channel', 'reasons', 'notKnown'],
          properties: { channel: text, reasons: REASONS, notKnown: NOT_KNOWN },
        }),
      },
    },
    refuses: ['UNKNOWN_CHANNEL', 'CLOSED'],
    handle: async (request) => {
      const why = await whyPublish(engineOf(host.broker), request.parameters['channel'] as string)
      const own = requestReasons(host)
      const others = withoutAlarms(why.reasons, request)
      const left = own.length === 0 ? others : others.filter(({ because }) => because !== 'not-slow')
      return Response.json({ ...why, reasons: [...own, ...left] } satisfies PublishWhy)
    },
  }
}

/** The gateway's own bound for what it receives. */
function requestReasons({ bodies }: GatewayHost): Reason[] {
  const { bytes, bytesMax } = bodies.held
  if (bytes < bytesMax * 0.9) return []
  const text = `the gateway holds ${bytes} bytes of requests, of at most ${bytesMax}: it refuses more with BACKPRESSURE`
  return [reason('requests', text, { bytes, bytesMax })]
}

function ruleRoute({ broker }: GatewayHost): Route {
  return {
    method: 'GET',
    path: '/api/rules/{rule}/why',
    name: 'whyRule',
    summary: 'Why a rule acted, or did not act, on a stored event: by the version that was in force at the event.',
    tag: 'why',
    access: { action: 'rules', of: 'handler' },
    parameters: { rule: RULE },
    query: { channel: { ...CHANNEL, required: true }, offset: { ...OFFSET, required: true } },
    answers: {
      200: {
        description: 'Whether its condition holds, and why.',
        content: json({
          type: 'object',
          required: ['rule', 'channel', 'offset', 'revision', 'matches', 'reasons'],
          properties: {
            ...{ rule: text, channel: text, offset: { type: 'integer' } },
            revision: { type: ['integer', 'null'], description: 'The version that was in force at the event.' },
            matches: { type: ['boolean', 'null'] },
            reasons: REASONS,
          },
        }),
      },
    },
    refuses: ['UNKNOWN_RULE', 'UNKNOWN_CHANNEL', 'CLOSED'],
    handle: async (request) => {
      const rule = request.parameters['rule'] as string
      const { channel, offset } = request.query
      const known = await existing(rulesOf(broker).get(rule))
      request.permitNamed('rules', 'rule', rule, known === null ? [] : [known.definition.on].flat())
      if (channel === undefined || offset === undefined) throw badRequest(400, 'name the event: channel= and offset=')
      request.permit('read', checkName(channel, 'channel'))
      const { maySee } = request
      const mayRead = request.permitted('read')
      const mayName = (on: readonly string[]): boolean => on.every((each) => request.principal.permits('rules', each))
      const at = countOf('offset', offset, 0, Number.MAX_SAFE_INTEGER)
      return Response.json(await whyRule(broker, rule, channel, at, { mayRead, maySee, mayName }))
    },
  }
}

/** Null for a rule that does not exist. */
async function existing<Found>(finding: Promise<Found>): Promise<Found | null> {
  try {
    return await finding
  } catch (error) {
    if (isMillraceError(error, 'UNKNOWN_RULE')) return null
    throw error
  }
}

/**
 * Declare and remove channels, and manage consumers, over HTTP: for users without a TypeScript application that does
 * it.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkConsumerName, checkName, ownerOf } from '../base/names.ts'
import { checkStateChoice } from '../broker/call-options.ts'
import type { Channel, ChannelSpec } from '../channel/channel.ts'
import { queue, stream } from '../channel/channel.ts'
import { permitConsumer } from './dead-letter-routes.ts'
import type { GatewayHost } from './gateway-host.ts'
import { membersOf } from './json-body.ts'
import { badRequest } from './problem.ts'
import { positionOf } from './query.ts'
import type { GatewayRequest, Parameter, Route } from './route.ts'
import { CHANNEL, CONSUMER, json } from './schemas.ts'

const CHANNEL_PATH = '/api/channels/{channel}'
const CONSUMER_PATH = '/api/consumers/{consumer}'
const CHANNEL_CHOICE = { description: 'Only in this channel.', schema: { type: 'string' } }
const size = { type: ['string', 'integer'], description: 'Bytes, or text such as 10MiB.' }
const duration = { type: ['string', 'integer'], description: 'Milliseconds, or text such as 30d.' }
const CHANNEL_BODY = {
  type: 'object',
  properties: {
    kind: { enum: ['stream', 'queue'], default: 'stream' },
    retain: {
      type: 'object',
      description: 'How long a stream keeps its events.',
      properties: {
        age: duration,
        bytes: size,
        count: { type: 'integer', minimum: 1 },
        latestByKey: { type: 'boolean' },
      },
    },
    dedupe: { description: 'The window in which an id is stored once; false turns it off.' },
    maxEventBytes: size,
  },
  additionalProperties: false,
}

export function managementRoutes(host: GatewayHost): Route[] {
  const { broker } = host
  const ofChannel = {
    tag: 'management',
    parameters: { channel: CHANNEL },
    access: { action: 'manage', of: 'channel' },
  } as const
  const ofConsumer = {
    tag: 'management',
    parameters: { consumer: CONSUMER },
    access: { action: 'manage', of: 'handler' },
  } as const
  return [
    {
      ...ofChannel,
      method: 'PUT',
      path: CHANNEL_PATH,
      name: 'declareChannel',
      summary: 'Create a channel, or check that it has this declaration.',
      description: 'A declaration that keeps fewer events than before deletes the others: it needs a reason.',
      query: { reason: { description: 'The reason; kept in the audit trail.', schema: { type: 'string' } } },
      body: { required: false, content: json(CHANNEL_BODY) },
      answers: {
        200: { description: 'It existed already, with this declaration.', content: json({ type: 'object' }) },
        201: { description: 'It was created.', content: json({ type: 'object' }) },
      },
      refuses: ['INVALID_OPTION', 'CHANNEL_CONFLICT', 'CLOSED'],
      handle: (request) => declare(request, host),
    },
    {
      ...ofChannel,
      method: 'DELETE',
      path: CHANNEL_PATH,
      name: 'removeChannel',
      summary: 'Delete a channel and its events.',
      needsReason: true,
      answers: { 204: { description: 'It is gone.' } },
      refuses: ['UNKNOWN_CHANNEL', 'CLOSED'],
      handle: async (request) => {
        const channel = notOurs(request.parameters['channel'] as string)
        request.reason()
        await broker.channel(channel).remove()
        return new Response(null, { status: 204 })
      },
    },
    {
      ...ofConsumer,
      method: 'DELETE',
      path: CONSUMER_PATH,
      name: 'removeConsumer',
      summary: 'Remove a consumer that does not run, with its positions, retries and dead letters.',
      needsReason: true,
      answers: { 204: { description: 'It is forgotten.' } },
      refuses: ['INVALID_NAME', 'INVALID_OPTION', 'CLOSED'],
      handle: async (request) => {
        const consumer = checkName(request.parameters['consumer'], 'consumer')
        await permitConsumer(request, host, 'manage', consumer)
        checkConsumerName(consumer)
        request.reason()
        await broker.consumer(consumer).remove()
        return new Response(null, { status: 204 })
      },
    },
    rewindRoute(host),
    ...pauseRoutes(host),
  ]
}

/** A pause outlives the caller and every instance, so it needs `manage` on the consumer's channels. */
function pauseRoutes(host: GatewayHost): Route[] {
  const { broker } = host
  const { engine } = host.core
  const reason = {
    type: 'string',
    maxLength: LIMITS.reasonCharsMax,
    description: 'The reason; kept in the audit trail. While the consumer is paused, its description shows it.',
  }
  const body = {
    required: false,
    content: json({ type: 'object', properties: { reason }, additionalProperties: false }),
  } as const
  const shared = {
    tag: 'management',
    parameters: { consumer: CONSUMER },
    access: { action: 'manage', of: 'handler' },
    method: 'POST',
  } as const
  const permitted = async (request: GatewayRequest): Promise<string> => {
    const consumer = checkName(request.parameters['consumer'], 'consumer')
    await permitConsumer(request, host, 'manage', consumer)
    return checkConsumerName(consumer)
  }
  return [
    {
      ...shared,
      path: `${CONSUMER_PATH}/pause`,
      name: 'pauseConsumer',
      summary: 'Pause a consumer as a whole, in every process, until it is resumed. Running handlers end normally.',
      body,
      answers: { 204: { description: 'It is paused.' } },
      refuses: ['UNKNOWN_CONSUMER', 'INVALID_NAME', 'INVALID_OPTION', 'CLOSED'],
      handle: async (request) => {
        const consumer = await permitted(request)
        const reason = await reasonOf(request, 'a pause')
        // The route is recorded by the gateway itself.
        const pause = { sinceMs: engine.clock.now(), reason: reason ?? null, by: request.principal.name }
        await engine.consumers.setPause(consumer, pause)
        return new Response(null, { status: 204 })
      },
    },
    {
      ...shared,
      path: `${CONSUMER_PATH}/resume`,
      name: 'resumeConsumer',
      summary: 'Let a paused consumer continue where it was.',
      body,
      answers: { 204: { description: 'It continues.' } },
      refuses: ['UNKNOWN_CONSUMER', 'INVALID_NAME', 'INVALID_OPTION', 'CLOSED'],
      handle: async (request) => {
        const consumer = await permitted(request)
        await reasonOf(request, 'a resume')
        await broker.consumer(consumer).resume()
        return new Response(null, { status: 204 })
      },
    },
  ]
}

/** The reason in the body, which the audit trail keeps. @throws INVALID_REQUEST · INVALID_OPTION */
async function reasonOf(request: GatewayRequest, what: string): Promise<string | undefined> {
  const { reason } = membersOf(await request.json(), ['reason'], what)
  if (reason === undefined) return undefined
  if (typeof reason !== 'string' || reason.length > LIMITS.reasonCharsMax)
    throw new MillraceError('INVALID_OPTION', `reason must be text of at most ${LIMITS.reasonCharsMax} characters`, {
      option: 'reason',
    })
  request.note({ reason })
  return reason
}

const STATE_CHOICE: Parameter = {
  description: 'For a consumer that keeps state, required: keep leaves the state, reset deletes all of it.',
  schema: { enum: ['keep', 'reset'] },
}

/** The parameters may be in the query or in a JSON body. */
function rewindRoute(host: GatewayHost): Route {
  const { broker } = host
  const to = {
    description: 'beginning, end, an offset, an RFC 3339 time, or an age such as 1h.',
    schema: { type: ['string', 'integer'] },
  }
  return {
    tag: 'management',
    parameters: { consumer: CONSUMER },
    access: { action: 'manage', of: 'handler' },
    method: 'POST',
    path: `${CONSUMER_PATH}/rewind`,
    name: 'rewindConsumer',
    summary: 'Move a consumer to another position, running or not. Its events in flight are taken back.',
    description: 'The position and the reason are in the query or in a JSON body.',
    query: { to: { ...to, schema: { type: 'string' } }, channel: CHANNEL_CHOICE, state: STATE_CHOICE },
    needsReason: true,
    body: {
      required: false,
      content: json({
        type: 'object',
        properties: {
          ...{ to: to.schema, channel: CHANNEL_CHOICE.schema, state: STATE_CHOICE.schema },
          reason: { type: 'string' },
        },
        additionalProperties: false,
      }),
    },
    answers: { 204: { description: 'It continues from there.' } },
    refuses: ['UNKNOWN_CONSUMER', 'OFFSET_OUT_OF_RANGE', 'INVALID_OPTION', 'CLOSED'],
    handle: async (request) => {
      const consumer = checkName(request.parameters['consumer'], 'consumer')
      const { to, channel, state, reason } = await rewindOf(request).catch(async (error: unknown) => {
        // A caller without the permission gets that refusal, whatever the body contains.
        await permitConsumer(request, host, 'manage', consumer)
        throw error
      })
      await permitConsumer(request, host, 'manage', consumer, channel)
      if (ownerOf(consumer) !== null) request.permitNamed('manage', 'consumer', consumer, ['>'])
      if (to === undefined)
        throw badRequest(
          400,
          'name the position: ?to=beginning, an offset, a time or an age; or the same in a JSON body, {"to": "beginning"}',
        )
      if (state !== undefined) checkStateChoice(state)
      request.reason(reason)
      const only = { ...(channel !== undefined && { channel }), ...(state !== undefined && { state }) }
      await broker.consumer(consumer).rewind(positionOf('to', to), only)
      return new Response(null, { status: 204 })
    },
  }
}

type Rewind = Partial<Record<'to' | 'channel' | 'state' | 'reason', string>>

async function rewindOf(request: GatewayRequest): Promise<Rewind> {
  const body = membersOf(await request.json(), ['to', 'channel', 'state', 'reason'], 'a rewind')
  const said = Object.entries(body).map(([name, value]) => {
    if (request.query[name] !== undefined)
      throw badRequest(400, `${name} is in the query and in the body: give it once`, { member: name })
    if (typeof value !== 'string' && !(name === 'to' && typeof value === 'number'))
      throw badRequest(400, `${name} must be text`, { member: name })
    return [name, String(value)]
  })
  const facts = Object.fromEntries(said) as Record<string, string>
  request.note(facts)
  return { ...request.query, ...facts }
}

/** Declares on the engine itself, so that what the application declared (schemas, key) stays as it is. */
async function declare(request: GatewayRequest, host: GatewayHost): Promise<Response> {
  const name = notOurs(request.parameters['channel'] as string)
  const { kind = 'stream', ...options } = membersOf(
    await request.json(),
    ['kind', 'retain', 'dedupe', 'maxEventBytes'],
    'a channel',
  )
  if (kind !== 'stream' && kind !== 'queue') throw badRequest(400, 'kind must be stream or queue')
  for (const [option, value] of Object.entries(options)) {
    if (option !== 'maxEventBytes' && value !== false && (typeof value !== 'object' || value === null))
      throw badRequest(400, `${option} must be an object`)
  }
  const { spec }: Channel = kind === 'stream' ? stream(name, options as object) : queue(name, options as object)
  const { engine } = host.core
  const before = await engine.channel(name)
  if (before !== undefined && keepsLess(spec, before)) request.reason()
  // No type is named, so the schemas of the types stay as they are.
  const types = before === undefined || before.types === null ? null : []
  await engine.declare({ ...spec, types })
  return Response.json({ channel: name, kind }, { status: before === undefined ? 201 : 200 })
}

/** Whether events that are kept now are removed by the new declaration. */
function keepsLess({ retain: after }: ChannelSpec, { retain: before }: ChannelSpec): boolean {
  return (['ageMs', 'bytes', 'count'] as const).some((limit) => {
    const [now, then] = [after[limit], before[limit]]
    return now !== null && (then === null || now < then)
  })
}

function notOurs(channel: string): string {
  if (!channel.startsWith('$')) return channel
  throw new MillraceError('FORBIDDEN', `"${channel}" is Millrace's own: it cannot be created or deleted over HTTP`, {
    channel,
  })
}

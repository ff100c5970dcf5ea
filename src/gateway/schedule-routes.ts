/**
 * Schedules over HTTP: list, show, put, pause, resume, run, remove. They run where `broker.schedules.start()` runs, as
 * in `millrace serve`.
 *
 * To see a schedule, the caller needs `read` for its channel. To change or run it, the caller needs `manage` and
 * `publish` for its channel, before and after the change.
 */
import { isMillraceError } from '../base/errors.ts'
import type { Broker } from '../broker/broker.ts'
import type { ScheduleDescription, Schedules, When } from '../broker/schedules.ts'
import { membersOf } from './json-body.ts'
import { badRequest } from './problem.ts'
import type { GatewayRequest, JsonSchema, Parameter, Route } from './route.ts'
import { json } from './schemas.ts'

const PATH = '/api/schedules/{schedule}'
const NAME: Parameter = { description: 'The name of the schedule.', required: true, schema: { type: 'string' } }
const REASON: Parameter = { description: 'The reason; the list shows it.', schema: { type: 'string' } }
const WHEN: JsonSchema = {
  type: 'object',
  description: 'Exactly one of cron, every and at.',
  properties: {
    cron: { type: 'string', examples: ['0 7 * * 1-5'] },
    timeZone: { type: 'string', default: 'UTC', examples: ['Europe/Berlin'] },
    dst: { enum: ['vixie', 'skip'], default: 'vixie' },
    every: { type: ['string', 'integer'], examples: ['15m'] },
    offset: { type: ['string', 'integer'] },
    at: { type: ['string', 'integer'], description: 'RFC 3339 text, or milliseconds since the epoch.' },
    missed: { enum: ['one', 'all', 'skip'], default: 'one' },
    jitter: { type: ['string', 'integer'] },
    until: { type: ['string', 'integer'] },
  },
}
const SCHEDULE: JsonSchema = {
  type: 'object',
  required: ['name', 'channel', 'type', 'when', 'paused', 'next', 'last', 'author', 'changedAt'],
  properties: {
    name: { type: 'string' },
    channel: { type: 'string' },
    type: { type: ['string', 'null'], description: 'The type of its events; null if a function makes them.' },
    when: WHEN,
    paused: { type: ['object', 'null'] },
    next: { type: ['string', 'null'] },
    last: { type: ['object', 'null'] },
    author: { type: 'string' },
    changedAt: { type: 'string' },
  },
}
const ONE = {
  tag: 'schedules',
  parameters: { schedule: NAME },
  answers: { 200: { description: 'The schedule as it is now.', content: json(SCHEDULE) } },
  refuses: ['UNKNOWN_SCHEDULE', 'CLOSED'],
} as const
const CHANGE = { ...ONE, access: { action: 'manage', of: 'handler' } } as const

export function scheduleRoutes(broker: Broker): Route[] {
  return [...readRoutes(broker), putRoute(broker), ...changeRoutes(broker)]
}

function readRoutes(broker: Broker): Route[] {
  return [
    {
      tag: 'schedules',
      access: { action: 'read', of: 'handler' },
      method: 'GET',
      path: '/api/schedules',
      name: 'listSchedules',
      summary: 'List the schedules of the channels that the caller may read.',
      answers: {
        200: {
          description: 'The schedules by name, and how many processes run those with events as data.',
          content: json({
            type: 'object',
            required: ['schedules', 'workers'],
            properties: { schedules: { type: 'array', items: SCHEDULE }, workers: { type: 'integer' } },
          }),
        },
      },
      refuses: ['CLOSED'],
      handle: async (request) => {
        const permitted = request.permitted('read')
        const schedules = (await broker.schedules.list()).filter(({ channel }) => permitted(channel))
        return Response.json({ schedules, workers: await workersOf(broker) })
      },
    },
    {
      ...ONE,
      access: { action: 'read', of: 'handler' },
      method: 'GET',
      path: PATH,
      name: 'showSchedule',
      summary: 'Show a schedule.',
      handle: async (request) => Response.json(await known(request, broker.schedules, ['read'])),
    },
  ]
}

function putRoute(broker: Broker): Route {
  return {
    ...CHANGE,
    method: 'PUT',
    path: PATH,
    name: 'putSchedule',
    summary: 'Create a schedule, or replace it. Its event is data.',
    body: {
      required: true,
      content: json({
        type: 'object',
        required: ['when', 'channel', 'event'],
        properties: {
          when: WHEN,
          channel: { type: 'string' },
          event: { type: 'object', description: 'A CloudEvent without id and time.' },
        },
      }),
    },
    refuses: [
      'UNKNOWN_CHANNEL',
      'INVALID_EVENT',
      'TYPE_NOT_CARRIED',
      'SCHEMA_MISMATCH',
      'UNKNOWN_VERSION',
      'EVENT_TOO_LARGE',
      'CLOSED',
    ],
    handle: (request) => put(request, broker.schedules),
  }
}

function changeRoutes(broker: Broker): Route[] {
  const { schedules } = broker
  const changed = async (
    request: GatewayRequest,
    change: (name: string, author: string) => Promise<unknown>,
  ): Promise<Response> => {
    const { name } = await known(request, schedules, ['manage', 'publish'])
    return Response.json((await change(name, request.principal.name)) ?? {})
  }
  return [
    {
      ...CHANGE,
      method: 'DELETE',
      path: PATH,
      name: 'removeSchedule',
      needsReason: true,
      summary: 'Remove a schedule. Events that it has published stay.',
      answers: { 200: { description: 'It is removed.', content: json({ type: 'object' }) } },
      handle: (request) =>
        changed(request, async (name, author) => {
          request.reason()
          await schedules.remove(name, { author })
        }),
    },
    {
      ...CHANGE,
      method: 'POST',
      path: `${PATH}/pause`,
      name: 'pauseSchedule',
      summary: 'Pause a schedule: times that pass meanwhile do not publish.',
      query: { reason: REASON },
      handle: (request) =>
        changed(request, (name, author) =>
          schedules.pause(name, {
            author,
            ...(request.query['reason'] !== undefined && { reason: request.query['reason'] }),
          }),
        ),
    },
    {
      ...CHANGE,
      method: 'POST',
      path: `${PATH}/resume`,
      name: 'resumeSchedule',
      summary: 'Continue with the next time from now.',
      handle: (request) => changed(request, (name, author) => schedules.resume(name, { author })),
    },
    {
      ...CHANGE,
      method: 'POST',
      path: `${PATH}/run`,
      name: 'runSchedule',
      summary: 'Publish one more event now. The times stay as they are.',
      answers: {
        200: {
          description: 'The id of the event that will be published.',
          content: json({ type: 'object', required: ['id'], properties: { id: { type: 'string' } } }),
        },
      },
      handle: (request) => changed(request, (name) => schedules.run(name)),
    },
  ]
}

/** How many processes run schedules with events as data. */
async function workersOf(broker: Broker): Promise<number> {
  try {
    return (await broker.consumer('$schedules.worker').describe()).instances
  } catch (error) {
    if (isMillraceError(error, 'UNKNOWN_CONSUMER')) return 0
    throw error
  }
}

/** The schedule of the path, if the caller has the permissions for its channel. */
async function known(
  request: GatewayRequest,
  schedules: Schedules,
  actions: readonly ('read' | 'manage' | 'publish')[],
): Promise<ScheduleDescription> {
  const name = request.parameters['schedule'] as string
  let found: ScheduleDescription
  try {
    found = await schedules.get(name)
  } catch (error) {
    for (const action of actions) request.permitNamed(action, 'schedule', name, [])
    throw error
  }
  for (const action of actions) request.permitNamed(action, 'schedule', name, [found.channel])
  return found
}

async function put(request: GatewayRequest, schedules: Schedules): Promise<Response> {
  const { when, channel, event } = membersOf(await request.json(), ['when', 'channel', 'event'], 'a schedule')
  if (typeof channel !== 'string') throw badRequest(400, 'channel must be the name of a channel')
  for (const action of ['manage', 'publish'] as const) request.permit(action, channel)
  const given = membersOf(when, Object.keys(WHEN['properties'] as object), 'when')
  if (typeof event !== 'object' || event === null || Array.isArray(event))
    throw badRequest(400, 'event must be a CloudEvent as a JSON object, without id and time')
  const name = request.parameters['schedule'] as string
  const before = (await schedules.list()).find((each) => each.name === name)
  if (before !== undefined)
    for (const action of ['manage', 'publish'] as const) request.permitNamed(action, 'schedule', name, [before.channel])
  request.note({ channel })
  return Response.json(
    await schedules.put(name, given as When, channel, event as never, { author: request.principal.name }),
  )
}

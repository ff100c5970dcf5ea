/**
 * The dead letters of a consumer over HTTP: list, redrive, drop.
 *
 * `?channel=&offset=&id=&key=&limit=` selects them. A redrive or drop must select some, or say `all=true`. It needs the
 * permission on the named channel, or, without one, on every channel of the consumer.
 */

import { checkName } from '../base/names.ts'
import type { DeadLetter, DeadLetterQuery, EventPlace } from '../broker/description.ts'
import type { DeadLetters } from '../broker/handles.ts'
import { checkChoiceByKey, seenLetters } from '../broker/seen-events.ts'
import type { Action } from './access/permissions.ts'
import type { GatewayHost } from './gateway-host.ts'
import { letterPage } from './letters/letter-page.ts'
import { placeOf, placeText } from './place-text.ts'
import { badRequest } from './problem.ts'
import { countOf } from './query.ts'
import type { GatewayRequest, Parameter, Route } from './route.ts'
import { CONSUMER, json, ref } from './schemas.ts'

const CHOICE = ['channel', 'offset', 'id', 'key', 'limit'] as const
const QUERY: Readonly<Record<(typeof CHOICE)[number], Parameter>> = {
  channel: { description: 'Of this channel.', schema: { type: 'string' } },
  offset: { description: 'At this offset.', schema: { type: 'integer', minimum: 0 } },
  id: { description: 'With this event id.', schema: { type: 'string' } },
  key: { description: 'With this key.', schema: { type: 'string' } },
  limit: {
    description: 'At most this many, the oldest first.',
    schema: { type: 'integer', minimum: 1, maximum: 10_000 },
  },
}
/** For a list, not for what is redriven or dropped. */
const PAGES: Readonly<Record<'after' | 'fingerprint', Parameter>> = {
  after: {
    description: 'One page after the other: empty for the first page, then the next of the page before.',
    schema: { type: 'string' },
  },
  fingerprint: {
    description:
      'Of this group of dead-letter-groups, in pages. A page can have fewer letters than limit, or none, and not be the last.',
    schema: { type: 'string' },
  },
}
const ALL: Parameter = { description: 'true: all of them, if no other parameter selects.', schema: { enum: ['true'] } }
const LETTERS = '/api/consumers/{consumer}/dead-letters'

function counted(member: string): Route['answers'] {
  const content = json({ type: 'object', required: [member], properties: { [member]: { type: 'integer' } } })
  return { 200: { description: 'How many.', content } }
}

const common = {
  tag: 'dead letters',
  parameters: { consumer: CONSUMER },
  refuses: ['UNKNOWN_CONSUMER', 'CLOSED'],
} as const

function listRoute(host: GatewayHost): Route {
  return {
    ...common,
    method: 'GET',
    path: LETTERS,
    name: 'listDeadLetters',
    summary: 'List the events that a consumer gave up on.',
    access: { action: 'read', of: 'handler' },
    query: { ...QUERY, ...PAGES },
    answers: {
      200: {
        description:
          'Oldest first, at most 100 unless limit says otherwise. In pages: in the order of channel names and offsets; next is null after the last page.',
        content: json({
          type: 'object',
          required: ['deadLetters'],
          properties: {
            deadLetters: { type: 'array', items: ref('DeadLetter') },
            next: { type: ['string', 'null'] },
          },
        }),
      },
    },
    handle: (request) => list(request, host),
  }
}

export function deadLetterRoutes(host: GatewayHost): Route[] {
  const manage = {
    ...common,
    access: { action: 'manage', of: 'handler' },
    query: { ...QUERY, all: ALL },
    needsReason: true,
  } as const
  const chosen = async (request: GatewayRequest): Promise<readonly [DeadLetters, DeadLetterQuery]> => {
    const letters = await lettersOf(request, host, 'manage')
    const query = deliberate(request.query)
    request.reason()
    return [letters, query]
  }
  const drop = async (request: GatewayRequest): Promise<Response> => {
    const [letters, query] = await chosen(request)
    return Response.json({ dropped: await letters.drop(query) })
  }
  return [
    listRoute(host),
    {
      ...manage,
      method: 'DELETE',
      path: LETTERS,
      name: 'deleteDeadLetters',
      summary: 'Drop dead letters.',
      answers: counted('dropped'),
      handle: drop,
    },
    {
      ...manage,
      method: 'POST',
      path: `${LETTERS}/redrive`,
      name: 'redriveDeadLetters',
      summary: 'Give dead letters back to their consumer, in order.',
      answers: counted('redriven'),
      handle: async (request) => {
        const [letters, query] = await chosen(request)
        return Response.json({ redriven: await letters.redrive(query) })
      },
    },
    {
      ...manage,
      method: 'POST',
      path: `${LETTERS}/drop`,
      name: 'dropDeadLetters',
      summary: 'Drop dead letters.',
      answers: counted('dropped'),
      handle: drop,
    },
  ]
}

async function list(request: GatewayRequest, host: GatewayHost): Promise<Response> {
  const { limit = 100, ...choice } = choiceOf(request.query)
  const { after, fingerprint } = request.query
  const letters = await lettersOf(request, host, 'read')
  const seen = async (found: readonly DeadLetter[]): Promise<readonly DeadLetter[]> => {
    const shown = await seenLetters(host.core.engine, found, request.maySee)
    // A caller who may not see a key cannot find letters by it.
    return choice.key === undefined ? shown : shown.filter(({ key }) => key === choice.key)
  }
  if (after === undefined && fingerprint === undefined)
    return answer(await seen(await letters.list({ ...choice, limit })))
  const from = after === undefined || after === '' ? null : placeOf('after', after)
  const consumer = request.parameters['consumer'] as string
  const page = await letterPage(host.core.engine, consumer, { ...choice, limit, after: from }, fingerprint ?? null)
  return answer(await seen(page.letters), page.next)
}

function answer(letters: readonly DeadLetter[], next?: EventPlace | null): Response {
  const rest = next === undefined ? '' : `,"next":${JSON.stringify(placeText(next))}`
  return new Response(`{"deadLetters":[${letters.map(letterText).join(',')}]${rest}}`, {
    headers: { 'content-type': 'application/json' },
  })
}

async function lettersOf(request: GatewayRequest, host: GatewayHost, action: Action): Promise<DeadLetters> {
  const consumer = checkName(request.parameters['consumer'], 'consumer')
  const { channel, key } = request.query
  await permitConsumer(request, host, action, consumer, channel)
  if (key !== undefined && action === 'manage') await permitKey(request, host, consumer, channel)
  return host.broker.deadLetters(consumer)
}

/**
 * Checks that the caller may choose events of the consumer by their key, in one channel or in all that it reads.
 * @throws FORBIDDEN when it may not
 */
export async function permitKey(
  { maySee }: GatewayRequest,
  { core: { engine } }: GatewayHost,
  consumer: string,
  channel: string | undefined,
): Promise<void> {
  const taken = async (): Promise<readonly string[]> =>
    ((await engine.consumers.describe(consumer))?.channels ?? []).map((position) => position.channel)
  await checkChoiceByKey(engine, channel === undefined ? await taken() : [channel], maySee)
}

/**
 * Require a permission on one channel of a consumer, or on all its channels.
 * A consumer that does not exist, that has no channels, or that does not take the named channel, is refused to all
 * callers except those with the permission on all channels.
 */
export async function permitConsumer(
  request: GatewayRequest,
  host: GatewayHost,
  action: Action,
  consumer: string,
  channel?: string,
): Promise<void> {
  if (channel !== undefined) request.permit(action, checkName(channel, 'channel'))
  if (request.principal.permits(action, '>')) return request.permit(action, '>')
  const { engine } = host.core
  const channels = (await engine.consumers.describe(consumer))?.channels.map((position) => position.channel) ?? []
  request.permitNamed(
    action,
    'consumer',
    consumer,
    channel === undefined ? channels : channels.filter((each) => each === channel),
  )
}

function choiceOf(parameter: GatewayRequest['query']): DeadLetterQuery {
  const { channel, offset, id, key, limit } = parameter
  return {
    ...(channel !== undefined && { channel }),
    ...(offset !== undefined && { offset: countOf('offset', offset, 0, Number.MAX_SAFE_INTEGER) }),
    ...(id !== undefined && { id }),
    ...(key !== undefined && { key }),
    ...(limit !== undefined && { limit: countOf('limit', limit, 1, 10_000) }),
  }
}

function deliberate(parameter: GatewayRequest['query']): DeadLetterQuery {
  const choice = choiceOf(parameter)
  if (Object.keys(choice).length === 0 && parameter['all'] !== 'true') {
    throw badRequest(400, `name the dead letters (${CHOICE.join(', ')}), or all=true for all of them`)
  }
  return choice
}

/** The dead letter with its event as JSON, not as a string of JSON. */
function letterText(letter: DeadLetter): string {
  const { text, ...rest } = letter
  return `${JSON.stringify(rest).slice(0, -1)},"event":${text}}`
}

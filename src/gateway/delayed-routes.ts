/** Delayed events over HTTP: list those that wait in a channel, cancel one by its id. */

import { LIMITS } from '../base/limits.ts'
import type { DelayedEvent, DelayedQuery } from '../broker/delays.ts'
import { seenDelayed } from '../broker/seen-events.ts'
import type { GatewayHost } from './gateway-host.ts'
import { badRequest } from './problem.ts'
import { countOf } from './query.ts'
import type { Route } from './route.ts'
import { CHANNEL, json } from './schemas.ts'

const DELAYED = '/channels/{channel}/delayed'
const EVENT = {
  type: 'object',
  required: ['channel', 'id', 'type', 'key', 'dueAtMs'],
  properties: {
    channel: { type: 'string' },
    id: { type: 'string' },
    type: { type: 'string' },
    key: { type: ['string', 'null'] },
    dueAtMs: { type: 'integer' },
  },
}

const common = { tag: 'events', refuses: ['UNKNOWN_CHANNEL', 'CLOSED'] } as const

function cancelRoute({ broker }: GatewayHost): Route {
  return {
    ...common,
    method: 'DELETE',
    path: `${DELAYED}/{id}`,
    name: 'cancelDelayedEvent',
    summary: 'Cancel a delayed event.',
    needsReason: true,
    parameters: {
      channel: CHANNEL,
      id: { description: 'The event’s id.', required: true, schema: { type: 'string' } },
    },
    access: { action: 'manage', of: 'channel' },
    answers: {
      200: {
        description:
          'cancelled is true: it will never be stored, and its id may be published again. false: there is no such delayed event.',
        content: json({ type: 'object', required: ['cancelled'], properties: { cancelled: { type: 'boolean' } } }),
      },
    },
    handle: async (request) => {
      const { channel, id } = request.parameters
      request.reason()
      return Response.json({ cancelled: await broker.channel(channel as string).delayed.cancel(id as string) })
    },
  }
}

export function delayedRoutes(host: GatewayHost): Route[] {
  const { broker, core } = host
  return [
    {
      ...common,
      method: 'GET',
      path: DELAYED,
      name: 'listDelayedEvents',
      summary: 'List the delayed events of a channel.',
      parameters: { channel: CHANNEL },
      access: { action: 'read', of: 'channel' },
      query: {
        id: { description: 'With this event id.', schema: { type: 'string' } },
        key: { description: 'With this key.', schema: { type: 'string' } },
        after: {
          description: 'Only events after this position: next of the previous page.',
          schema: { type: 'string' },
        },
        limit: {
          description: 'At most this many, the soonest first.',
          schema: { type: 'integer', minimum: 1, maximum: LIMITS.delayedListMax },
        },
      },
      answers: {
        200: {
          description:
            'The soonest first, at most 100 unless limit says otherwise. next is where the next page begins; null after the last.',
          content: json({
            type: 'object',
            required: ['delayed', 'next'],
            properties: { delayed: { type: 'array', items: EVENT }, next: { type: ['string', 'null'] } },
          }),
        },
      },
      handle: async ({ parameters, query, maySee }) => {
        const asked = queryOf(query)
        const channel = parameters['channel'] as string
        const list = await broker.channel(channel).delayed.list(asked)
        const delayed = await seenDelayed(core.engine, channel, { list, query: asked }, maySee)
        return Response.json({
          delayed,
          next: delayed.length < asked.limit ? null : cursorOf(delayed.at(-1) as DelayedEvent),
        })
      },
    },
    cancelRoute(host),
  ]
}

function queryOf({
  id,
  key,
  after,
  limit,
}: Readonly<Record<string, string | undefined>>): DelayedQuery & { readonly limit: number } {
  return {
    ...(id !== undefined && { id }),
    ...(key !== undefined && { key }),
    ...(after !== undefined && { after: afterOf(after) }),
    limit: limit === undefined ? 100 : countOf('limit', limit, 1, LIMITS.delayedListMax),
  }
}

function cursorOf({ dueAtMs, id }: DelayedEvent): string {
  return `${dueAtMs}/${id}`
}

function afterOf(text: string): Pick<DelayedEvent, 'dueAtMs' | 'id'> {
  const [, dueAtMs, id] = /^(\d{1,15})\/(.+)$/s.exec(text) ?? []
  if (dueAtMs === undefined || id === undefined)
    throw badRequest(400, `after "${text.slice(0, 60)}" is not from a page: send the next of a page`, {
      parameter: 'after',
    })
  return { dueAtMs: Number(dueAtMs), id }
}

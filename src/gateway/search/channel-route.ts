/**
 * `GET /api/channels/{channel}`: the declaration of a channel, with the JSON Schemas of its event types, and its first
 * and next offset.
 */
import { MillraceError } from '../../base/errors.ts'
import { engineOf } from '../../broker/engine-of.ts'
import { knownSchemas } from '../../channel/kept-schemas.ts'
import type { GatewayHost } from '../gateway-host.ts'
import type { Route } from '../route.ts'
import { CHANNEL, json } from '../schemas.ts'

export function channelRoute({ broker }: GatewayHost): Route {
  return {
    method: 'GET',
    path: '/api/channels/{channel}',
    name: 'showChannel',
    summary: 'Show a channel: its declaration, the JSON Schemas of its events where they are known, and its bounds.',
    tag: 'events',
    access: { action: 'read', of: 'channel' },
    parameters: { channel: CHANNEL },
    answers: {
      200: {
        description: 'The channel.',
        content: json({
          type: 'object',
          required: ['channel', 'kind', 'types', 'schemas', 'first', 'next'],
          properties: {
            channel: { type: 'string' },
            kind: { enum: ['stream', 'queue'] },
            types: { type: ['array', 'null'], description: 'The types that it carries; null for any.' },
            schemas: { type: 'object', description: 'By type.' },
            first: { type: 'integer' },
            next: { type: 'integer' },
          },
        }),
      },
    },
    refuses: ['UNKNOWN_CHANNEL', 'CLOSED'],
    handle: async ({ parameters }) => {
      const name = parameters['channel'] as string
      const engine = engineOf(broker)
      const spec = await engine.channel(name)
      if (spec === undefined)
        throw new MillraceError('UNKNOWN_CHANNEL', `there is no channel "${name}"`, { channel: name })
      const { first, next } = await engine.bounds(name)
      const { kind, types } = spec
      return Response.json({ channel: name, kind, types, schemas: knownSchemas(spec.schemas), first, next })
    },
  }
}

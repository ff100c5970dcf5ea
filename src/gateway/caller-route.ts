/** What the caller of a request may do: for pages and programs that show only actions that will be permitted. */
import { checkName, isWildcardForm } from '../base/names.ts'
import { ACTIONS } from './access/permissions.ts'
import type { GatewayHost } from './gateway-host.ts'
import type { JsonSchema, Route } from './route.ts'
import { json } from './schemas.ts'

const actions: JsonSchema = { type: 'array', items: { enum: ACTIONS } }

export function callerRoute({ core }: GatewayHost): Route {
  return {
    method: 'GET',
    path: '/api/caller',
    name: 'describeCaller',
    summary: 'Show who the caller is, and which actions it is permitted.',
    tag: 'operation',
    access: 'known',
    query: {
      channel: {
        description: 'Show the actions on this channel, or on every channel that this wildcard matches.',
        schema: { type: 'string' },
      },
      consumer: {
        description:
          'Show the actions on every channel of this consumer. For an unknown consumer these are the actions on all channels.',
        schema: { type: 'string' },
      },
    },
    answers: {
      200: {
        description: 'The actions on all channels, and those on the channel or the consumer of the query.',
        content: json({
          type: 'object',
          required: ['kind', 'name', 'everywhere', 'permitted'],
          properties: { kind: { type: 'string' }, name: { type: 'string' }, everywhere: actions, permitted: actions },
        }),
      },
    },
    refuses: ['INVALID_NAME', 'CLOSED'],
    handle: async ({ principal, query: { channel, consumer } }) => {
      const everywhere = ACTIONS.filter((action) => principal.permits(action, '>'))
      const channels = channel === undefined ? [] : [isWildcardForm(channel) ? channel : checkName(channel, 'channel')]
      if (consumer !== undefined) {
        const described = await core.engine.consumers.describe(checkName(consumer, 'consumer'))
        channels.push(...(described?.channels ?? []).map((position) => position.channel))
      }
      const permitted =
        channels.length === 0
          ? everywhere
          : ACTIONS.filter((action) => channels.every((each) => principal.permits(action, each)))
      return Response.json({ kind: principal.kind, name: principal.name, everywhere, permitted })
    },
  }
}

/**
 * Tables over HTTP: the state that a consumer keeps for each key, and the latest events of a stream that keeps only
 * these. They need `read` on the channel that holds the table; in a channel with sensitive fields also `sensitive`,
 * because a key may be made from such a field.
 */
import { LIMITS } from '../base/limits.ts'
import { checkName, stateChannelOf } from '../base/names.ts'
import { checkChoiceByKey } from '../broker/seen-events.ts'
import type { Table, TableEntry } from '../broker/table.ts'
import type { GatewayHost } from './gateway-host.ts'
import { badRequest } from './problem.ts'
import { countOf } from './query.ts'
import type { GatewayRequest, Route } from './route.ts'
import { json } from './schemas.ts'

const TABLE = '/api/tables/{table}'
const PAGE_DEFAULT = 100
const NAME = {
  description: 'The name of a consumer with state, or of a stream that keeps the latest event of each key.',
  required: true,
  schema: { type: 'string' },
} as const
const ENTRY = {
  type: 'object',
  required: ['key', 'value', 'offset', 'storedAt'],
  properties: {
    key: { type: 'string' },
    value: { description: 'The state as it is stored; of a stream, the event.' },
    offset: { type: 'integer' },
    storedAt: { type: 'string', format: 'date-time' },
  },
}

export function tableRoutes(host: GatewayHost): Route[] {
  const common = {
    tag: 'events',
    method: 'GET',
    access: { action: 'read', of: 'handler' },
    refuses: ['UNKNOWN_CHANNEL', 'INVALID_NAME', 'INVALID_OPTION', 'CLOSED'],
  } as const
  return [
    {
      ...common,
      path: TABLE,
      name: 'listTable',
      summary: 'List the keys of a table with their values.',
      parameters: { table: NAME },
      query: {
        prefix: { description: 'Only keys that begin with this text.', schema: { type: 'string' } },
        after: { description: 'Only keys after this one: next of the previous page.', schema: { type: 'string' } },
        limit: {
          description: 'At most this many.',
          schema: { type: 'integer', minimum: 1, maximum: LIMITS.tablePageMax },
        },
      },
      answers: {
        200: {
          description: `In the order of the keys, at most ${PAGE_DEFAULT} unless limit says otherwise. next is where the next page begins; null after the last.`,
          content: json({
            type: 'object',
            required: ['entries', 'next'],
            properties: { entries: { type: 'array', items: ENTRY }, next: { type: ['string', 'null'] } },
          }),
        },
      },
      handle: async (request) => Response.json(await page(await permittedTable(request, host), request)),
    },
    {
      ...common,
      path: `${TABLE}/{key}`,
      name: 'showTableEntry',
      summary: 'Show one key of a table.',
      parameters: { table: NAME, key: { description: 'The key.', required: true, schema: { type: 'string' } } },
      answers: { 200: { description: 'The key and its value.', content: json(ENTRY) } },
      handle: async (request) => {
        const key = request.parameters['key'] as string
        const entry = await (await permittedTable(request, host)).get(key)
        if (entry === undefined) throw badRequest(404, `the table has no key "${key.slice(0, 200)}"`, { key })
        return Response.json(shownEntry(entry))
      },
    },
  ]
}

/** @throws FORBIDDEN · INVALID_NAME */
async function permittedTable(request: GatewayRequest, { broker, core }: GatewayHost): Promise<Table> {
  const name = checkName(request.parameters['table'], 'consumer')
  const state = stateChannelOf(name)
  const channel = (await core.engine.channel(state)) === undefined ? name : state
  request.permit('read', channel)
  await checkChoiceByKey(core.engine, [channel], request.maySee)
  return broker.table(name)
}

async function page(table: Table, { query }: GatewayRequest): Promise<object> {
  const { prefix, after } = query
  const limit = query['limit'] === undefined ? PAGE_DEFAULT : countOf('limit', query['limit'], 1, LIMITS.tablePageMax)
  const entries: object[] = []
  let last: string | null = null
  let more = false
  for await (const entry of table.entries({
    ...(prefix !== undefined && { prefix }),
    ...(after !== undefined && { after }),
  })) {
    more = entries.length === limit
    if (more) break
    entries.push(shownEntry(entry))
    last = entry.key
  }
  return { entries, next: more ? last : null }
}

function shownEntry({ key, value, offset, storedAt }: TableEntry): object {
  return { key, value, offset, storedAt: storedAt.toISOString() }
}

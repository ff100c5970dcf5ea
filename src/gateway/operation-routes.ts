/** Routes for operators: description, liveness (`/health`) and readiness (`/ready`). */
import type { BrokerDescription } from '../broker/description.ts'
import { ACTIONS } from './access/permissions.ts'
import type { Principal } from './access/principal.ts'
import type { GatewayHost } from './gateway-host.ts'
import type { Content, Route } from './route.ts'
import { json, ref } from './schemas.ts'

export function operationRoutes(host: GatewayHost, isClosing: () => boolean): Route[] {
  const status = (word: object): Content => json({ type: 'object', required: ['status'], properties: { status: word } })
  return [
    {
      method: 'GET',
      path: '/api/describe',
      name: 'describe',
      summary:
        'Describe channels, consumers, lag, rates, dead letters and alarms, as far as the caller has a permission for the channels.',
      tag: 'operation',
      access: 'known',
      answers: { 200: { description: 'The state of the broker.', content: json(ref('Description')) } },
      refuses: ['CLOSED'],
      handle: async ({ principal }) => Response.json(visible(await host.broker.describe(), principal)),
    },
    {
      method: 'GET',
      path: '/health',
      name: 'health',
      summary: 'Check whether the gateway answers.',
      tag: 'operation',
      access: 'open',
      unmetered: true,
      answers: { 200: { description: 'It does.', content: status({ const: 'ok' }) } },
      handle: () => Response.json({ status: 'ok' }),
    },
    {
      method: 'GET',
      path: '/ready',
      name: 'ready',
      summary:
        'Check whether the broker accepts events: it is open, its store works, and the gateway is not closing. Alarms are shown to callers with a permission for all channels.',
      tag: 'operation',
      access: 'open',
      identifies: true,
      unmetered: true,
      answers: {
        200: { description: 'It does.', content: status({ const: 'ready' }) },
        503: { description: 'It does not; the alarms say why.', content: status({ const: 'not ready' }) },
      },
      handle: ({ principal }) => {
        const { ready, alarms } = readiness(host, isClosing())
        return Response.json(
          { status: ready ? 'ready' : 'not ready', ...(seesAll(principal) && { alarms }) },
          { status: ready ? 200 : 503 },
        )
      },
    },
  ]
}

/** Alarms name servers and files, so only callers with a permission on every channel see them. */
function seesAll({ permits }: Principal): boolean {
  return ACTIONS.some((action) => permits(action, '>'))
}

/** The part of the description that the caller is allowed to see. */
function visible(description: BrokerDescription, { permits }: Principal): BrokerDescription {
  const seen = (channel: string): boolean => ACTIONS.some((action) => permits(action, channel))
  if (seen('>') && seen('$audit')) return description
  const channels = description.channels.filter(({ name }) => seen(name))
  const consumers = description.consumers.flatMap((consumer) => {
    const own = consumer.channels.filter(({ channel }) => seen(channel))
    return own.length === 0 ? [] : [{ ...consumer, channels: own }]
  })
  return { ...description, channels, consumers, alarms: seen('>') ? description.alarms : [] }
}

/** Alarms that mean that the broker accepts no events. */
const UNREADY: ReadonlySet<string> = new Set(['STORE_FAILED', 'DISK_FULL', 'TOO_MANY_FILES', 'UNAVAILABLE', 'CLOSED'])

/**
 * Whether the broker accepts events, from the alarms that it remembers. No store or server is asked, so this is cheap
 * enough to be open to every caller.
 */
function readiness(
  { core }: GatewayHost,
  closing: boolean,
): { readonly ready: boolean; readonly alarms: readonly unknown[] } {
  if (closing) return { ready: false, alarms: [{ code: 'CLOSED', message: 'the gateway is closing' }] }
  if (core.closed) return { ready: false, alarms: [{ code: 'CLOSED', message: 'the broker is closed' }] }
  const alarms = [...core.engine.alarms.all, ...core.alarms.all]
  return { ready: !alarms.some(({ code }) => UNREADY.has(code)), alarms }
}

/** For whoever is on call: what there is, whether it lives, whether it takes events. */
import { isMillraceError } from '../base/errors.ts'
import type { Broker } from '../broker/broker.ts'
import type { BrokerDescription } from '../broker/description.ts'
import { ACTIONS } from './access/permissions.ts'
import type { Principal } from './access/principal.ts'
import type { Content, Route } from './route.ts'
import { json, ref } from './schemas.ts'

export function operationRoutes(broker: Broker, isClosing: () => boolean): Route[] {
  const status = (word: object): Content => json({ type: 'object', required: ['status'], properties: { status: word } })
  return [
    {
      method: 'GET',
      path: '/api/describe',
      name: 'describe',
      summary: 'Channels, consumers, lag, rates, dead letters, alarms: of the channels that the caller may do something with.',
      tag: 'operation',
      access: 'known',
      answers: { 200: { description: 'The broker as it is.', content: json(ref('Description')) } },
      refuses: ['CLOSED'],
      handle: async ({ principal }) => Response.json(visible(await broker.describe(), principal)),
    },
    {
      method: 'GET',
      path: '/health',
      name: 'health',
      summary: 'Whether the gateway answers.',
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
      summary: 'Whether the broker takes events: it is open, its store is well, and the gateway is not closing.',
      tag: 'operation',
      access: 'open',
      unmetered: true,
      answers: {
        200: { description: 'It does.', content: status({ const: 'ready' }) },
        503: { description: 'It does not: alarms say why.', content: status({ const: 'not ready' }) },
      },
      handle: async () => {
        const { ready, alarms } = await readiness(broker, isClosing())
        return Response.json({ status: ready ? 'ready' : 'not ready', alarms }, { status: ready ? 200 : 503 })
      },
    },
  ]
}

/** What the caller may know of. */
function visible(description: BrokerDescription, { permits }: Principal): BrokerDescription {
  const seen = (channel: string): boolean => ACTIONS.some((action) => permits(action, channel))
  if (seen('>') && seen('$audit')) return description
  const channels = description.channels.filter(({ name }) => seen(name))
  const consumers = description.consumers.flatMap((consumer) => {
    const own = consumer.channels.filter(({ channel }) => seen(channel))
    return own.length === 0 ? [] : [{ ...consumer, channels: own }]
  })
  // Alarms speak of servers and files: they are for those who may do something with every channel.
  return { ...description, channels, consumers, alarms: seen('>') ? description.alarms : [] }
}

/** Ready is a broker that takes events: open, its store well. */
async function readiness(broker: Broker, closing: boolean): Promise<{ readonly ready: boolean; readonly alarms: readonly unknown[] }> {
  if (closing) return { ready: false, alarms: [{ code: 'CLOSED', message: 'the gateway is closing' }] }
  try {
    const { alarms } = await broker.describe()
    return { ready: !alarms.some(({ code }) => code === 'STORE_FAILED' || code === 'DISK_FULL' || code === 'TOO_MANY_FILES'), alarms }
  } catch (error) {
    if (!isMillraceError(error)) throw error
    return { ready: false, alarms: [{ code: error.code, message: error.message }] }
  }
}

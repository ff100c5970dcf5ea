/** The events of a consumer that wait for another attempt: which keys are retried, how often, and until when. */
import { LIMITS } from '../base/limits.ts'
import { checkName } from '../base/names.ts'
import type { Failure } from '../broker/failure.ts'
import type { RetryingEvent } from '../broker/inspection.ts'
import { maskFor, seenFailure } from '../broker/seen-events.ts'
import { storedAt } from '../broker/stored-range.ts'
import { MASK } from '../event/sensitive/masked-event.ts'
import { permitConsumer } from './dead-letter-routes.ts'
import type { GatewayHost } from './gateway-host.ts'
import { countOf } from './query.ts'
import type { GatewayRequest, JsonSchema, Route } from './route.ts'
import { CONSUMER, json } from './schemas.ts'

const text: JsonSchema = { type: 'string' }
const count: JsonSchema = { type: 'integer', minimum: 0 }
const RETRY: JsonSchema = {
  type: 'object',
  required: ['channel', 'offset', 'key', 'id', 'type', 'attempts', 'dueAtMs', 'failure'],
  properties: {
    channel: text,
    offset: count,
    key: { type: ['string', 'null'], description: 'Later events of the key wait behind it.' },
    id: { type: ['string', 'null'], description: 'Null, as the type: the event is not stored any more.' },
    type: { type: ['string', 'null'] },
    attempts: { ...count, description: 'The attempts that have failed.' },
    dueAtMs: { ...count, description: 'When the next attempt is due.' },
    failure: { type: 'object', description: 'Of the last attempt.' },
  },
}

/** A retry with the event that it is of. */
interface SeenRetry extends RetryingEvent {
  readonly key: string | null
  readonly id: string | null
  readonly type: string | null
}

export function retryRoute(host: GatewayHost): Route {
  return {
    method: 'GET',
    path: '/api/consumers/{consumer}/retries',
    name: 'listRetries',
    summary: 'List the events that wait for another attempt, the soonest first.',
    tag: 'operation',
    access: { action: 'read', of: 'handler' },
    parameters: { consumer: CONSUMER },
    query: {
      limit: {
        description: 'At most this many; 20 unless said otherwise.',
        schema: { type: 'integer', minimum: 1, maximum: LIMITS.listedRetriesMax },
      },
    },
    answers: {
      200: {
        description: 'total is how many there are in all.',
        content: json({
          type: 'object',
          required: ['retries', 'total'],
          properties: { retries: { type: 'array', items: RETRY }, total: count },
        }),
      },
    },
    refuses: ['UNKNOWN_CONSUMER', 'CLOSED'],
    handle: async (request) => {
      const consumer = checkName(request.parameters['consumer'], 'consumer')
      await permitConsumer(request, host, 'read', consumer)
      const { limit } = request.query
      const most = limit === undefined ? 20 : countOf('limit', limit, 1, LIMITS.listedRetriesMax)
      const { consumers } = host.core.engine
      const found = await consumers.retries(consumer, most)
      const retries: SeenRetry[] = []
      for (const retry of found) retries.push(await seenRetry(host, retry, request))
      return Response.json({ retries, total: (await consumers.describe(consumer))?.retrying ?? retries.length })
    },
  }
}

async function seenRetry(
  { core: { engine } }: GatewayHost,
  retry: RetryingEvent,
  { maySee }: GatewayRequest,
): Promise<SeenRetry> {
  const { channel, offset } = retry
  const mask = await maskFor(engine, channel, maySee)
  const event = await storedAt(engine, channel, offset)
  if (event === null) {
    const { name, kind }: Failure = retry.failure
    const failure = mask === null ? retry.failure : { name, kind, message: MASK }
    return { ...retry, failure, key: null, id: null, type: null }
  }
  const { key, id, type } = event
  if (mask === null) return { ...retry, key, id, type }
  const { redact } = mask.event(type, event.text)
  return { ...retry, failure: seenFailure(retry.failure, redact), key: redact(key), id, type }
}

/**
 * The dead letters of a consumer over HTTP: list, redrive, drop.
 *
 * `?channel=&offset=&id=&key=&limit=` chooses them. What changes something must choose, or say `all=true`.
 */
import type { Context } from 'hono'
import { checkName } from '../base/names.ts'
import type { Broker, DeadLetters } from '../broker/broker.ts'
import type { DeadLetter, DeadLetterQuery } from '../broker/description.ts'
import { badRequest } from './problem.ts'
import { countOf, parameters } from './query.ts'

const CHOICE = ['channel', 'offset', 'id', 'key', 'limit'] as const

export async function listDeadLetters(c: Context, broker: Broker): Promise<Response> {
  const { limit = 100, ...choice } = choiceOf(parameters(c.req.url, CHOICE))
  const found = await lettersOf(c, broker).list({ ...choice, limit })
  return c.body(`{"deadLetters":[${found.map(letterText).join(',')}]}`, 200, { 'content-type': 'application/json' })
}

export async function redriveDeadLetters(c: Context, broker: Broker): Promise<Response> {
  return c.json({ redriven: await lettersOf(c, broker).redrive(deliberate(c.req.url)) })
}

export async function dropDeadLetters(c: Context, broker: Broker): Promise<Response> {
  return c.json({ dropped: await lettersOf(c, broker).drop(deliberate(c.req.url)) })
}

function lettersOf(c: Context, broker: Broker): DeadLetters {
  return broker.deadLetters(checkName(c.req.param('consumer'), 'consumer'))
}

function choiceOf(parameter: Partial<Record<(typeof CHOICE)[number], string>>): DeadLetterQuery {
  return {
    ...(parameter.channel !== undefined && { channel: parameter.channel }),
    ...(parameter.offset !== undefined && { offset: countOf('offset', parameter.offset, 0, Number.MAX_SAFE_INTEGER) }),
    ...(parameter.id !== undefined && { id: parameter.id }),
    ...(parameter.key !== undefined && { key: parameter.key }),
    ...(parameter.limit !== undefined && { limit: countOf('limit', parameter.limit, 1, 10_000) }),
  }
}

function deliberate(url: string): DeadLetterQuery {
  const { all, ...parameter } = parameters(url, [...CHOICE, 'all'])
  const choice = choiceOf(parameter)
  if (Object.keys(choice).length === 0 && all !== 'true') throw badRequest(400, `say which dead letters (${CHOICE.join(', ')}), or all=true for every one`)
  return choice
}

/** The dead letter with its event as JSON, not as text within text. */
function letterText(letter: DeadLetter): string {
  const { text, ...rest } = letter
  return `${JSON.stringify(rest).slice(0, -1)},"event":${text}}`
}

/**
 * Dead letters grouped by failure, and careful redrives, over HTTP. A redrive is a job: it continues when the page that
 * started it is closed, and in another process if this one ends.
 */
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import type { DeadLetter } from '../../broker/description.ts'
import { hidesErrors, seenLetters } from '../../broker/seen-events.ts'
import { MASK } from '../../event/sensitive/masked-event.ts'
import { permitConsumer, permitKey } from '../dead-letter-routes.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { membersOf } from '../json-body.ts'
import { placeOf, placeText } from '../place-text.ts'
import { badRequest } from '../problem.ts'
import type { GatewayPart, GatewayRequest, JsonSchema, Parameter, Route } from '../route.ts'
import { CONSUMER, json } from '../schemas.ts'
import { countGroups } from './letter-groups.ts'
import { fingerprintsOf } from './letter-prints.ts'
import { RedriveRunner } from './redrive-runner.ts'
import { PHASES, type RedrivePlan, type RedriveProgress } from './redrive-state.ts'

const JOBS = '/api/consumers/{consumer}/redrives'
const JOB: Parameter = { description: 'The id of the redrive.', required: true, schema: { type: 'string' } }
const AFTER: Parameter = {
  description: 'The next of the answer before: count continues there.',
  schema: { type: 'string' },
}
const text: JsonSchema = { type: 'string' }
const count: JsonSchema = { type: 'integer', minimum: 0 }
const maybeText: JsonSchema = { type: ['string', 'null'] }
const PROGRESS: JsonSchema = {
  type: 'object',
  required: ['id', 'consumer', 'phase', 'total', 'redriven', 'done', 'back', 'open', 'left', 'endedMs'],
  properties: {
    id: text,
    consumer: text,
    action: { enum: ['redrive', 'drop'] },
    fingerprint: maybeText,
    channel: maybeText,
    key: maybeText,
    perSecond: count,
    canary: { type: 'boolean' },
    by: text,
    reason: maybeText,
    startedMs: count,
    endedMs: { type: ['integer', 'null'], description: 'Null: it runs, or waits for a gateway that runs it.' },
    phase: { enum: PHASES },
    total: { ...count, description: 'The letters that matched when it began. Until they are counted it grows.' },
    redriven: { ...count, description: 'Given back, or dropped.' },
    done: count,
    back: { ...count, description: 'Given back, and dead again.' },
    open: { ...count, description: 'Given back, and neither done nor dead again yet.' },
    left: { ...count, description: 'Still to be redriven.' },
    gone: { ...count, description: 'Of the counted ones: redriven or dropped by others meanwhile.' },
    returns: {
      type: 'array',
      description: `The first ${LIMITS.redriveReturnsMax} that are dead again.`,
      items: {
        type: 'object',
        required: ['channel', 'offset', 'fingerprint', 'name', 'message'],
        properties: { channel: text, offset: count, fingerprint: text, name: text, message: text },
      },
    },
    problem: maybeText,
    runs: { ...count, description: 'How many times a process took it. Above 1, it was interrupted and continued.' },
    atMs: { ...count, description: 'When it was heard of last. A running one is heard of every few seconds.' },
  },
}
const GROUP: JsonSchema = {
  type: 'object',
  required: [
    'fingerprint',
    'name',
    'code',
    'kind',
    'frame',
    'message',
    'count',
    'firstMs',
    'lastMs',
    'types',
    'sample',
  ],
  properties: {
    fingerprint: text,
    name: text,
    code: maybeText,
    kind: text,
    frame: { ...maybeText, description: 'The first frame of the application in the stack.' },
    message: { ...text, description: 'Of the first letter.' },
    count,
    firstMs: count,
    lastMs: count,
    types: { type: 'array', items: text, description: 'Event types; up to 10.' },
    sample: { type: 'object', required: ['channel', 'offset'], properties: { channel: text, offset: count } },
  },
}

export class LettersPart implements GatewayPart {
  readonly routes: readonly Route[]
  readonly #host: GatewayHost
  readonly #runner: RedriveRunner

  constructor(host: GatewayHost) {
    this.#host = host
    this.#runner = new RedriveRunner(host)
    this.routes = [this.#groupsRoute(), this.#startRoute(), this.#listRoute(), this.#stopRoute()]
  }

  start(): Promise<void> {
    return this.#runner.start()
  }

  close(): Promise<void> {
    return this.#runner.close()
  }

  #groupsRoute(): Route {
    return {
      method: 'GET',
      path: '/api/consumers/{consumer}/dead-letter-groups',
      name: 'groupDeadLetters',
      summary: 'Group dead letters by what failed: error, code, and first frame of the application in the stack.',
      tag: 'dead letters',
      access: { action: 'read', of: 'handler' },
      parameters: { consumer: CONSUMER },
      query: { after: AFTER },
      answers: {
        200: {
          description:
            'The groups of the letters that were counted in about a second. While next is not null there are more: ask again with it, and add the counts of groups with the same fingerprint.',
          content: json({
            type: 'object',
            required: ['groups', 'looked', 'deadLetters', 'next'],
            properties: {
              groups: { type: 'array', items: GROUP },
              looked: { ...count, description: 'The letters that were counted in this answer.' },
              deadLetters: { ...count, description: 'All dead letters of the consumer.' },
              next: maybeText,
            },
          }),
        },
      },
      refuses: ['UNKNOWN_CONSUMER', 'CLOSED'],
      handle: async (request) => {
        const consumer = await this.#permitted(request, 'read')
        const { after } = request.query
        const { engine } = this.#host.core
        const { consumers } = engine
        const seen = (letters: readonly DeadLetter[]): Promise<readonly DeadLetter[]> =>
          seenLetters(engine, letters, request.maySee)
        const counted = await countGroups(
          { consumers, seen, prints: (letters) => fingerprintsOf(engine, letters) },
          consumer,
          after === undefined ? null : placeOf('after', after),
        )
        const deadLetters = (await consumers.describe(consumer))?.deadLetters ?? 0
        return Response.json({ ...counted, deadLetters, next: placeText(counted.next) })
      },
    }
  }

  #startRoute(): Route {
    return {
      method: 'POST',
      path: JOBS,
      name: 'startRedrive',
      needsReason: 'body',
      summary:
        'Redrive dead letters carefully: one, then ten, then at a steady rate; stop by itself when the error occurs again. Or drop them.',
      tag: 'dead letters',
      access: { action: 'manage', of: 'handler' },
      parameters: { consumer: CONSUMER },
      body: {
        required: true,
        content: json({
          type: 'object',
          properties: {
            action: {
              enum: ['redrive', 'drop'],
              default: 'redrive',
              description: 'drop: delete them, without any step in between.',
            },
            fingerprint: { ...text, description: 'Only the letters of this group. Default: all.' },
            channel: text,
            key: text,
            perSecond: { type: 'integer', minimum: 1, maximum: 1000, default: 50 },
            canary: { type: 'boolean', default: true, description: 'false: begin with the full pace.' },
            reason: {
              ...text,
              minLength: 1,
              maxLength: LIMITS.reasonCharsMax,
              description: 'Kept in the audit trail.',
            },
          },
          required: ['reason'],
          additionalProperties: false,
        }),
      },
      answers: {
        202: {
          description: 'It is stored, and runs until its end, whatever happens to this process.',
          content: json(PROGRESS),
        },
      },
      refuses: ['UNKNOWN_CONSUMER', 'BACKPRESSURE', 'CLOSED'],
      handle: async (request) => {
        const consumer = await this.#permitted(request, 'manage')
        const { plan, said } = await planOf(request, consumer)
        if (plan.key !== null) await permitKey(request, this.#host, consumer, plan.channel ?? undefined)
        const reason = request.reason(said)
        // So an unknown consumer is refused at once.
        await this.#host.broker.consumer(consumer).describe()
        return Response.json(await this.#runner.order(plan, request.principal.name, reason), { status: 202 })
      },
    }
  }

  #listRoute(): Route {
    return {
      method: 'GET',
      path: JOBS,
      name: 'listRedrives',
      summary: 'List the redrives of a consumer, running and ended, the newest first. They are kept for 30 days.',
      tag: 'dead letters',
      access: { action: 'read', of: 'handler' },
      parameters: { consumer: CONSUMER },
      answers: {
        200: {
          description: 'Each with its progress.',
          content: json({
            type: 'object',
            required: ['redrives'],
            properties: { redrives: { type: 'array', items: PROGRESS } },
          }),
        },
      },
      refuses: ['CLOSED'],
      handle: async (request) => {
        const consumer = await this.#permitted(request, 'read')
        const jobs = (await this.#runner.list(consumer)).filter((job) =>
          channelsOf(job).every(request.permitted('read')),
        )
        const redrives = await Promise.all(jobs.map((job) => this.#seen(request, job)))
        return Response.json({ redrives })
      },
    }
  }

  #stopRoute(): Route {
    return {
      method: 'POST',
      path: `${JOBS}/{redrive}/stop`,
      name: 'stopRedrive',
      summary: 'Stop a redrive. What was redriven stays redriven.',
      tag: 'dead letters',
      access: { action: 'manage', of: 'handler' },
      parameters: { consumer: CONSUMER, redrive: JOB },
      answers: {
        200: {
          description: 'Its result. If another process runs it, it may end a little later: then endedMs is null.',
          content: json(PROGRESS),
        },
        404: { description: 'There is none of this id.', content: { 'application/problem+json': { type: 'object' } } },
      },
      refuses: ['CLOSED'],
      handle: async (request) => {
        const consumer = await this.#permitted(request, 'manage')
        const { name } = request.principal
        const stopped = await this.#runner.stop(consumer, request.parameters['redrive'] ?? '', name)
        if (stopped === null) throw badRequest(404, `consumer "${consumer}" has no such redrive`)
        return Response.json(await this.#seen(request, stopped))
      },
    }
  }

  /** A job as the caller sees it: errors may quote sensitive fields, and a key may be made from one. */
  async #seen({ maySee }: GatewayRequest, job: RedriveProgress): Promise<RedriveProgress> {
    const { engine } = this.#host.core
    const taken = ((await engine.consumers.describe(job.consumer))?.channels ?? []).map(({ channel }) => channel)
    if (!(await hidesErrors(engine, new Set([...taken, ...channelsOf(job)]), maySee))) return job
    const returns = job.returns.map((each) => ({ ...each, message: MASK }))
    const masked = (text: string | null): string | null => (text === null ? null : MASK)
    return { ...job, returns, problem: masked(job.problem), key: masked(job.key) }
  }

  async #permitted(request: GatewayRequest, action: 'read' | 'manage'): Promise<string> {
    const consumer = checkName(request.parameters['consumer'], 'consumer')
    await permitConsumer(request, this.#host, action, consumer)
    return consumer
  }
}

/** The channels that a job names. The consumer may have taken others when it ran. */
function channelsOf({ channel, returns }: RedriveProgress): readonly string[] {
  return [...(channel === null ? [] : [channel]), ...returns.map((each) => each.channel)]
}

async function planOf(
  request: GatewayRequest,
  consumer: string,
): Promise<{ readonly plan: RedrivePlan; readonly said: unknown }> {
  const body = membersOf(
    await request.json(),
    ['action', 'fingerprint', 'channel', 'key', 'perSecond', 'canary', 'reason'],
    'a redrive',
  )
  const { action = 'redrive', perSecond = 50, canary = true } = body
  const textOf = (name: 'fingerprint' | 'channel' | 'key'): string | null => {
    const value = body[name]
    if (value === undefined) return null
    if (typeof value === 'string' && value.length <= LIMITS.reasonCharsMax) return value
    throw badRequest(400, `${name} must be a text of up to ${LIMITS.reasonCharsMax} characters`, { member: name })
  }
  if (action !== 'redrive' && action !== 'drop')
    throw badRequest(400, 'action must be "redrive" or "drop"', { member: 'action' })
  if (typeof perSecond !== 'number' || !Number.isInteger(perSecond) || perSecond < 1 || perSecond > 1000)
    throw badRequest(400, 'perSecond must be a whole number from 1 to 1000', { member: 'perSecond' })
  if (typeof canary !== 'boolean') throw badRequest(400, 'canary must be true or false', { member: 'canary' })
  const [fingerprint, channel, key] = [textOf('fingerprint'), textOf('channel'), textOf('key')]
  const facts = Object.entries({ action, fingerprint, channel, key }).filter(
    (fact): fact is [string, string] => fact[1] !== null,
  )
  request.note(Object.fromEntries(facts))
  const plan: RedrivePlan = { consumer, action, fingerprint, channel, key, perSecond, canary }
  return { plan, said: body['reason'] }
}

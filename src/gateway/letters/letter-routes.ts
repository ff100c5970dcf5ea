/**
 * Dead letters grouped by failure, and careful redrives. A redrive runs as a job that continues if the page that
 * started it is closed.
 */
import { randomUUID } from 'node:crypto'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import type { DeadLetter } from '../../broker/description.ts'
import { permitConsumer } from '../dead-letter-routes.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { membersOf } from '../json-body.ts'
import { badRequest } from '../problem.ts'
import type { GatewayPart, GatewayRequest, JsonSchema, Parameter, Route } from '../route.ts'
import { CONSUMER, json } from '../schemas.ts'
import { type Fingerprint, fingerprintOf } from './fingerprint.ts'
import { RedriveJob, type RedrivePlan } from './redrive-job.ts'

const JOBS = '/api/consumers/{consumer}/redrives'
const JOB: Parameter = { description: 'The id of the redrive.', required: true, schema: { type: 'string' } }
const text: JsonSchema = { type: 'string' }
const PROGRESS: JsonSchema = {
  type: 'object',
  required: ['id', 'consumer', 'phase', 'redriven', 'back', 'left'],
  properties: {
    id: text,
    consumer: text,
    phase: { enum: ['one', 'ten', 'all', 'done', 'stopped', 'returned', 'failed'] },
    redriven: { type: 'integer' },
    back: { type: 'integer', description: 'Of the redriven ones, dead again.' },
    left: { type: 'integer' },
    problem: { type: ['string', 'null'] },
  },
}

interface Group extends Fingerprint {
  readonly message: string
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  readonly types: readonly string[]
  readonly sample: { readonly channel: string; readonly offset: number }
}

export class LettersPart implements GatewayPart {
  readonly routes: readonly Route[]
  readonly #host: GatewayHost
  readonly #jobs = new Map<string, RedriveJob>()

  constructor(host: GatewayHost) {
    this.#host = host
    this.routes = [this.#groupsRoute(), this.#startRoute(), this.#listRoute(), this.#stopRoute()]
  }

  async close(): Promise<void> {
    for (const job of this.#jobs.values()) job.stop()
    await Promise.all([...this.#jobs.values()].map(({ done }) => done))
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
      answers: {
        200: {
          description: `The groups of the oldest ${LIMITS.redriveLookMax} dead letters; looked says how many were grouped.`,
          content: json({
            type: 'object',
            required: ['groups', 'looked', 'all'],
            properties: {
              groups: { type: 'array', items: { type: 'object' } },
              looked: { type: 'integer' },
              all: { type: 'boolean' },
            },
          }),
        },
      },
      refuses: ['UNKNOWN_CONSUMER', 'CLOSED'],
      handle: async (request) => {
        const consumer = await this.#permitted(request, 'read')
        const letters = await this.#host.broker.deadLetters(consumer).list({ limit: LIMITS.redriveLookMax })
        return Response.json({
          groups: groupsOf(letters),
          looked: letters.length,
          all: letters.length < LIMITS.redriveLookMax,
        })
      },
    }
  }

  #startRoute(): Route {
    return {
      method: 'POST',
      path: JOBS,
      name: 'startRedrive',
      summary:
        'Redrive dead letters carefully: one, then ten, then at a steady rate. It stops by itself when the error occurs again.',
      tag: 'dead letters',
      access: { action: 'manage', of: 'handler' },
      parameters: { consumer: CONSUMER },
      body: {
        required: true,
        content: json({
          type: 'object',
          properties: {
            fingerprint: { ...text, description: 'Only the letters of this group. Default: all.' },
            channel: text,
            key: text,
            perSecond: { type: 'integer', minimum: 1, maximum: 1000, default: 50 },
            canary: { type: 'boolean', default: true, description: 'false: begin with the full pace.' },
            reason: { ...text, description: 'Kept in the audit trail.' },
          },
          additionalProperties: false,
        }),
      },
      answers: { 202: { description: 'It runs.', content: json(PROGRESS) } },
      refuses: ['UNKNOWN_CONSUMER', 'BACKPRESSURE', 'CLOSED'],
      handle: async (request) => {
        const consumer = await this.#permitted(request, 'manage')
        const plan = await planOf(request, consumer)
        // So an unknown consumer is refused at once.
        await this.#host.broker.deadLetters(consumer).list({ limit: 1 })
        return Response.json(this.#start(plan).progress, { status: 202 })
      },
    }
  }

  #listRoute(): Route {
    return {
      method: 'GET',
      path: JOBS,
      name: 'listRedrives',
      summary:
        'List the redrives of a consumer, running and ended, the newest first. They are kept until the gateway closes.',
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
      handle: async (request) => {
        const consumer = await this.#permitted(request, 'read')
        const redrives = [...this.#jobs.values()]
          .map(({ progress }) => progress)
          .filter((one) => one.consumer === consumer)
        return Response.json({ redrives: redrives.reverse() })
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
        200: { description: 'Its result.', content: json(PROGRESS) },
        404: { description: 'There is none of this id.', content: { 'application/problem+json': { type: 'object' } } },
      },
      handle: async (request) => {
        const consumer = await this.#permitted(request, 'manage')
        const job = this.#jobs.get(request.parameters['redrive'] ?? '')
        if (job === undefined || job.progress.consumer !== consumer)
          throw badRequest(404, `consumer "${consumer}" has no such redrive`)
        job.stop()
        await job.done
        return Response.json(job.progress)
      },
    }
  }

  #start(plan: RedrivePlan): RedriveJob {
    const running = [...this.#jobs.values()].filter((job) => job.running)
    if (running.some(({ progress }) => progress.consumer === plan.consumer))
      throw badRequest(409, `a redrive of consumer "${plan.consumer}" runs already: wait for its end, or stop it`)
    if (running.length >= LIMITS.redriveJobsMax)
      throw new MillraceError('BACKPRESSURE', `${running.length} redrives run, which is the limit: try again later`, {
        jobsMax: LIMITS.redriveJobsMax,
      })
    const job = new RedriveJob(this.#host, randomUUID(), plan)
    this.#jobs.set(job.progress.id, job)
    for (const [id, each] of this.#jobs)
      if (this.#jobs.size > LIMITS.redriveKeptMax && !each.running) this.#jobs.delete(id)
    return job
  }

  async #permitted(request: GatewayRequest, action: 'read' | 'manage'): Promise<string> {
    const consumer = checkName(request.parameters['consumer'], 'consumer')
    await permitConsumer(request, this.#host, action, consumer)
    return consumer
  }
}

async function planOf(request: GatewayRequest, consumer: string): Promise<RedrivePlan> {
  const body = membersOf(
    await request.json(),
    ['fingerprint', 'channel', 'key', 'perSecond', 'canary', 'reason'],
    'a redrive',
  )
  const { perSecond = 50, canary = true } = body
  const textOf = (name: 'fingerprint' | 'channel' | 'key' | 'reason'): string | null => {
    const value = body[name]
    if (value === undefined) return null
    if (typeof value === 'string' && value.length <= LIMITS.reasonCharsMax) return value
    throw badRequest(400, `${name} must be a text of up to ${LIMITS.reasonCharsMax} characters`, { member: name })
  }
  if (typeof perSecond !== 'number' || !Number.isInteger(perSecond) || perSecond < 1 || perSecond > 1000)
    throw badRequest(400, 'perSecond must be a whole number from 1 to 1000', { member: 'perSecond' })
  if (typeof canary !== 'boolean') throw badRequest(400, 'canary must be true or false', { member: 'canary' })
  const [fingerprint, channel, key, reason] = [
    textOf('fingerprint'),
    textOf('channel'),
    textOf('key'),
    textOf('reason'),
  ]
  const facts = Object.entries({ fingerprint, channel, key, reason }).filter(
    (fact): fact is [string, string] => fact[1] !== null,
  )
  request.note(Object.fromEntries(facts))
  return { consumer, fingerprint, channel, key, perSecond, canary }
}

function groupsOf(letters: readonly DeadLetter[]): Group[] {
  const groups = new Map<string, Group>()
  for (const { failure, deadAtMs, type, channel, offset } of letters) {
    const print = fingerprintOf(failure)
    const known = groups.get(print.fingerprint)
    groups.set(print.fingerprint, {
      ...print,
      message: failure.message.slice(0, 500),
      count: (known?.count ?? 0) + 1,
      firstMs: Math.min(known?.firstMs ?? deadAtMs, deadAtMs),
      lastMs: Math.max(known?.lastMs ?? deadAtMs, deadAtMs),
      types: [...new Set([...(known?.types ?? []), type])].slice(0, 10),
      sample: known?.sample ?? { channel, offset },
    })
  }
  return [...groups.values()].sort((one, other) => other.count - one.count)
}

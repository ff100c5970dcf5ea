/**
 * The settings of a pulled consumer, from the JSON that a client sends. They are checked completely before anything is
 * opened.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName, compileWildcard, isWildcard } from '../../base/names.ts'
import { durationMs, wholeNumber } from '../../base/units.ts'
import type { OnDead } from '../../broker/engine.ts'
import type { AttemptPolicy } from '../../broker/failed-attempt.ts'
import type { From } from '../../broker/position.ts'
import type { Want } from '../../broker/want.ts'
import { retryPolicy } from '../../consumer/retry-policy.ts'
import { compilePattern } from '../../pattern/pattern.ts'
import type { PatternJson } from '../../pattern/pattern-type.ts'
import { badRequest } from '../problem.ts'
import { positionOf } from '../query.ts'
import type { JsonSchema } from '../route.ts'

export const PULL_MEMBERS = [
  'channels',
  'from',
  'types',
  'where',
  'lease',
  'leases',
  'attempts',
  'backoff',
  'onDead',
] as const
export type PullJson = Partial<Record<(typeof PULL_MEMBERS)[number], unknown>>

export interface PullSpec {
  /** Channel names and wildcards. */
  readonly channels: readonly string[]
  readonly wants: readonly Want[]
  readonly from: From
  readonly leaseMs: number
  /** How many events may be leased at the same time. */
  readonly leases: number
  readonly retry: AttemptPolicy
  readonly onDead: OnDead | null
  /** The settings as canonical JSON text: equal settings have equal texts. */
  readonly form: string
}

const duration = { type: ['string', 'integer'], description: 'Milliseconds, or text such as 30s.' }

export const PULL_SCHEMA: JsonSchema = {
  type: 'object',
  properties: {
    channels: { type: 'array', items: { type: 'string' }, minItems: 1, description: 'Names and wildcards (orders.*).' },
    from: {
      type: ['string', 'integer'],
      description: 'Where it begins in a channel that is new to it.',
      default: 'beginning',
    },
    types: { type: 'array', items: { type: 'string' }, minItems: 1, description: 'Only events of these types.' },
    where: { type: 'object', description: 'Only events that match this pattern, over the whole CloudEvent.' },
    lease: { ...duration, description: 'How long a client has an event before it goes to another.', default: '30s' },
    leases: {
      type: 'integer',
      minimum: 1,
      maximum: LIMITS.gatewayPullLeasesMax,
      default: LIMITS.gatewayPullLeasesDefault,
      description: 'Events leased at once.',
    },
    attempts: { type: 'integer', minimum: 1, maximum: LIMITS.attemptsMax, default: LIMITS.attemptsDefault },
    backoff: {
      type: 'object',
      description: 'Waits between attempts, with full jitter.',
      properties: { min: duration, max: duration },
      additionalProperties: false,
    },
    onDead: { enum: ['park', 'skip', 'block'], description: 'What happens to later events behind a dead letter.' },
  },
}

/**
 * The settings of a pulled consumer, after all checks.
 * @throws INVALID_REQUEST · INVALID_OPTION · INVALID_NAME · INVALID_PATTERN
 */
export function pullSpecOf(json: PullJson): PullSpec {
  const leaseMs = durationMs(json.lease ?? LIMITS.leaseMsDefault, 'lease')
  if (leaseMs < LIMITS.leaseMsMin || leaseMs > LIMITS.gatewayPullLeaseMsMax) {
    throw new MillraceError(
      'INVALID_OPTION',
      `lease must be from ${LIMITS.leaseMsMin} ms to 12h; it is ${leaseMs} ms`,
      { option: 'lease' },
    )
  }
  return {
    channels: channelsOf(json.channels),
    wants: wantsOf(json),
    from: fromOf(json.from ?? 'beginning'),
    leaseMs,
    leases: wholeNumber(json.leases ?? LIMITS.gatewayPullLeasesDefault, 'leases', 1, LIMITS.gatewayPullLeasesMax),
    retry: retryOf(json),
    onDead: onDeadOf(json.onDead),
    form: JSON.stringify(PULL_MEMBERS.map((name) => json[name] ?? null)),
  }
}

export function channelsOf(value: unknown): readonly string[] {
  const channels = typeof value === 'string' ? [value] : value
  if (!Array.isArray(channels) || channels.length === 0 || channels.length > LIMITS.gatewayStreamChannelsMax) {
    throw badRequest(
      400,
      `channels must be an array of 1 to ${LIMITS.gatewayStreamChannelsMax} channel names and wildcards, such as ["orders.*"]`,
    )
  }
  return channels.map((channel: unknown) => {
    if (typeof channel !== 'string' || !isWildcard(channel)) return checkName(channel, 'channel')
    compileWildcard(channel)
    return channel
  })
}

export function wantsOf({ types, where }: Pick<PullJson, 'types' | 'where'>): readonly Want[] {
  if (where !== undefined && (typeof where !== 'object' || where === null))
    throw badRequest(400, 'where must be an event pattern: a JSON object')
  const pattern = where === undefined ? null : (where as PatternJson)
  if (pattern !== null) compilePattern(pattern)
  if (types === undefined) return [{ type: null, pattern }]
  if (!Array.isArray(types) || types.length === 0 || types.length > 1000)
    throw badRequest(400, 'types must be an array of 1 to 1000 event types')
  return types.map((type: unknown) => {
    if (typeof type !== 'string' || type === '')
      throw badRequest(400, 'types must be an array of event types, which are text')
    return { type, pattern }
  })
}

export function fromOf(value: unknown): From {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return { offset: value }
  if (typeof value === 'string') return positionOf('from', value)
  throw badRequest(400, 'from must be "beginning", "end", an offset, an RFC 3339 time or an age such as 1h')
}

function retryOf({ attempts, backoff = {} }: PullJson): AttemptPolicy {
  if (typeof backoff !== 'object' || backoff === null)
    throw badRequest(400, 'backoff must be an object: {"min": "1s", "max": "10m"}')
  const { backoff: _, ...waits } = backoff as Readonly<Record<string, unknown>>
  return retryPolicy({ ...waits, ...(attempts !== undefined && { attempts: attempts as number }) })
}

export function onDeadOf(value: unknown): OnDead | null {
  if (value === undefined) return null
  if (value === 'park' || value === 'skip' || value === 'block') return value
  throw badRequest(400, 'onDead must be park, skip or block')
}

/** The limits of a consumer (clause 21): its options, checked, and as the engine gets them. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import type { ConsumerSpec, FlowLimit } from '../broker/engine.ts'
import type { EventDecoder } from '../broker/event-decoder.ts'
import { burstOf } from '../broker/limits.ts'
import type { ConcurrencyLimit, RateLimit } from './limit-types.ts'
import { type KeyFunction, ownKey } from './own-key.ts'

/** A limit, checked. Its key function is the application's. */
export type LimitPlan = Omit<FlowLimit, 'keyOf'> & { readonly key: KeyFunction | null }

interface LimitOptions {
  readonly limit?: ConcurrencyLimit<never> | readonly ConcurrencyLimit<never>[]
  readonly rate?: RateLimit<never> | readonly RateLimit<never>[]
}

/** Limits of each kind that a consumer may have. */
const LIMITS_MAX = 3

/** The limits in a consumer's options. @throws INVALID_OPTION · INVALID_NAME */
export function limitPlans(consumer: string, { limit, rate }: LimitOptions): readonly LimitPlan[] {
  const concurrency = listOf(consumer, 'limit', limit).map((each, index): LimitPlan => {
    const of = `limit of consumer "${consumer}"`
    knownOptions(each, ['concurrency', 'key', 'share'], of)
    const max = wholeNumber(each.concurrency, 'limit.concurrency', 1, LIMITS.limitMax)
    return { kind: 'concurrency', max, perMs: 0, burst: 0, ...namedAs(consumer, 'limit', index, each) }
  })
  const rates = listOf(consumer, 'rate', rate).map((each, index): LimitPlan => {
    knownOptions(each, ['events', 'per', 'burst', 'key', 'share'], `rate of consumer "${consumer}"`)
    const max = wholeNumber(each.events, 'rate.events', 1, LIMITS.limitMax)
    const perMs = durationMs(each.per, 'rate.per')
    if (perMs < 1) throw new MillraceError('INVALID_OPTION', 'rate.per must be at least 1 ms', { option: 'rate.per' })
    const burst = each.burst === undefined ? burstOf(max, perMs) : wholeNumber(each.burst, 'rate.burst', 1, max)
    return { kind: 'rate', max, perMs, burst, ...namedAs(consumer, 'rate', index, each) }
  })
  const plans = [...concurrency, ...rates]
  const twice = plans.find(({ name }, at) => plans.findIndex((other) => other.name === name) !== at)
  if (twice !== undefined)
    throw new MillraceError('INVALID_OPTION', `consumer "${consumer}" has limit "${twice.name}" twice`, {
      option: 'share',
    })
  return plans
}

function listOf<T>(consumer: string, option: string, given: T | readonly T[] | undefined): readonly T[] {
  if (given === undefined) return []
  const list = (Array.isArray(given) ? given : [given]) as readonly T[]
  if (list.length < 1 || list.length > LIMITS_MAX)
    throw new MillraceError(
      'INVALID_OPTION',
      `${option} of consumer "${consumer}" is one limit, or a list of 1 to ${LIMITS_MAX}; it has ${list.length}`,
      { option },
    )
  return list
}

/** A limit of its own has a name that no other one can have. */
function namedAs(
  consumer: string,
  option: string,
  index: number,
  { key, share }: { readonly key?: unknown; readonly share?: string },
): Pick<LimitPlan, 'name' | 'key'> {
  if (key !== undefined && typeof key !== 'function')
    throw new MillraceError(
      'INVALID_OPTION',
      `${option}.key of consumer "${consumer}" is a function that returns the key of an event; it is ${shown(key)}`,
      { option: `${option}.key` },
    )
  const name =
    share === undefined ? `${consumer}~${option}${index === 0 ? '' : index + 1}` : checkName(share, 'consumer')
  return { name, key: (key as KeyFunction | undefined) ?? null }
}

/** The parts of a consumer's spec that come from its functions: its own key, and its limits. */
export function flowOf(
  {
    name,
    key,
    limits,
  }: { readonly name: string; readonly key: KeyFunction | null; readonly limits: readonly LimitPlan[] },
  decoder: EventDecoder,
): Pick<ConsumerSpec, 'keyOf' | 'limits'> {
  const made = limits.map(
    ({ key: of, ...limit }): FlowLimit => ({
      ...limit,
      ...(of !== null && { keyOf: ownKey(name, of, decoder) }),
    }),
  )
  return {
    ...(key !== null && { keyOf: ownKey(name, key, decoder) }),
    ...(made.length > 0 && { limits: made }),
  }
}

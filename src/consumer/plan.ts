/** A consumer as data: its channels, its handlers, and its options after they are checked. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName, compileWildcard, isWildcard } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import type { OnDead } from '../broker/engine.ts'
import type { AttemptPolicy } from '../broker/failed-attempt.ts'
import { type Position, position } from '../broker/position.ts'
import { type Channel, checkChannel } from '../channel/channel.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import type {
  BatchHandler,
  BreakerOptions,
  ConsumerHooks,
  ConsumerOptions,
  Handler,
  Middleware,
} from './consumer-types.ts'
import { type LimitPlan, limitPlans } from './limit-options.ts'
import type { KeyFunction } from './own-key.ts'
import { retryPolicy } from './retry-policy.ts'
import { type StatePlan, statePlan } from './state/state-plan.ts'

/** A handler, and the events that it handles. */
export interface Route {
  /** `null`: any event. */
  readonly definition: AnyEventDefinition | null
  readonly pattern: { readonly json: PatternJson } | null
  readonly handler: Handler<never>
  readonly batch: null
}

export interface BatchRoute extends Omit<Route, 'handler' | 'batch'> {
  readonly handler: BatchHandler<never>
  readonly batch: { readonly size: number; readonly waitMs: number; readonly byKey: boolean }
}

/** The options of a breaker, checked. */
export interface BreakerPlan {
  readonly failures: number
  readonly rate: { readonly share: number; readonly of: number } | null
  readonly waitMs: number
  readonly maxMs: number
}

/** A consumer as data, after all checks. */
export interface ConsumerPlan {
  readonly name: string
  /** Channel definitions, names, and wildcards. */
  readonly channels: readonly (Channel | string)[]
  readonly routes: readonly (Route | BatchRoute)[]
  readonly concurrency: number
  readonly retry: AttemptPolicy
  readonly onDead: OnDead | null
  /** The consumer's own key; null where the channels' keys decide. */
  readonly key: KeyFunction | null
  readonly limits: readonly LimitPlan[]
  readonly from: (nowMs: number) => Position
  readonly timeoutMs: number | null
  readonly leaseMs: number
  readonly drainMs: number
  readonly stallMs: number
  /** Null: no circuit breaker. */
  readonly breaker: BreakerPlan | null
  readonly hooks: ConsumerHooks
  /** The state that it keeps for each key; null for none. */
  readonly state: StatePlan | null
  /** The outermost first. */
  readonly middleware: readonly Middleware[]
  /** Handlers get the delivery with the event as text. Nothing is parsed. */
  readonly undecoded?: true
}

/** A consumer's options, checked. @throws INVALID_OPTION */
export function planOf(
  name: string,
  channels: readonly (Channel | string)[],
  options: ConsumerOptions<never>,
  routes: readonly (Route | BatchRoute)[],
  middleware: readonly Middleware[] = [],
): ConsumerPlan {
  knownOptions(
    options,
    [
      'concurrency',
      'key',
      'limit',
      'rate',
      'retry',
      'onDead',
      'from',
      'timeout',
      'lease',
      'drain',
      'stall',
      'breaker',
      'on',
      'state',
    ],
    `consumer "${name}"`,
  )
  const { onDead = null, from = 'beginning', timeout } = options
  if (onDead !== null && !['park', 'skip', 'block'].includes(onDead)) {
    throw new MillraceError(
      'INVALID_OPTION',
      `onDead of consumer "${name}" is 'park', 'skip' or 'block'; it is ${shown(onDead)}`,
      { option: 'onDead' },
    )
  }
  const leaseMs = durationMs(options.lease ?? LIMITS.leaseMsDefault, 'lease')
  if (leaseMs < LIMITS.leaseMsMin)
    throw new MillraceError('INVALID_OPTION', `lease must be at least ${LIMITS.leaseMsMin} ms; it is ${leaseMs}`, {
      option: 'lease',
    })
  position(from, 0)
  return {
    name,
    channels,
    routes,
    concurrency: wholeNumber(options.concurrency ?? LIMITS.concurrencyDefault, 'concurrency', 1, LIMITS.concurrencyMax),
    retry: retryPolicy(options.retry),
    onDead,
    key: keyOf(name, options.key),
    limits: limitPlans(name, options),
    from: (nowMs) => position(from, nowMs),
    timeoutMs: timeout === undefined ? null : durationMs(timeout, 'timeout'),
    leaseMs,
    drainMs: durationMs(options.drain ?? LIMITS.drainMsDefault, 'drain'),
    stallMs: durationMs(options.stall ?? LIMITS.stallMsDefault, 'stall'),
    breaker: breakerOf(name, options.breaker),
    hooks: hooksOf(name, options.on),
    state: options.state === undefined ? null : statePlan(name, options.state),
    middleware,
  }
}

function keyOf(name: string, key: unknown): KeyFunction | null {
  if (key === undefined) return null
  if (typeof key === 'function') return key as KeyFunction
  throw new MillraceError(
    'INVALID_OPTION',
    `key of consumer "${name}" is a function that returns the key of an event; it is ${shown(key)}`,
    { option: 'key' },
  )
}

function breakerOf(name: string, breaker: BreakerOptions | undefined): BreakerPlan | null {
  if (breaker === undefined) return null
  knownOptions(breaker, ['failures', 'rate', 'wait', 'max'], `breaker of consumer "${name}"`)
  const waitMs = durationMs(breaker.wait ?? LIMITS.breakerWaitMsDefault, 'breaker.wait')
  const maxMs = durationMs(breaker.max ?? Math.max(waitMs, LIMITS.breakerMaxMsDefault), 'breaker.max')
  const refuse = (option: string, message: string): never => {
    throw new MillraceError('INVALID_OPTION', `${option} of consumer "${name}" ${message}`, { option })
  }
  if (waitMs < 1) refuse('breaker.wait', `must be at least 1 ms; it is ${waitMs} ms`)
  if (maxMs < waitMs) refuse('breaker.max', `must be at least breaker.wait, ${waitMs} ms; it is ${maxMs} ms`)
  const { failures, rate } = breaker
  if (rate !== undefined) {
    knownOptions(rate, ['share', 'of'], `breaker.rate of consumer "${name}"`)
    if (typeof rate.share !== 'number' || !(rate.share > 0 && rate.share <= 1))
      refuse('breaker.rate.share', `must be more than 0 and up to 1; it is ${shown(rate.share)}`)
  }
  const most = LIMITS.breakerAttemptsMax
  return {
    failures:
      failures === undefined && rate !== undefined
        ? Number.POSITIVE_INFINITY
        : wholeNumber(failures ?? LIMITS.breakerFailuresDefault, 'breaker.failures', 1, most),
    rate: rate === undefined ? null : { share: rate.share, of: wholeNumber(rate.of, 'breaker.rate.of', 1, most) },
    waitMs,
    maxMs,
  }
}

function hooksOf(name: string, on: ConsumerHooks = {}): ConsumerHooks {
  knownOptions(on, ['failed', 'retried', 'dead', 'stalled'], `"on" of consumer "${name}"`)
  for (const [hook, told] of Object.entries(on)) {
    if (told === undefined || typeof told === 'function') continue
    throw new MillraceError(
      'INVALID_OPTION',
      `on.${hook} of consumer "${name}" is not a function: it is ${shown(told)}`,
      { option: `on.${hook}` },
    )
  }
  return on
}

export function checkChannels(name: string, channels: readonly (Channel | string)[]): void {
  if (channels.length === 0)
    throw new MillraceError('INVALID_OPTION', `consumer "${name}" has no channel`, { consumer: name })
  for (const channel of channels) {
    if (typeof channel !== 'string') {
      checkChannel(channel)
    } else if (isWildcard(channel)) compileWildcard(channel)
    else checkName(channel, 'channel')
  }
}

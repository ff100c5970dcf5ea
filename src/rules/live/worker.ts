/**
 * The consumer of one action's queue. What it performs is the action as the rule has it now, so a rule that is corrected cures what waits
 * and what is redriven. A firing of a rule that was removed since is dropped.
 */
import type { Clock } from '../../base/clock.ts'
import { isMillraceError } from '../../base/errors.ts'
import type { BrokerHost, Startable } from '../../broker/broker.ts'
import { consumer } from '../../consumer/consumer.ts'
import type { ConsumerOptions, HandlerContext, Running } from '../../consumer/consumer-types.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import type { Action } from '../action/action.ts'
import { type CallHost, performCall } from '../action/call-action.ts'
import { Busy, Gone, type HttpHost, performHttp, webhookRetry } from '../action/http-action.ts'
import { performPublish, scopeOf } from '../action/publish-action.ts'
import { type Rate, RateLimit } from '../action/rate.ts'
import { TemplateFailure } from '../template/template-value.ts'
import { type Firing, firingQueue, readFiring, workerName } from './firing.ts'
import { isOwnFailure } from './router.ts'
import type { RuleEntry } from './rule-table.ts'

export interface WorkerHost {
  readonly http: HttpHost
  readonly call: CallHost
  readonly clock: Clock
  entry(name: string): RuleEntry | undefined
  /** A receiver said that it is gone: the rule is switched off. */
  gone(name: string, reason: string): void
}

/** What of an action decides how its consumer runs; when it changes, the consumer is started anew. */
export function workerOptions(action: Action, random: () => number): ConsumerOptions {
  if (action.kind !== 'http' && action.kind !== 'call') return {}
  const { concurrency, retry, timeoutMs } = action
  return {
    concurrency,
    ...(retry !== null ? { retry } : action.kind === 'http' && { retry: webhookRetry(random) }),
    ...(action.kind === 'call' && timeoutMs !== null && { timeout: timeoutMs }),
  }
}

export class Worker implements Startable<Running> {
  readonly rule: string
  readonly action: string
  /** Tells whether a change asks for another consumer. */
  readonly form: string
  readonly #options: ConsumerOptions
  readonly #host: WorkerHost
  #limit: RateLimit | null = null

  constructor(rule: string, action: Action, host: WorkerHost) {
    this.rule = rule
    this.action = action.id
    this.#options = workerOptions(action, host.http.random)
    this.form = formOf(action)
    this.#host = host
  }

  start(host: BrokerHost): Promise<Running> {
    return consumer(workerName(this.rule, this.action), firingQueue(this.rule, this.action), this.#options)
      .onAny((fired, ctx) => this.#handle(fired, ctx))
      .start(host)
  }

  async #handle(fired: StoredEvent, ctx: HandlerContext): Promise<void> {
    const firing = readFiring(fired)
    const entry = this.#host.entry(this.rule)
    const rule = entry?.versions.at(-1)?.rule
    if (entry === undefined || rule === null || rule === undefined || firing.version < entry.since) return
    const action = rule.actions.find(({ id }) => id === this.action)
    if (action === undefined) return ctx.reject(`rule "${this.rule}" has no action "${this.action}" any more`)
    if ('rate' in action && action.rate !== null) await this.#turn(action.rate, ctx.signal)
    try {
      await this.#perform(action, firing, ctx)
    } catch (error) {
      this.#judge(error, ctx)
    }
  }

  #turn(rate: Rate, signal: AbortSignal): Promise<void> {
    if (this.#limit === null || this.#limit.rate.count !== rate.count || this.#limit.rate.perMs !== rate.perMs)
      this.#limit = new RateLimit(rate, this.#host.clock)
    return this.#limit.turn(signal)
  }

  async #perform(action: Action, firing: Firing, ctx: HandlerContext): Promise<void> {
    const scope = scopeOf(firing.event, firing, this.rule)
    if (action.kind === 'http') await performHttp(this.rule, action, firing, scope, ctx.signal, this.#host.http)
    else if (action.kind === 'call') await performCall(this.rule, action, firing, scope, ctx, this.#host.call)
    else if (action.kind !== 'drop') await performPublish(action, firing.event, scope, ctx)
  }

  /** What another attempt cannot help goes to the dead letters now. */
  #judge(error: unknown, ctx: HandlerContext): never {
    if (error instanceof Busy) return ctx.retryAfter(error.delayMs, error)
    if (error instanceof Gone) {
      this.#host.gone(this.rule, error.message)
      return ctx.reject(error)
    }
    const hopeless = error instanceof TemplateFailure || (isOwnFailure(error) && !isMillraceError(error, 'UNKNOWN_CHANNEL'))
    if (hopeless) return ctx.reject(error as Error)
    throw error
  }
}

export function formOf(action: Action): string {
  if (action.kind !== 'http' && action.kind !== 'call') return action.kind
  const { kind, concurrency, retry, timeoutMs } = action
  return JSON.stringify([kind, concurrency, retry, kind === 'call' ? [timeoutMs, action.function] : null])
}

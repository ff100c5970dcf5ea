/**
 * The worker of one action: the consumer of its queue. It performs the action of the current rule, so a corrected rule
 * also applies to events that wait and to redriven ones. A firing is dropped if its rule was removed since.
 */
import type { Clock } from '../../base/clock.ts'
import { isMillraceError } from '../../base/errors.ts'
import type { BrokerHost, Startable } from '../../broker/broker.ts'
import type { Delivery } from '../../broker/engine.ts'
import type { ConsumerOptions, HandlerContext, Running } from '../../consumer/consumer-types.ts'
import { textConsumer } from '../../consumer/text-consumer.ts'
import { Pace } from '../../outbound/pace.ts'
import { isPermanentFailure } from '../../outbound/permanent-failure.ts'
import { ReceiverBusy, ReceiverGone, webhookRetry } from '../../outbound/signed-message.ts'
import type { Action } from '../action/action.ts'
import { type CallHost, performCall } from '../action/call-action.ts'
import { type HttpHost, performHttp } from '../action/http-action.ts'
import { performPublish, scopeOf } from '../action/publish-action.ts'
import { type Firing, queueName, readFiring, workerName } from '../firing.ts'
import { TemplateFailure } from '../template/template-value.ts'
import type { RuleEntry } from './rule-table.ts'

export interface ActionWorkerHost {
  readonly http: HttpHost
  readonly call: CallHost
  readonly clock: Clock
  entry(name: string): RuleEntry | undefined
  /** The receiver answered 410 Gone: the rule is disabled. */
  gone(name: string, reason: string): void
}

/** The consumer options of an action. If they change, another consumer replaces this one. */
export function workerOptions(action: Action, random: () => number): ConsumerOptions {
  if (action.kind !== 'http' && action.kind !== 'call') return {}
  const { concurrency, retry, timeoutMs } = action
  return {
    concurrency,
    ...(retry !== null ? { retry } : action.kind === 'http' && { retry: webhookRetry(random) }),
    ...(action.kind === 'call' && timeoutMs !== null && { timeout: timeoutMs }),
  }
}

export class ActionWorker implements Startable<Running> {
  readonly rule: string
  readonly action: string
  /** The part of the action that its consumer depends on, as text. If it changes, another worker replaces this one. */
  readonly form: string
  readonly #options: ConsumerOptions
  readonly #host: ActionWorkerHost
  readonly #pace: Pace
  #running: Running | null = null
  /** Why the consumer is paused: the rule is disabled, or the pace asks for it. */
  readonly #pausedBy = new Set<'disabled' | 'pace'>()
  #paused = false

  constructor(rule: string, action: Action, host: ActionWorkerHost) {
    this.rule = rule
    this.action = action.id
    this.#options = workerOptions(action, host.http.random)
    this.form = formOf(action)
    this.#host = host
    this.#pace = new Pace(host.clock, (paused) => {
      if (paused) this.#pausedBy.add('pace')
      else this.#pausedBy.delete('pace')
      this.#applyPause()
    })
  }

  async start(host: BrokerHost): Promise<Running> {
    const queue = queueName(this.rule, this.action)
    this.#running = await textConsumer(workerName(this.rule, this.action), [queue], this.#options, (fired, ctx) =>
      this.#handle(fired, ctx),
    ).start(host)
    return this.#running
  }

  async stop(): Promise<void> {
    this.#pace.stop()
    await this.#running?.stop()
  }

  /** Applies a change of the rule. */
  update(action: Action | undefined, enabled: boolean): void {
    this.#pace.setRate(action !== undefined && 'rate' in action ? action.rate : null)
    if (enabled) this.#pausedBy.delete('disabled')
    else this.#pausedBy.add('disabled')
    this.#applyPause()
  }

  #applyPause(): void {
    const paused = this.#pausedBy.size > 0
    if (paused === this.#paused) return
    this.#paused = paused
    if (paused) this.#running?.pause()
    else this.#running?.resume()
  }

  async #handle(fired: Delivery, ctx: HandlerContext): Promise<void> {
    const firing = readFiring(fired)
    const entry = this.#host.entry(this.rule)
    const rule = entry?.versions.at(-1)?.rule
    if (entry === undefined || rule === null || rule === undefined || firing.version < entry.since) return
    const action = rule.actions.find(({ id }) => id === this.action)
    if (action === undefined) return ctx.reject(`rule "${this.rule}" has no action "${this.action}" any more`)
    if ('rate' in action) await this.#pace.turn(action.rate, ctx.signal)
    try {
      await this.#perform(action, firing, ctx)
    } catch (error) {
      this.#fail(error, ctx)
    }
  }

  async #perform(action: Action, firing: Firing, ctx: HandlerContext): Promise<void> {
    const scope = scopeOf(firing, this.rule)
    if (action.kind === 'http') await performHttp(this.rule, action, firing, scope, ctx.signal, this.#host.http)
    else if (action.kind === 'call') await performCall(this.rule, action, firing, scope, ctx, this.#host.call)
    else if (action.kind !== 'drop') await performPublish(action, firing, this.rule, ctx)
  }

  /** Decides about a failed attempt: retry later, or dead letter at once if another attempt cannot succeed. */
  #fail(error: unknown, ctx: HandlerContext): never {
    if (error instanceof ReceiverBusy) return ctx.retryAfter(error.delayMs, error)
    if (error instanceof ReceiverGone) {
      this.#host.gone(this.rule, error.message)
      return ctx.reject(error)
    }
    const permanent =
      error instanceof TemplateFailure || (isPermanentFailure(error) && !isMillraceError(error, 'UNKNOWN_CHANNEL'))
    if (permanent) return ctx.reject(error as Error)
    throw error
  }
}

export function formOf(action: Action): string {
  if (action.kind !== 'http' && action.kind !== 'call') return action.kind
  const { kind, concurrency, retry, timeoutMs } = action
  return JSON.stringify([kind, concurrency, retry, kind === 'call' ? [timeoutMs, action.function] : null])
}

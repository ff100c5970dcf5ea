/** Settles a delivery whose handler has ended: completed with its emissions, retried, dead-lettered, or handed back. */
import { isMillraceError, type MillraceError } from '../base/errors.ts'
import { is } from '../base/thrown.ts'
import type { BrokerHost } from '../broker/broker.ts'
import type { Delivery, Subscription } from '../broker/engine.ts'
import { settleFailed } from '../broker/failed-attempt.ts'
import { type CircuitBreaker, outcomeOf } from './circuit-breaker.ts'
import type { ConsumerReport } from './consumer-report.ts'
import { failureOf, Released, RetryAfter } from './failure.ts'
import type { DeliveryContext } from './handler-context.ts'
import type { NewerVersions } from './newer-versions.ts'
import type { ConsumerPlan } from './plan.ts'
import { replyProblem } from './problem-reply.ts'

export interface SettlementHost {
  readonly plan: ConsumerPlan
  readonly broker: Pick<BrokerHost, 'observer' | 'engine' | 'encoder'>
  readonly random: () => number
  readonly report: ConsumerReport
  readonly newer: NewerVersions
  readonly breaker: CircuitBreaker | null
  /** The delivery is no longer in flight. */
  settled(delivery: Delivery): void
}

export class Settlement {
  readonly counts: { completed: number; retried: number; deadLettered: number; released: number } = {
    completed: 0,
    retried: 0,
    deadLettered: 0,
    released: 0,
  }
  readonly #host: SettlementHost
  readonly #subscription: Subscription
  /** Deliveries for which the channels of their emissions were declared again. */
  readonly #renewed = new WeakSet<Delivery>()

  constructor(host: SettlementHost, subscription: Subscription) {
    this.#host = host
    this.#subscription = subscription
  }

  /** The handler returned. The attempt is settled when its emissions are prepared. */
  handled(context: DeliveryContext): void {
    if (context.timedOut !== null) this.failed(context, context.timedOut)
    else if (context.emitting === null) void this.complete(context)
    else {
      context.emitted().then(
        () => this.complete(context),
        (error: unknown) => this.failed(context, error),
      )
    }
  }

  /**
   * The emissions are prepared. Answers whether the event was completed: later, when a channel of its emissions is
   * declared again.
   */
  complete(context: DeliveryContext): boolean | Promise<boolean> {
    context.end()
    let done: boolean
    try {
      done = this.#subscription.complete(context.delivery, context.effects)
      if (done) this.counts.completed++
    } catch (error) {
      return this.#notCompleted(context, error)
    }
    const { observer } = this.#host.broker
    if (observer !== null) observer.settled(this.#host.plan.name, context, done ? 'completed' : 'lost', null)
    this.#host.breaker?.ended(context.delivery, 'handled', null)
    this.#host.settled(context.delivery)
    return done
  }

  /** If a channel of its emissions was removed, that channel is declared again, once. */
  #notCompleted(context: DeliveryContext, error: unknown): false | Promise<boolean> {
    const { delivery } = context
    if (this.#renewed.has(delivery) || !isMillraceError(error, 'UNKNOWN_CHANNEL')) return this.#fail(context, error)
    this.#renewed.add(delivery)
    return context.renew().then(
      () => (context.timedOut === null ? this.complete(context) : this.#fail(context, context.timedOut)),
      (cause: unknown) => this.#fail(context, cause),
    )
  }

  #fail(context: DeliveryContext, error: unknown): false {
    this.failed(context, error)
    return false
  }

  /** A delivery that was counted as completed is in flight again. */
  refused(context: DeliveryContext, error: MillraceError): void {
    this.counts.completed--
    context.end()
    void this.#notCompleted(context, error)
  }

  /**
   * The handler failed, or its emissions could not be prepared or stored. A handler that passed its time limit has
   * failed for that reason.
   */
  failed(context: DeliveryContext, thrown: unknown): void {
    context.end()
    const { delivery } = context
    const error = context.timedOut ?? thrown
    if (is(error, Released)) {
      if (this.#subscription.release(delivery)) this.counts.released++
      this.#host.broker.observer?.settled(this.#host.plan.name, context, 'released', null)
      return this.#host.settled(delivery)
    }
    const { newer, plan, random, report, broker } = this.#host
    const needs = newer.neededBy(error)
    if (needs !== null) {
      if (this.#subscription.hold(delivery, needs)) this.counts.released++
      broker.observer?.settled(plan.name, context, 'released', null)
      this.#host.settled(delivery)
      return newer.met(delivery, needs)
    }
    const failure = failureOf(error)
    const delayMs = is(error, RetryAfter) ? error.delayMs : null
    const after = settleFailed(this.#subscription, delivery, failure, plan.retry, { error, delayMs, random })
    if (after?.became === 'retried') this.counts.retried++
    else if (after?.became === 'dead-lettered') {
      this.counts.deadLettered++
      replyProblem(broker, plan.name, delivery, failure)
    }
    broker.observer?.settled(plan.name, context, after === null ? 'lost' : after.became, failure)
    if (after !== null) this.#host.breaker?.ended(delivery, outcomeOf(failure, delayMs !== null), failure)
    this.#host.settled(delivery)
    if (after === null) return
    // A passed time limit was reported when it passed.
    if (context.timedOut === null) report.failed(delivery, error, failure)
    report.settled(delivery, error, failure, after)
  }

  /** How many deliveries were settled, in any way. */
  get total(): number {
    const { completed, retried, deadLettered, released } = this.counts
    return completed + retried + deadLettered + released
  }

  /** The delivery waits behind a failed one of its key. It is not counted. */
  handBack(delivery: Delivery): void {
    this.#subscription.release(delivery)
    this.#host.settled(delivery)
  }
}

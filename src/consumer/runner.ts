/**
 * A consumer that runs: takes deliveries from its engine's subscription, calls the handlers, settles.
 *
 * It runs all that the engine hands it: the engine gives no more than the credit, and never two events of one key. The
 * attempt that fails is retried or dead-lettered by the consumer's policy; what cannot be decoded is poison, and is
 * dead-lettered without being tried.
 */
import { MillraceError } from '../base/errors.ts'
import { isWildcard } from '../base/names.ts'
import type { BrokerHost } from '../broker/broker.ts'
import type { Delivery, DeliverySink, Failure, Subscription } from '../broker/engine.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { Batcher } from './batcher.ts'
import type { ConsumerPlan } from './consumer.ts'
import type { Running, RunSummary } from './consumer-types.ts'
import { EventDecoder, refusePoison } from './event-decoder.ts'
import { failureOf, Rejected, Released, RetryAfter } from './failure.ts'
import { type ContextHost, DeliveryContext } from './handler-context.ts'
import { Router } from './router.ts'

export class Runner implements Running, DeliverySink {
  readonly name: string
  readonly done: Promise<RunSummary>
  readonly #plan: ConsumerPlan
  readonly #host: BrokerHost
  readonly #contextHost: ContextHost
  readonly #router: Router
  readonly #decoder = new EventDecoder()
  readonly #batcher: Batcher | null
  /** Deliveries with a handler, or in a batch. */
  #active = 0
  readonly #counts = { completed: 0, retried: 0, deadLettered: 0, released: 0 }
  #subscription: Subscription | null = null
  #early: Delivery[] = []
  #cancelRenewal: () => void = () => undefined
  #keepAlive: NodeJS.Timeout | null = null
  #timeouts: NodeJS.Timeout | null = null
  #stopping: Promise<RunSummary> | null = null
  #idle: (() => void) | null = null
  #finish: (summary: RunSummary) => void = () => undefined

  private constructor(plan: ConsumerPlan, host: BrokerHost) {
    this.name = plan.name
    this.#plan = plan
    this.#host = host
    this.#router = new Router(plan.routes)
    this.#contextHost = { name: plan.name, encoder: host.encoder, nowMs: () => host.engine.clock.now() }
    this.#batcher = this.#router.batches
      ? new Batcher(plan, { settle: (items, outcomes) => this.#settleBatch(items, outcomes), clock: host.engine.clock })
      : null
    this.done = new Promise((resolve) => {
      this.#finish = resolve
    })
  }

  static async start(plan: ConsumerPlan, host: BrokerHost): Promise<Runner> {
    const runner = new Runner(plan, host)
    await runner.#start()
    return runner
  }

  async #start(): Promise<void> {
    const { engine, encoder } = this.#host
    const plan = this.#plan
    for (const channel of plan.channels) {
      if (typeof channel !== 'string' || !isWildcard(channel)) await encoder.prepare(channel)
      if (typeof channel !== 'string') for (const definition of channel.events?.values() ?? []) this.#decoder.add(definition)
    }
    for (const route of plan.routes) if (route.definition !== null) this.#decoder.add(route.definition)
    const batchSize = Math.max(1, ...plan.routes.map((route) => route.batch?.size ?? 1))
    this.#subscription = await engine.subscribe(
      {
        name: plan.name,
        channels: plan.channels.map((channel) => (typeof channel === 'string' ? channel : channel.name)),
        wants: this.#router.wants,
        from: plan.from(engine.clock.now()),
        onDead: plan.onDead,
        credit: Math.max(plan.concurrency, batchSize),
        perKey: this.#batcher?.perKey ?? 1,
        leaseMs: plan.leaseMs,
        attemptsMax: plan.retry.attempts,
        stallMs: plan.stallMs,
      },
      this,
    )
    this.#renewEvery(plan.leaseMs / 3)
    // A running consumer keeps its process alive, as a listening server does.
    this.#keepAlive = setInterval(() => undefined, 2 ** 30)
    if (plan.timeoutMs !== null) this.#watchTimeouts(plan.timeoutMs)
    const early = this.#early
    this.#early = []
    if (early.length > 0) this.deliver(early)
  }

  #renewEvery(ms: number): void {
    this.#cancelRenewal = this.#host.engine.clock.after(ms, () => {
      this.#subscription?.renew()
      if (this.#keepAlive !== null) this.#renewEvery(ms)
    })
  }

  deliver(deliveries: readonly Delivery[]): void {
    if (this.#subscription === null) {
      this.#early.push(...deliveries)
      return
    }
    for (const delivery of deliveries) {
      if (this.#batcher === null) this.#run(delivery)
      else this.#collect(this.#batcher, delivery)
    }
    this.#batcher?.delivered()
  }

  revoked(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const context = contextOf(delivery)
      context?.abort(new MillraceError('LEASE_LOST', 'the event was given to another worker, or its consumer was rewound', { offset: delivery.offset }))
      this.#batcher?.forget(delivery)
      if (context !== null) this.#forget(delivery)
    }
  }

  #run(delivery: Delivery): void {
    const context = new DeliveryContext(this.#contextHost, delivery)
    delivery.attachment = context
    this.#active++
    try {
      const event = this.#plan.undecoded === true ? undecoded(delivery) : this.#decoder.decode(delivery)
      const result =
        event instanceof Promise
          ? event.then((decoded) => this.#router.handle(decoded, context, delivery.text))
          : this.#router.handle(event, context, delivery.text)
      if (isThenable(result)) {
        result.then(
          () => this.#handled(context),
          (error: unknown) => this.#failed(context, error),
        )
      } else this.#handled(context)
    } catch (error) {
      this.#failed(context, error)
    }
  }

  #collect(batcher: Batcher, delivery: Delivery): void {
    const context = new DeliveryContext(this.#contextHost, delivery)
    delivery.attachment = context
    this.#active++
    const add = (event: Awaited<ReturnType<EventDecoder['decode']>>): void => {
      const route = this.#router.batchRoute(event)
      if (route !== null) batcher.add(route, event, context)
      else {
        const result = this.#router.handle(event, context, delivery.text)
        Promise.resolve(result).then(
          () => this.#handled(context),
          (error: unknown) => this.#failed(context, error),
        )
      }
    }
    try {
      const event = this.#decoder.decode(delivery)
      if (event instanceof Promise) event.then(add, (error: unknown) => this.#failed(context, error))
      else add(event)
    } catch (error) {
      this.#failed(context, error)
    }
  }

  /** Outcomes in offset order, so that a failed event holds back those of its key that came after it. */
  #settleBatch(contexts: readonly DeliveryContext[], outcomes: readonly (Error | null)[]): void {
    contexts.forEach((context, index) => {
      const outcome = outcomes[index] ?? null
      if (outcome === null) this.#handled(context)
      else {
        this.#failed(context, outcome)
        for (const behind of this.#batcher?.takeBehind(context.delivery) ?? []) {
          this.#subscription?.release(behind)
          this.#forget(behind)
        }
      }
    })
  }

  #handled(context: DeliveryContext): void {
    if (context.emitting === null) this.#complete(context)
    else {
      context.emitted().then(
        () => this.#complete(context),
        (error: unknown) => this.#failed(context, error),
      )
    }
  }

  #complete(context: DeliveryContext): void {
    context.end()
    const { delivery } = context
    try {
      if ((this.#subscription as Subscription).complete(delivery, context.emissions)) this.#counts.completed++
      this.#forget(delivery)
    } catch (error) {
      this.#failed(context, error)
    }
  }

  #failed(context: DeliveryContext, error: unknown): void {
    context.end()
    const { delivery } = context
    const subscription = this.#subscription as Subscription
    if (error instanceof Released) {
      if (subscription.release(delivery)) this.#counts.released++
      return this.#forget(delivery)
    }
    const { retry } = this.#plan
    const kind = kindOf(error)
    const failure = failureOf(error, kind)
    const last = delivery.attempt >= retry.attempts
    if (kind === 'rejected' || kind === 'poison' || last) {
      if (subscription.deadLetter(delivery, failure)) this.#counts.deadLettered++
    } else {
      const delayMs = error instanceof RetryAfter ? error.delayMs : retry.delayMs(delivery.attempt, error, this.#host.random)
      if (subscription.retry(delivery, delayMs, failure)) this.#counts.retried++
    }
    this.#forget(delivery)
  }

  #forget(delivery: Delivery): void {
    if (delivery.attachment === null) return
    delivery.attachment = null
    this.#active--
    if (this.#idle !== null && this.#active === 0) this.#idle()
  }

  *#contexts(): Generator<DeliveryContext> {
    for (const delivery of this.#subscription?.held ?? []) {
      const context = contextOf(delivery)
      if (context !== null) yield context
    }
  }

  #watchTimeouts(timeoutMs: number): void {
    const startedAt = new WeakMap<DeliveryContext, number>()
    this.#timeouts = setInterval(
      () => {
        const now = this.#host.engine.clock.now()
        for (const context of this.#contexts()) {
          const since = startedAt.get(context)
          if (since === undefined) startedAt.set(context, now)
          else if (now - since >= timeoutMs) this.#timeOut(context, timeoutMs)
        }
      },
      Math.max(1, timeoutMs / 10),
    )
    this.#timeouts.unref()
  }

  #timeOut(context: DeliveryContext, timeoutMs: number): void {
    const error = new MillraceError('HANDLER_TIMEOUT', `the handler took longer than ${timeoutMs} ms`, { offset: context.offset, channel: context.channel })
    context.abort(error)
    this.#failed(context, error)
  }

  pause(): void {
    this.#subscription?.pause()
  }

  resume(): void {
    this.#subscription?.resume()
  }

  stop(): Promise<RunSummary> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<RunSummary> {
    this.pause()
    this.#batcher?.flush()
    if (this.#active > 0) await this.#drained()
    this.#cancelRenewal()
    if (this.#timeouts !== null) clearInterval(this.#timeouts)
    for (const context of this.#contexts()) {
      context.abort(
        new MillraceError('CLOSED', 'the consumer was stopped before the handler finished: its event will be delivered again', { offset: context.offset }),
      )
      this.#counts.released++
    }
    try {
      await this.#subscription?.close()
    } finally {
      if (this.#keepAlive !== null) clearInterval(this.#keepAlive)
      this.#keepAlive = null
      this.#finish({ ...this.#counts })
    }
    return { ...this.#counts }
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#host.engine.clock.after(this.#plan.drainMs, resolve)
      this.#idle = () => {
        cancel()
        resolve()
      }
    })
  }
}

function contextOf(delivery: Delivery): DeliveryContext | null {
  return delivery.attachment as DeliveryContext | null
}

/** For a consumer that wants events as they are stored. @throws INVALID_EVENT */
function undecoded(delivery: Delivery): StoredEvent {
  refusePoison(delivery)
  return delivery as unknown as StoredEvent
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

function kindOf(error: unknown): Failure['kind'] {
  if (error instanceof Rejected) return 'rejected'
  if (error instanceof MillraceError) {
    if (error.code === 'HANDLER_TIMEOUT') return 'timeout'
    if (error.code === 'SCHEMA_MISMATCH' && error.details['handled'] === true) return 'poison'
    if (error.code === 'INVALID_EVENT' && error.details['handled'] === true) return 'poison'
  }
  return 'error'
}

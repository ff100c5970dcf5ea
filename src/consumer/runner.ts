/**
 * A running consumer: takes deliveries from its engine's subscription, calls the handlers, and settles the deliveries.
 *
 * It runs every delivery at once: the engine gives no more than the credit, and never two events of one key. A delivery
 * stays in flight until its handler has ended, also after its time limit, so that its key and its slot stay taken. The
 * handler of a delivery that is taken away is left over (`handlers-left-over.ts`). An event that cannot be decoded is
 * poison.
 */
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import { isWildcard } from '../base/names.ts'
import { promiseOf } from '../base/thrown.ts'
import type { BrokerHost } from '../broker/broker.ts'
import type { ConsumerSpec, Delivery, DeliverySink, Emission, EventAttempt, Subscription } from '../broker/engine.ts'
import { EventDecoder, undecoded } from '../broker/event-decoder.ts'
import type { Failure } from '../broker/failure.ts'
import type { HandlerCall } from '../broker/observer.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { BatchIntake } from './batch-intake.ts'
import { BatchSettlement } from './batch-settlement.ts'
import { Batcher, type Outcome } from './batcher.ts'
import { CircuitBreaker } from './circuit-breaker.ts'
import { ConsumerReport } from './consumer-report.ts'
import type { Running, RunSummary } from './consumer-types.ts'
import { Drain } from './drain.ts'
import { type ContextHost, contextOf, DeliveryContext, type MadeEmission } from './handler-context.ts'
import { HandlerTable } from './handler-table.ts'
import { HandlerWatch } from './handler-watch.ts'
import { HandlersLeftOver } from './handlers-left-over.ts'
import { flowOf } from './limit-options.ts'
import { within } from './middleware.ts'
import { NewerVersions } from './newer-versions.ts'
import type { BatchRoute, ConsumerPlan } from './plan.ts'
import { Settlement } from './settlement.ts'
import { StallWatch } from './stall-watch.ts'
import { StateLoading } from './state/state-loading.ts'
import { refuseWithoutState, stateVersion } from './state/state-plan.ts'
import { waitingCallers } from './waiting-callers.ts'

export class Runner implements Running, DeliverySink {
  readonly name: string
  readonly passesOn = false
  readonly done: Promise<RunSummary>
  readonly #plan: ConsumerPlan
  readonly #host: BrokerHost
  readonly #clock: Clock
  readonly #contextHost: ContextHost
  readonly #handlers: HandlerTable
  readonly #decoder = new EventDecoder('handled')
  readonly #batcher: Batcher | null
  readonly #intake: BatchIntake | null
  /** Null for a consumer without state. */
  #states: StateLoading | null = null
  readonly #report: ConsumerReport
  readonly #watch: HandlerWatch | null
  readonly #stalls: StallWatch
  readonly #newer: NewerVersions
  readonly #leftOver: HandlersLeftOver
  readonly #breaker: CircuitBreaker | null
  #pausedByUser = false
  /** Why the circuit breaker takes no events. */
  #heldBy: string | null = null
  /** How many deliveries have a handler, or are in a batch. */
  #active = 0
  #subscription!: Subscription
  #settlement!: Settlement
  /** The events whose handlers are being called and have not returned yet. */
  #calling: DeliveryContext | readonly DeliveryContext[] | null = null
  #cancelRenewal: () => void = () => undefined
  #keepAlive: NodeJS.Timeout | null = null
  #stopping: Promise<RunSummary> | null = null
  readonly #drain: Drain<DeliveryContext>
  #ended: { readonly resolve: (summary: RunSummary) => void; readonly reject: (error: unknown) => void } | null = null

  private constructor(plan: ConsumerPlan, host: BrokerHost) {
    this.name = plan.name
    this.#plan = plan
    this.#host = host
    this.#clock = host.engine.clock
    this.#handlers = new HandlerTable(plan.routes)
    this.#leftOver = HandlersLeftOver.of(host.engine, plan.name)
    this.#contextHost = {
      name: plan.name,
      encoder: host.encoder,
      nowMs: () => host.engine.clock.now(),
      log: host.log,
      broker: host,
      lateEmission: (context, channel) => this.#lateEmission(context, channel),
    }
    this.#batcher = this.#handlers.batches
      ? new Batcher(plan, {
          clock: this.#clock,
          call: (route, events, contexts) => this.#giveBatch(route, events, contexts),
          settle: (contexts, outcomes) => this.#settleBatch(contexts, outcomes),
        })
      : null
    this.#intake = this.#batcher === null ? null : this.#intakeOf(this.#batcher, plan)
    this.#drain = new Drain(this.#clock, plan.drainMs, () => this.#active)
    this.#report = new ConsumerReport(plan, host.log, () => this.#clock.now())
    this.#newer = new NewerVersions(plan.name, host.alarms, this.#report)
    this.#breaker =
      plan.breaker === null
        ? null
        : new CircuitBreaker(plan.name, plan.breaker, {
            clock: this.#clock,
            alarms: host.alarms,
            report: this.#report,
            hold: (why) => this.#hold(why),
          })
    this.#watch =
      plan.timeoutMs === null ? null : new HandlerWatch(plan, plan.timeoutMs, this.#clock, host.alarms, this.#report)
    this.#stalls = new StallWatch(plan.stallMs, this.#clock, {
      settled: () => this.#settlement.total,
      reason: () => this.#subscription.stalled(),
      stalled: (sinceMs, reason) => this.#report.stalled(sinceMs, reason),
      goesOn: () => this.#report.goesOn(),
    })
    this.done = new Promise((resolve, reject) => {
      this.#ended = { resolve, reject }
    })
    this.done.catch(() => undefined)
  }

  #intakeOf(batcher: Batcher, plan: ConsumerPlan): BatchIntake {
    const host = {
      prepare: (context: DeliveryContext) => this.#prepare(context),
      gather: (event: StoredEvent, context: DeliveryContext) => this.#gather(batcher, event, context),
      gathered: () => batcher.delivered(),
      failed: (context: DeliveryContext, error: unknown) => this.#settlement.failed(context, error),
      handBack: (delivery: Delivery) => this.#settlement.handBack(delivery),
      isHeld: (context: DeliveryContext) => this.#isHeld(context),
    }
    return new BatchIntake(host, plan)
  }

  static async start(plan: ConsumerPlan, host: BrokerHost): Promise<Runner> {
    const runner = new Runner(plan, host)
    await runner.#start()
    return runner
  }

  async #start(): Promise<void> {
    const { engine, encoder, random } = this.#host
    const plan = this.#plan
    for (const channel of plan.channels) {
      if (typeof channel !== 'string') this.#decoder.addChannel(channel)
    }
    for (const route of plan.routes) if (route.definition !== null) this.#decoder.addHandled(route.definition)
    const batchSize = Math.max(1, ...plan.routes.map((route) => route.batch?.size ?? 1))
    const named = plan.channels.filter((channel) => typeof channel !== 'string' || !isWildcard(channel))
    const spec: ConsumerSpec = {
      name: plan.name,
      channels: plan.channels.map((channel) => (typeof channel === 'string' ? channel : channel.name)),
      wants: this.#handlers.wants,
      from: plan.from(engine.clock.now()),
      onDead: plan.onDead,
      ...flowOf(plan, this.#decoder),
      credit: Math.max(plan.concurrency, batchSize),
      perKey: this.#batcher?.perKey ?? 1,
      leaseMs: plan.leaseMs,
      attemptsMax: plan.retry.attempts,
      ...(plan.undecoded !== true && { versions: { ...this.#decoder.versions, ...stateVersion(plan.state) } }),
      stallMs: plan.stallMs,
      ...(plan.state !== null && { state: plan.state.channel }),
    }
    if (plan.state !== null) refuseWithoutState(plan.name, engine)
    this.#subscription = await encoder.with(named, () => engine.subscribe(spec, this))
    this.#settlement = new Settlement(
      {
        plan,
        broker: this.#host,
        random,
        report: this.#report,
        newer: this.#newer,
        breaker: this.#breaker,
        settled: (delivery) => this.#forget(delivery),
      },
      this.#subscription,
    )
    if (plan.state !== null) {
      const { clock } = engine
      const host = { clock, source: encoder.source, nowMs: () => clock.now(), subscription: this.#subscription }
      this.#states = new StateLoading(plan.state, host)
    }
    this.#renewEvery(plan.leaseMs / 3)
    this.#stalls.begin()
    // A running consumer keeps its process alive, as a listening server does.
    this.#keepAlive = setInterval(() => undefined, 2 ** 30)
  }

  #renewEvery(ms: number): void {
    const renew = (): void => {
      this.#subscription.renew()
      if (this.#keepAlive !== null) this.#renewEvery(ms)
    }
    this.#cancelRenewal = this.#clock.after(ms, renew, 'beat')
  }

  deliver(deliveries: readonly Delivery[]): void {
    this.#stalls.begin()
    for (const delivery of deliveries) {
      if (this.#breaker !== null && !this.#breaker.admits(delivery)) {
        this.#subscription.release(delivery)
        continue
      }
      const context = new DeliveryContext(this.#contextHost, delivery)
      delivery.attachment = context
      this.#active++
      if (!this.#leftOver.delays(delivery, () => this.#beginLate(context))) this.#begin(context)
    }
    this.#begun()
  }

  #begun(): void {
    this.#intake?.taken()
    this.#batcher?.delivered()
  }

  #begin(context: DeliveryContext): void {
    if (this.#intake === null) this.#run(context)
    else this.#intake.take(context)
  }

  /** The left-over handler has ended. Meanwhile the delivery may have been taken away, too, or handed back. */
  #beginLate(context: DeliveryContext): void {
    if (context.isAborted || !this.#isHeld(context)) return
    this.#begin(context)
    this.#begun()
  }

  revoked(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const context = contextOf(delivery)
      const why = 'the event was given to another worker, or its consumer was rewound'
      context?.abort(new MillraceError('LEASE_LOST', why, { offset: delivery.offset }))
      if (context !== null && context.running !== null) this.#leftOver.add(delivery, context.running)
      this.#batcher?.forget(delivery)
      this.#forget(delivery)
    }
  }

  /** The delivery was completed as far as this process knew, and then its emissions were refused. */
  refused(delivery: Delivery, emissions: readonly Emission[], error: MillraceError): void {
    const context = new DeliveryContext(this.#contextHost, delivery)
    context.emissions = emissions as MadeEmission[]
    delivery.attachment = context
    this.#active++
    this.#settlement.refused(context, error)
  }

  buried(event: EventAttempt, failure: Failure): void {
    this.#settlement.counts.deadLettered++
    this.#host.observer?.buried(this.name, event.channel)
    this.#report.buried(event, failure)
  }

  #run(context: DeliveryContext): void {
    try {
      const event =
        this.#plan.undecoded === true
          ? undecoded(context.delivery)
          : this.#decoder.decode(context.delivery, context.channel)
      const result =
        event instanceof Promise
          ? (this.#watch?.during(context, event) ?? event).then((decoded) => this.#give(decoded, context))
          : this.#give(event, context)
      this.#await(result, context)
    } catch (error) {
      this.#settlement.failed(context, error)
    }
  }

  #prepare(context: DeliveryContext): StoredEvent | Promise<StoredEvent> {
    const event = this.#decoder.decode(context.delivery, context.channel)
    return event instanceof Promise
      ? (this.#watch?.during(context, event) ?? event).then((decoded) => this.#checked(decoded, context))
      : this.#checked(event, context)
  }

  /** A state that cannot be had fails this event alone. The batch loads the states when it is called. */
  #checked(event: StoredEvent, context: DeliveryContext): StoredEvent | Promise<StoredEvent> {
    if (this.#states === null || this.#handlers.batchRoute(event) === null) return event
    const checking = this.#states.check(context)
    return checking === null ? event : checking.then(() => event)
  }

  #gather(batcher: Batcher, event: StoredEvent, context: DeliveryContext): void {
    context.refuseAborted()
    const route = this.#handlers.batchRoute(event)
    if (route === null) this.#await(this.#give(event, context), context)
    else batcher.add(route, event, context)
  }

  /** Whether the delivery was not taken away or handed back meanwhile. */
  #isHeld(context: DeliveryContext): boolean {
    return contextOf(context.delivery) === context
  }

  /** Call the handlers of an event, after the state of its key is loaded if the consumer keeps any. */
  #give(event: StoredEvent, context: DeliveryContext): unknown {
    const loading = this.#states === null ? null : this.#states.load([context])
    return loading === null ? this.#call(event, context) : loading.then(() => this.#call(event, context))
  }

  /** Settle the delivery when the promise that its handler returned has settled. */
  #await(result: unknown, context: DeliveryContext): void {
    const pending = promiseOf(result)
    if (pending === null) return this.#settlement.handled(context)
    context.running = pending.then(
      () => this.#settlement.handled(context),
      (error: unknown) => this.#settlement.failed(context, error),
    )
  }

  #call(event: StoredEvent, context: DeliveryContext): unknown {
    this.#watch?.begin(context)
    const before = this.#calling
    this.#calling = context
    try {
      const { observer } = this.#host
      const call = observer === null ? null : observer.handling(this.name, event, context)
      return call === null ? this.#handle(event, context) : this.#handleWithin(call, event, context)
    } finally {
      this.#calling = before
    }
  }

  #handleWithin(call: HandlerCall, event: StoredEvent, context: DeliveryContext): unknown {
    return call.within(() => this.#handle(event, context))
  }

  #handle(event: StoredEvent, context: DeliveryContext): unknown {
    const { middleware } = this.#plan
    if (middleware.length === 0) return this.#handlers.handle(event, context, context.delivery)
    return within(middleware, {
      event,
      ctx: context,
      contexts: [context],
      handle: () => this.#handlers.handle(event, context, context.delivery),
    })
  }

  #giveBatch(route: BatchRoute, events: readonly StoredEvent[], contexts: readonly DeliveryContext[]): unknown {
    const loading = this.#states === null ? null : this.#states.load(contexts)
    if (loading === null) return this.#callBatch(route, events, contexts)
    return loading.then(() => this.#callBatch(route, events, contexts))
  }

  #callBatch(route: BatchRoute, events: readonly StoredEvent[], contexts: readonly DeliveryContext[]): unknown {
    this.#watch?.begin(contexts)
    const before = this.#calling
    this.#calling = contexts
    try {
      const { observer } = this.#host
      const call = observer === null ? null : observer.handlingBatch(this.name, events, contexts)
      if (call === null) return this.#handleBatch(route, events, contexts)
      return call.within(() => this.#handleBatch(route, events, contexts))
    } finally {
      this.#calling = before
    }
  }

  #handleBatch(route: BatchRoute, events: readonly StoredEvent[], contexts: readonly DeliveryContext[]): unknown {
    const { middleware } = this.#plan
    const [event, ctx] = [events[0], contexts[0]]
    if (middleware.length === 0 || event === undefined || ctx === undefined)
      return route.handler(events as never, contexts)
    ctx.batch = events.map((each, index) => ({ event: each, ctx: contexts[index] as DeliveryContext }))
    return within(middleware, { event, ctx, contexts, handle: () => route.handler(events as never, contexts) })
  }

  #settleBatch(contexts: readonly DeliveryContext[], outcomes: readonly Outcome[]): Promise<void> | null {
    const settling = new BatchSettlement({
      plan: this.#plan,
      settlement: this.#settlement,
      ended: (run) => this.#watch?.end(run),
      takeBehind: (failed) => [this.#batcher, this.#intake].flatMap((waiting) => waiting?.takeBehind(failed) ?? []),
    })
    return settling.settle(contexts, outcomes)
  }

  #forget(delivery: Delivery): void {
    const context = contextOf(delivery)
    if (context === null) return
    this.#watch?.end(context)
    this.#breaker?.gone(delivery)
    delivery.attachment = null
    this.#active--
    this.#drain.ended(context)
  }

  #contexts(): DeliveryContext[] {
    return [...this.#subscription.held].flatMap((delivery) => contextOf(delivery) ?? [])
  }

  #lateEmission(context: DeliveryContext, channel: string): void {
    const { delivery } = context
    const where = `the event at offset ${delivery.offset} of "${delivery.channel}" (id ${delivery.id})`
    this.#host.alarms.raise(
      'CLOSED',
      `a handler of consumer "${this.name}" emitted to "${channel}" after it had finished with ${where}: nothing was stored; await ctx.emit inside the handler`,
      `late emission of ${this.name} to ${channel}`,
    )
  }

  /** How many of the events in flight wait for others, to be handled in one batch. */
  get gathered(): number {
    return this.#batcher?.gathered ?? 0
  }

  pause(): void {
    this.#pausedByUser = true
    this.#subscription.pause()
  }

  resume(): void {
    if (this.#stopping !== null) return
    this.#pausedByUser = false
    if (this.#heldBy === null) this.#subscription.resume()
  }

  #hold(why: string | null): void {
    this.#heldBy = why
    if (why !== null) this.#subscription.pause(why)
    else if (!this.#pausedByUser && this.#stopping === null) this.#subscription.resume()
  }

  stop(): Promise<RunSummary> {
    const asking = this.#callers()
    this.#stopping ??= this.#stop()
    if (asking.size === 0) return this.#stopping
    this.#stopping.catch(() => undefined)
    return this.#drain.askedBy(asking).then(() => this.#summary())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Whether the running code is one of the handlers, or is awaited by one. */
  get calledByHandler(): boolean {
    return this.#callers().size > 0
  }

  /** The events whose handlers wait for the running code. */
  #callers(): ReadonlySet<DeliveryContext> {
    if (this.#active === 0) return new Set()
    const calling = this.#calling === null ? [] : [this.#calling].flat()
    return new Set([...calling, ...waitingCallers(this.#contexts())])
  }

  async #stop(): Promise<RunSummary> {
    this.pause()
    // A batch handler that this flush calls may stop the consumer, too.
    await Promise.resolve()
    this.#batcher?.flush()
    await this.#drain.whole()
    this.#cancelRenewal()
    this.#watch?.stop()
    this.#stalls.stop()
    this.#newer.stop()
    this.#breaker?.stop()
    const settlement = this.#settlement
    for (const context of this.#contexts()) {
      if (context.timedOut !== null) settlement.failed(context, context.timedOut)
      else {
        context.abort(
          new MillraceError(
            'CLOSED',
            'the consumer was stopped before the handler finished: its event will be delivered again',
            { offset: context.offset },
          ),
        )
        settlement.counts.released++
      }
    }
    try {
      await this.#subscription.close()
      this.#ended?.resolve(this.#summary())
    } catch (error) {
      this.#ended?.reject(error)
      throw error
    } finally {
      if (this.#keepAlive !== null) clearInterval(this.#keepAlive)
      this.#keepAlive = null
    }
    return this.#summary()
  }

  #summary(): RunSummary {
    return { ...this.#settlement.counts }
  }
}

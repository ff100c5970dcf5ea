/**
 * A consumer whose events clients pull: one instance on the engine, whose deliveries are leased to clients one by one.
 *
 * The gateway renews the engine's lease of the instance as long as it runs. The leases of clients belong to the
 * gateway: when one expires, the event has used an attempt, and goes to the next client that pulls.
 *
 * Memory is bounded. Events are fetched only while a client waits. Fetched events that no client takes go back to the
 * engine. The bytes held are bounded for all pulled consumers together.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { isWildcard } from '../../base/names.ts'
import type { BrokerHost, Stoppable } from '../../broker/broker.ts'
import type { Delivery, DeliverySink, Emission, EventAttempt, Subscription } from '../../broker/engine.ts'
import { settleFailed } from '../../broker/failed-attempt.ts'
import type { Failure } from '../../broker/failure.ts'
import type { ObservedAttempt } from '../../broker/observer.ts'
import { position } from '../../broker/position.ts'
import { ConsumerReport } from '../../consumer/consumer-report.ts'
import { failureOf } from '../../consumer/failure.ts'
import type { PullSpec } from './pull-spec.ts'

/** An event that is leased to a client. */
export interface Lease extends ObservedAttempt {
  readonly id: string
  readonly delivery: Delivery
  readonly consumer: PullConsumer
  /** When the lease expires, by the clock's `elapsed`. */
  untilMs: number
  /** Those of its completion. */
  emissions: readonly Emission[] | null
}

/** What all pulled consumers of a gateway share. */
export interface PullShelf {
  /** The leases by id. */
  readonly leases: Map<string, Lease>
  /** The bytes of all events that are fetched or leased. */
  bytes: number
  /** Called when a lease has ended. */
  ended(): void
  report(error: unknown): void
}

interface Waiter {
  readonly max: number
  readonly answer: (leases: Lease[]) => void
}

export class PullConsumer implements DeliverySink, Stoppable {
  readonly name: string
  readonly passesOn = false
  readonly spec: PullSpec
  readonly done: Promise<void>
  /** When a client last called this consumer, by the clock's `elapsed`. */
  askedAtMs: number
  readonly #clock: Clock
  readonly #host: Pick<BrokerHost, 'observer' | 'random'>
  readonly #shelf: PullShelf
  readonly #report: ConsumerReport
  readonly #leases = new Map<Delivery, Lease>()
  readonly #waiters = new Set<Waiter>()
  #subscription!: Subscription
  /** Deliveries that are fetched and not leased. */
  #spare: Delivery[] = []
  #spareSinceMs = 0
  #draining = false
  #cancelTick: () => void = () => undefined
  #stopping: Promise<void> | null = null
  #finish: () => void = () => undefined

  private constructor(name: string, spec: PullSpec, host: BrokerHost, shelf: PullShelf) {
    this.name = name
    this.spec = spec
    this.#clock = host.engine.clock
    this.#host = host
    this.#shelf = shelf
    this.#report = new ConsumerReport({ name, hooks: {}, retry: spec.retry }, host.log, () => this.#clock.now())
    this.askedAtMs = this.#clock.elapsed()
    this.done = new Promise((resolve) => {
      this.#finish = resolve
    })
  }

  static async start(name: string, spec: PullSpec, host: BrokerHost, shelf: PullShelf): Promise<PullConsumer> {
    for (const channel of spec.channels) if (!isWildcard(channel)) await host.encoder.prepare(channel)
    const consumer = new PullConsumer(name, spec, host, shelf)
    await consumer.#start(host)
    return consumer
  }

  async #start({ engine }: BrokerHost): Promise<void> {
    const { channels, wants, from, leases, onDead, retry } = this.spec
    this.#subscription = await engine.subscribe(
      {
        name: this.name,
        channels,
        wants,
        from: position(from, this.#clock.now()),
        onDead,
        credit: leases,
        perKey: 1,
        leaseMs: LIMITS.leaseMsDefault,
        attemptsMax: retry.attempts,
        stallMs: LIMITS.stallMsDefault,
      },
      this,
    )
    this.#subscription.pause()
    this.#tickEvery(Math.min(1000, Math.max(LIMITS.leaseMsMin / 2, this.spec.leaseMs / 4)))
  }

  get leased(): number {
    return this.#leases.size
  }

  /** Whether no event is leased and no client waits. */
  get idle(): boolean {
    return this.#leases.size === 0 && this.#waiters.size === 0
  }

  /** Up to `max` leases. Waits for the first one up to `waitMs`; `cancelled` ends the wait. */
  pull(max: number, waitMs: number, cancelled: AbortSignal): Promise<Lease[]> {
    this.askedAtMs = this.#clock.elapsed()
    if (this.#draining || cancelled.aborted) return Promise.resolve([])
    if (this.#spare.length < max) this.#fetch()
    if (this.#spare.length > 0) {
      const leases = this.#take(max)
      if (this.#waiters.size === 0) this.#subscription.pause()
      return Promise.resolve(leases)
    }
    return new Promise((resolve) => {
      const answer = (leases: Lease[]): void => {
        this.#waiters.delete(waiter)
        cancelTimer()
        cancelled.removeEventListener('abort', nothing)
        this.askedAtMs = this.#clock.elapsed()
        resolve(leases)
      }
      const nothing = (): void => answer([])
      const waiter: Waiter = { max, answer }
      // Also without a wait, the engine gets 20 ms to deliver what it has.
      const cancelTimer = this.#clock.after(Math.max(waitMs, 20), nothing)
      cancelled.addEventListener('abort', nothing)
      this.#waiters.add(waiter)
    })
  }

  deliver(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const bytes = delivery.text.length
      const full = this.#shelf.bytes + bytes > LIMITS.gatewayPullBytesMax && this.#shelf.bytes > 0
      if (this.#draining || full) this.#subscription.release(delivery)
      else {
        this.#shelf.bytes += bytes
        if (this.#spare.length === 0) this.#spareSinceMs = this.#clock.elapsed()
        this.#spare.push(delivery)
      }
    }
    this.#serve()
  }

  revoked(deliveries: readonly Delivery[]): void {
    const gone = new Set(deliveries)
    for (const delivery of deliveries) this.#drop(delivery, 'lost')
    const left = this.#spare.filter((delivery) => !gone.has(delivery))
    for (const delivery of this.#spare) if (gone.has(delivery)) this.#shelf.bytes -= delivery.text.length
    this.#spare = left
  }

  buried(event: EventAttempt, failure: Failure): void {
    this.#host.observer?.buried(this.name, event.channel)
    this.#report.buried(event, failure)
  }

  refused(delivery: Delivery, _emissions: readonly Emission[], error: MillraceError): void {
    const failure = failureOf(error)
    const became = this.#failed(delivery, null, failure)
    const attempt = { delivery, emissions: null, observed: null }
    this.#host.observer?.settled(this.name, attempt, became ?? 'lost', failure)
  }

  /** Complete the event, with its emissions. Returns whether the client still had it. */
  complete(lease: Lease, emissions: readonly Emission[]): boolean {
    const done = this.#subscription.complete(lease.delivery, emissions)
    this.#forget(lease.delivery)
    lease.emissions = emissions
    this.#host.observer?.settled(this.name, lease, done ? 'completed' : 'lost', null)
    return done
  }

  /**
   * Fail the attempt: try again after `delayMs`, or by the consumer's backoff. After the last attempt the event is a
   * dead letter.
   */
  retry(lease: Lease, delayMs: number | null, failure: Failure): 'retried' | 'dead-lettered' | null {
    this.#forget(lease.delivery)
    const became = this.#failed(lease.delivery, delayMs, failure)
    this.#host.observer?.settled(this.name, lease, became ?? 'lost', failure)
    return became
  }

  #failed(delivery: Delivery, delayMs: number | null, failure: Failure): 'retried' | 'dead-lettered' | null {
    const after = settleFailed(this.#subscription, delivery, failure, this.spec.retry, {
      delayMs,
      random: this.#host.random,
    })
    if (after !== null) this.#report.settled(delivery, null, failure, after)
    return after?.became ?? null
  }

  /** Make the event a dead letter now. `failure` has the kind `rejected`. */
  reject(lease: Lease, failure: Failure): boolean {
    return this.retry(lease, null, failure) !== null
  }

  /** Hand the event back without using an attempt. */
  release(lease: Lease): boolean {
    this.#forget(lease.delivery)
    this.#host.observer?.settled(this.name, lease, 'released', null)
    return this.#subscription.release(lease.delivery)
  }

  /** When the lease expires, in milliseconds since the epoch. */
  expiresAtMs(lease: Lease): number {
    return this.#clock.now() + lease.untilMs - this.#clock.elapsed()
  }

  extend(lease: Lease, leaseMs: number): void {
    this.askedAtMs = this.#clock.elapsed()
    lease.untilMs = this.#clock.elapsed() + leaseMs
  }

  /** Resolves when everything settled so far is durable. */
  flushed(): Promise<void> {
    return this.#subscription.flushed()
  }

  /** Lease nothing more, and answer waiting clients with nothing. Leased events can be settled until `stop`. */
  drain(): void {
    this.#draining = true
    this.#subscription.pause()
    for (const { answer } of [...this.#waiters]) answer([])
    this.#handBack()
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#cancelTick()
    this.drain()
    for (const delivery of [...this.#leases.keys()]) this.#drop(delivery, 'released')
    try {
      await this.#subscription.close()
    } finally {
      this.#finish()
    }
  }

  /** Ask the engine for more events, because a client waits. */
  #fetch(): void {
    if (this.#shelf.bytes < LIMITS.gatewayPullBytesMax) this.#subscription.resume()
  }

  #serve(): void {
    for (const waiter of [...this.#waiters]) {
      if (this.#spare.length === 0) return
      waiter.answer(this.#take(waiter.max))
    }
    // Every waiting client has an answer, so further events are left to other instances.
    if (this.#waiters.size === 0) this.#subscription.pause()
  }

  /** Lease fetched events, up to the size of one answer. */
  #take(max: number): Lease[] {
    const untilMs = this.#clock.elapsed() + this.spec.leaseMs
    const leases: Lease[] = []
    let bytes = 0
    while (leases.length < max) {
      const delivery = this.#spare[0]
      if (delivery === undefined || (leases.length > 0 && bytes + delivery.text.length > LIMITS.gatewayPageBytesMax))
        break
      this.#spare.shift()
      bytes += delivery.text.length
      const id = randomBytes(18).toString('base64url')
      const lease: Lease = { id, delivery, consumer: this, untilMs, emissions: null, observed: null }
      this.#leases.set(delivery, lease)
      this.#shelf.leases.set(lease.id, lease)
      leases.push(lease)
    }
    if (leases.length > 0) this.#host.observer?.receiving(this.name, leases)
    return leases
  }

  /** The client loses the event: it is not settled by its lease. */
  #drop(delivery: Delivery, outcome: 'lost' | 'released'): void {
    const lease = this.#leases.get(delivery)
    this.#forget(delivery)
    if (lease !== undefined) this.#host.observer?.settled(this.name, lease, outcome, null)
  }

  /** Drop the lease of a delivery. */
  #forget(delivery: Delivery): void {
    const lease = this.#leases.get(delivery)
    if (lease === undefined) return
    this.#leases.delete(delivery)
    this.#shelf.leases.delete(lease.id)
    this.#shelf.bytes -= delivery.text.length
    this.#shelf.ended()
  }

  #handBack(): void {
    const spare = this.#spare
    this.#spare = []
    for (const delivery of spare) {
      this.#shelf.bytes -= delivery.text.length
      this.#subscription.release(delivery)
    }
  }

  #tickEvery(ms: number): void {
    this.#cancelTick = this.#clock.after(ms, () => {
      try {
        this.#tick()
      } catch (error) {
        this.#shelf.report(error)
      }
      if (this.#stopping === null) this.#tickEvery(ms)
    })
  }

  #tick(): void {
    const now = this.#clock.elapsed()
    this.#subscription.renew()
    for (const lease of [...this.#leases.values()])
      if (lease.untilMs <= now) this.retry(lease, 0, expiry(lease, this.spec.leaseMs))
    if (this.#spare.length > 0 && now - this.#spareSinceMs >= LIMITS.gatewayPullSpareMs && this.#waiters.size === 0) {
      this.#subscription.pause()
      this.#handBack()
    }
    if (this.#waiters.size > 0) this.#fetch()
  }
}

function expiry({ delivery }: Lease, leaseMs: number): Failure {
  const error = new MillraceError(
    'LEASE_LOST',
    `the client did not settle the event, or extend its lease, within ${leaseMs} ms`,
  )
  return {
    name: error.name,
    message: `${error.message} (attempt ${delivery.attempt})`,
    code: error.code,
    kind: 'timeout',
  }
}

/** The pulled consumers of a gateway: opened on demand, bounded in number, and closed when they are idle. */
import { Condition } from '../../base/condition.ts'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { orAfterMs } from '../../base/timers.ts'
import { closedGateway } from '../channel-texts.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { badRequest } from '../problem.ts'
import { type Lease, PullConsumer, type PullShelf } from './pull-consumer.ts'
import type { PullSpec } from './pull-spec.ts'

export type Settled = 'completed' | 'retried' | 'dead-lettered' | 'released'

export class PullConsumers {
  readonly #host: GatewayHost
  readonly #drainMs: number
  readonly #shelf: PullShelf
  readonly #allSettled = new Condition(() => this.#shelf.leases.size === 0)
  readonly #open = new Map<string, PullConsumer>()
  /** Opening and closing that runs now, by consumer: one at a time for each name. */
  readonly #busy = new Map<string, Promise<unknown>>()
  /** How leases were settled recently, by id, oldest first. */
  readonly #settled = new Map<string, Settled>()
  #idleTimer: NodeJS.Timeout | undefined
  #closing = false

  constructor(host: GatewayHost, drainMs: number) {
    this.#host = host
    this.#drainMs = drainMs
    this.#shelf = { leases: new Map(), bytes: 0, report: host.report, ended: () => this.#allSettled.check() }
  }

  get(name: string): PullConsumer | undefined {
    return this.#open.get(name)
  }

  get size(): number {
    return this.#open.size
  }

  /**
   * The consumer, opened if it is not open. If it is open with other settings, it is opened again if `replace` is true,
   * and else refused.
   * @throws INVALID_REQUEST (409) · BACKPRESSURE when too many are open · UNKNOWN_CHANNEL · CLOSED
   */
  async join(
    name: string,
    spec: PullSpec,
    replace: boolean,
  ): Promise<{ readonly consumer: PullConsumer; readonly opened: boolean }> {
    await this.#quiet(name)
    const found = this.#open.get(name)
    if (found?.spec.form === spec.form) return { consumer: found, opened: false }
    if (found !== undefined && !replace) {
      throw badRequest(409, `consumer "${name}" is open with other settings: PUT /consumers/${name} opens it again`, {
        consumer: name,
      })
    }
    if (this.#closing) throw closedGateway()
    if (found === undefined && this.#open.size + this.#busy.size >= LIMITS.gatewayPullConsumersMax) {
      throw new MillraceError(
        'BACKPRESSURE',
        `${this.#open.size} pulled consumers are open, which is the limit: close one, or try again later`,
        {
          consumersMax: LIMITS.gatewayPullConsumersMax,
        },
      )
    }
    return { consumer: await this.#alone(name, () => this.#reopen(name, spec, found)), opened: true }
  }

  /** Close a consumer: leased and fetched events go back. Its positions in its channels stay. */
  async leave(name: string): Promise<boolean> {
    await this.#quiet(name)
    const consumer = this.#open.get(name)
    if (consumer === undefined) return false
    await this.#alone(name, async () => {
      this.#open.delete(name)
      await consumer.stop()
    })
    return true
  }

  /**
   * The lease, or how it was settled.
   * @throws LEASE_LOST when the lease is unknown or has expired
   */
  lease(id: string): Lease | Settled {
    const found = this.#shelf.leases.get(id) ?? this.#settled.get(id)
    if (found !== undefined) return found
    throw new MillraceError(
      'LEASE_LOST',
      'there is no such lease: it expired, was settled before, or never existed; its event is handled elsewhere',
      {
        lease: id.slice(0, 60),
      },
    )
  }

  /** Remember how a lease was settled, for a client that repeats its request because the answer was lost. */
  remember(id: string, settled: Settled): void {
    this.#settled.set(id, settled)
    if (this.#settled.size > LIMITS.gatewayPullSettledMax)
      this.#settled.delete(this.#settled.keys().next().value as string)
  }

  /** Lease nothing more, wait up to the drain time until the leases are settled, and close. */
  async close(): Promise<void> {
    this.#closing = true
    clearInterval(this.#idleTimer)
    await Promise.allSettled([...this.#busy.values()])
    for (const consumer of this.#open.values()) consumer.drain()
    await orAfterMs(this.#drainMs, this.#allSettled.reached())
    await Promise.allSettled([...this.#open.values()].map((consumer) => consumer.stop()))
    this.#open.clear()
  }

  async #reopen(name: string, spec: PullSpec, found: PullConsumer | undefined): Promise<PullConsumer> {
    if (found !== undefined) {
      this.#open.delete(name)
      await found.stop()
    }
    const consumer = await this.#host.broker.start({
      start: (host) => PullConsumer.start(name, spec, host, this.#shelf),
    })
    this.#open.set(name, consumer)
    // The broker may close before the gateway.
    void consumer.done.then(() => {
      if (this.#open.get(name) === consumer) this.#open.delete(name)
    })
    this.#watchIdle()
    return consumer
  }

  /**
   * Resolves when no call opens or closes this consumer. Of several callers the first continues, and the others wait
   * for it.
   */
  async #quiet(name: string): Promise<void> {
    for (let busy = this.#busy.get(name); busy !== undefined; busy = this.#busy.get(name))
      await busy.catch(() => undefined)
  }

  async #alone<Result>(name: string, act: () => Promise<Result>): Promise<Result> {
    const acting = act()
    this.#busy.set(name, acting)
    try {
      return await acting
    } finally {
      if (this.#busy.get(name) === acting) this.#busy.delete(name)
    }
  }

  #watchIdle(): void {
    if (this.#idleTimer !== undefined) return
    this.#idleTimer = setInterval(() => void this.#closeIdle().catch(this.#host.report), LIMITS.gatewayPullIdleMs / 10)
    this.#idleTimer.unref()
  }

  async #closeIdle(): Promise<void> {
    const { engine } = this.#host.core
    const before = engine.clock.elapsed() - LIMITS.gatewayPullIdleMs
    for (const [name, consumer] of this.#open) if (consumer.idle && consumer.askedAtMs < before) await this.leave(name)
  }
}

/**
 * The part of the gateway that pushes: it keeps a consumer running for every subscription that is switched on, and takes up what others change.
 *
 * Changes are taken up one after the other, by `#pass`, which compares what runs with what the subscriptions ask for.
 */
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Resolver } from '../../outbound/guarded-request.ts'
import type { AddressGuard } from '../../outbound/public-address.ts'
import type { GatewayHost } from '../gateway-host.ts'
import type { GatewayPart, Route } from '../route.ts'
import { PushBook, type PushChange, type PushEntry } from './push-book.ts'
import { consumerOf, PushConsumer, type PushHost } from './push-consumer.ts'
import { pushRoutes } from './push-routes.ts'

export interface PushSettings {
  readonly guard: AddressGuard
  readonly resolver?: Resolver
  /** The DNS name that this system sends as. */
  readonly origin: string
  /** Every subscriber is asked first, whatever its subscription says. */
  readonly handshake: boolean
  readonly drainMs: number
}

/** What is known of a subscription in this process. */
export interface PushState {
  readonly problem: string | null
  readonly lastFailure: PushConsumer['lastFailure']
}

export class PushPart implements GatewayPart {
  readonly routes: readonly Route[]
  readonly book: PushBook
  readonly settings: PushSettings
  readonly host: GatewayHost
  readonly #running = new Map<string, PushConsumer>()
  /** Consumers that stop, which may take as long as their subscriber does: another of the name waits for it. */
  readonly #retiring = new Map<string, Promise<void>>()
  readonly #problems = new Map<string, string>()
  #passing: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | null = null
  #closing = false

  constructor(host: GatewayHost, settings: PushSettings) {
    this.host = host
    this.settings = settings
    this.book = new PushBook(host.broker, host.core)
    this.routes = pushRoutes(this)
  }

  async start(): Promise<void> {
    await this.takeUp().catch((error: unknown) => this.#report(error))
    this.#timer = setInterval(
      () => void this.takeUp().catch((error: unknown) => this.#report(error)),
      LIMITS.pushTendMs,
    )
    this.#timer.unref()
  }

  /** Make a change, and have it in force in this process. */
  async change(change: PushChange): Promise<void> {
    await this.book.put(change)
    await this.takeUp()
    const retiring = this.#retiring.get(change.name)
    if (retiring === undefined) return
    await retiring
    await this.takeUp()
  }

  stateOf(name: string): PushState {
    return { problem: this.#problems.get(name) ?? null, lastFailure: this.#running.get(name)?.lastFailure ?? null }
  }

  /** What was changed, here or elsewhere, is in force when it resolves. */
  takeUp(): Promise<void> {
    const passing = this.#passing.catch(() => undefined).then(() => this.#pass())
    this.#passing = passing
    return passing
  }

  async close(): Promise<void> {
    this.#closing = true
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#passing.catch(() => undefined)
    const running = [...this.#running.values()]
    this.#running.clear()
    await Promise.all([
      ...this.#retiring.values(),
      ...running.map((each) => each.stop().catch((error: unknown) => this.#report(error))),
    ])
  }

  async #pass(): Promise<void> {
    if (this.#closing) return
    await this.book.refresh()
    for (const [name, consumer] of [...this.#running]) {
      const entry = this.book.entries.get(name)
      if (entry?.enabled !== true || formOf(entry) !== consumer.form) this.#retire(name, consumer, entry === undefined)
    }
    for (const name of this.#problems.keys()) if (!this.book.entries.has(name)) this.#problems.delete(name)
    for (const entry of this.book.entries.values()) {
      if (entry.enabled && !this.#running.has(entry.name) && !this.#retiring.has(entry.name)) await this.#start(entry)
    }
  }

  async #start({ name, spec, grantedPerMinute, ...entry }: PushEntry): Promise<void> {
    try {
      if (spec === null) throw new Error('it was written by another version of Millrace and cannot be read')
      const consumer = new PushConsumer(
        name,
        spec,
        grantedPerMinute,
        formOf({ grantedPerMinute, ...entry }),
        this.#pushHost,
      )
      await this.host.broker.start(consumer)
      this.#running.set(name, consumer)
      this.#problems.delete(name)
    } catch (error) {
      if (isMillraceError(error, 'CLOSED')) throw error
      // Its channel may be declared later: it is tried again.
      this.#problems.set(name, (error as Error).message)
    }
  }

  #retire(name: string, consumer: PushConsumer, removed: boolean): void {
    this.#running.delete(name)
    const retiring = consumer
      .stop()
      .then(() => (removed ? this.forget(name) : undefined))
      .catch((error: unknown) => this.#report(error))
      .then(() => void this.#retiring.delete(name))
    this.#retiring.set(name, retiring)
  }

  /** What waits for a subscription that was removed goes with it. Where it still runs in another process, that one does it. */
  async forget(name: string): Promise<void> {
    try {
      await this.host.broker.consumer(consumerOf(name)).remove()
    } catch (error) {
      if (!isMillraceError(error)) throw error
    }
  }

  get #pushHost(): PushHost {
    const { guard, resolver, drainMs } = this.settings
    return {
      guard,
      ...(resolver !== undefined && { resolver }),
      drainMs,
      gone: (name, reason) => void this.#gone(name, reason).catch((error: unknown) => this.#report(error)),
    }
  }

  /** 410: switched off, until somebody switches it on again. */
  async #gone(name: string, reason: string): Promise<void> {
    const entry = this.book.entries.get(name)
    if (entry?.enabled !== true) return
    const { subscription, grantedPerMinute } = entry
    await this.book.put({ name, subscription, enabled: false, by: 'millrace', reason, grantedPerMinute })
    await this.takeUp()
  }

  #report(error: unknown): void {
    if (!isMillraceError(error, 'CLOSED')) this.host.report(error)
  }
}

function formOf({ subscription, grantedPerMinute }: Pick<PushEntry, 'subscription' | 'grantedPerMinute'>): string {
  return JSON.stringify([subscription, grantedPerMinute])
}

/**
 * The push subscriptions that run in this process: one consumer for every subscription that is enabled.
 *
 * `applyChanges` compares the running consumers with the stored subscriptions, and starts and stops consumers until
 * they agree. Only one comparison runs at a time.
 */
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Resolver } from '../../outbound/guarded-request.ts'
import type { AddressGuard } from '../../outbound/public-address.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { PushBook, type PushChange, type PushEntry } from './push-book.ts'
import { consumerOf, PushConsumer, type PushHost } from './push-consumer.ts'

export interface PushSettings {
  readonly guard: AddressGuard
  readonly resolver?: Resolver
  /** The DNS name as which this system sends. */
  readonly origin: string
  /** Every subscriber must grant a handshake, also if its subscription does not ask for one. */
  readonly handshake: boolean
  readonly drainMs: number
}

/** The state of a subscription in this process. */
export interface PushState {
  readonly problem: string | null
  readonly lastFailure: PushConsumer['lastFailure']
}

export class PushService {
  readonly book: PushBook
  readonly settings: PushSettings
  readonly host: GatewayHost
  readonly #running = new Map<string, PushConsumer>()
  /**
   * Consumers that are stopping, by subscription. The next consumer of a subscription starts after the last has
   * stopped.
   */
  readonly #stopping = new Map<string, Promise<void>>()
  readonly #problems = new Map<string, string>()
  #applying: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | null = null
  #closing = false

  constructor(host: GatewayHost, settings: PushSettings) {
    this.host = host
    this.settings = settings
    this.book = new PushBook(host.broker)
  }

  async start(): Promise<void> {
    await this.applyChanges().catch((error: unknown) => this.#report(error))
    this.#timer = setInterval(
      () => void this.applyChanges().catch((error: unknown) => this.#report(error)),
      LIMITS.pushTendMs,
    )
    this.#timer.unref()
  }

  /** Stores a change, and resolves when it is in force in this process. */
  async change(change: PushChange): Promise<void> {
    await this.book.put(change)
    await this.applyChanges()
    const stopping = this.#stopping.get(change.name)
    if (stopping === undefined) return
    await stopping
    await this.applyChanges()
  }

  stateOf(name: string): PushState {
    return { problem: this.#problems.get(name) ?? null, lastFailure: this.#running.get(name)?.lastFailure ?? null }
  }

  /** Resolves when all changes that are stored, by any process, are in force in this one. */
  applyChanges(): Promise<void> {
    const applying = this.#applying.catch(() => undefined).then(() => this.#applyOnce())
    this.#applying = applying
    return applying
  }

  async close(): Promise<void> {
    this.#closing = true
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#applying.catch(() => undefined)
    const running = [...this.#running.values()]
    this.#running.clear()
    await Promise.all([
      ...this.#stopping.values(),
      ...running.map((each) => each.stop().catch((error: unknown) => this.#report(error))),
    ])
  }

  async #applyOnce(): Promise<void> {
    if (this.#closing) return
    await this.book.refresh()
    for (const [name, consumer] of [...this.#running]) {
      const entry = this.book.entries.get(name)
      if (entry?.enabled !== true || formOf(entry) !== consumer.form) this.#stop(name, consumer, entry === undefined)
    }
    for (const name of this.#problems.keys()) if (!this.book.entries.has(name)) this.#problems.delete(name)
    for (const entry of this.book.entries.values()) {
      if (entry.enabled && !this.#running.has(entry.name) && !this.#stopping.has(entry.name)) await this.#start(entry)
    }
  }

  async #start({ name, spec, grantedPerMinute, ...entry }: PushEntry): Promise<void> {
    try {
      if (spec === null)
        throw new Error('another version of Millrace wrote this subscription, and this version cannot read it')
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
      // The channel may be declared later. The next call of applyChanges tries again.
      this.#problems.set(name, (error as Error).message)
    }
  }

  #stop(name: string, consumer: PushConsumer, removed: boolean): void {
    this.#running.delete(name)
    const stopping = consumer
      .stop()
      .then(() => (removed ? this.removeConsumer(name) : undefined))
      .catch((error: unknown) => this.#report(error))
      .then(() => void this.#stopping.delete(name))
    this.#stopping.set(name, stopping)
  }

  /**
   * Removes the consumer of a removed subscription. If another process still runs the consumer, the broker refuses, and
   * that process removes it when it stops it.
   */
  async removeConsumer(name: string): Promise<void> {
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
      gone: (name, reason) => void this.#disable(name, reason).catch((error: unknown) => this.#report(error)),
    }
  }

  /** The subscriber answered 410: the subscription is disabled until a person enables it. */
  async #disable(name: string, reason: string): Promise<void> {
    const entry = this.book.entries.get(name)
    if (entry?.enabled !== true) return
    const { subscription, grantedPerMinute } = entry
    await this.book.put({ name, subscription, enabled: false, by: 'millrace', reason, grantedPerMinute })
    await this.applyChanges()
  }

  #report(error: unknown): void {
    if (!isMillraceError(error, 'CLOSED')) this.host.report(error)
  }
}

function formOf({ subscription, grantedPerMinute }: Pick<PushEntry, 'subscription' | 'grantedPerMinute'>): string {
  return JSON.stringify([subscription, grantedPerMinute])
}

/** What a handler can do besides returning. One for each event and attempt; what costs something is made when asked for. */
import { MillraceError } from '../base/errors.ts'
import { type Duration, durationMs } from '../base/units.ts'
import type { Publishable, PublishLater } from '../broker/broker.ts'
import type { Delivery, Emission, EncodedEvent } from '../broker/engine.ts'
import type { EventEncoder } from '../broker/event-encoder.ts'
import type { Channel } from '../channel/channel.ts'
import type { Encodable } from '../event/encode.ts'
import type { HandlerContext } from './consumer-types.ts'
import { Rejected, RetryAfter } from './failure.ts'
import { WatchedPromise } from './watched-promise.ts'

export interface ContextHost {
  readonly name: string
  readonly encoder: EventEncoder
  readonly nowMs: () => number
}

export class DeliveryContext implements HandlerContext {
  readonly delivery: Delivery
  /** What the handler emitted: takes effect with the completion. */
  emissions: Emission[] | null = null
  /** The calls of `emit`; null when there was none. */
  emitting: WatchedPromise<void>[] | null = null
  readonly #host: ContextHost
  #controller: AbortController | null = null
  #aborted: Error | null = null
  #over = false

  constructor(host: ContextHost, delivery: Delivery) {
    this.#host = host
    this.delivery = delivery
  }

  get consumer(): string {
    return this.#host.name
  }
  get channel(): string {
    return this.delivery.channel
  }
  get offset(): number {
    return this.delivery.offset
  }
  get key(): string | null {
    return this.delivery.key
  }
  get attempt(): number {
    return this.delivery.attempt
  }
  get redriven(): boolean {
    return this.delivery.redriven
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#aborted !== null) this.#controller.abort(this.#aborted)
    }
    return this.#controller.signal
  }

  /** The event is no longer this handler's. */
  abort(reason: Error): void {
    this.#aborted ??= reason
    this.#controller?.abort(reason)
  }

  /** The attempt is settled: nothing can be emitted any more. */
  end(): void {
    this.#over = true
  }

  emit<C extends Channel | string>(channel: C, event: Publishable<C> | readonly Publishable<C>[], options?: PublishLater): Promise<void> {
    const made = WatchedPromise.watch(this.#emit(channel, event as Encodable | readonly Encodable[], options))
    this.emitting ??= []
    this.emitting.push(made)
    void made.outcome()
    return made
  }

  /** Resolves when all emissions are prepared. Rejects when one was refused and the handler did not look: it must not complete without it. */
  async emitted(): Promise<void> {
    for (const made of this.emitting ?? []) {
      const outcome = await made.outcome()
      if (outcome.status === 'rejected' && !made.watched) throw outcome.reason
    }
  }

  async #emit(channel: Channel | string, event: Encodable | readonly Encodable[], options: PublishLater = {}): Promise<void> {
    this.#mayEmit()
    const { encoder, nowMs } = this.#host
    const { delay, at } = options
    const dueAtMs = delay !== undefined ? nowMs() + durationMs(delay, 'delay') : at === undefined ? null : Number(at)
    if (dueAtMs !== null && !Number.isFinite(dueAtMs)) throw new MillraceError('INVALID_OPTION', 'at must be a valid Date or milliseconds', { option: 'at' })
    if (!encoder.isReady(channel)) await encoder.prepare(channel)
    const name = typeof channel === 'string' ? channel : channel.name
    const made: EncodedEvent[] = []
    for (const one of Array.isArray(event) ? (event as readonly Encodable[]) : [event as Encodable]) {
      const encoded = encoder.encode(name, this.#caused(one))
      made.push(encoded instanceof Promise ? await encoded : encoded)
    }
    this.#mayEmit()
    this.emissions ??= []
    for (const one of made) this.emissions.push({ channel: name, event: one, dueAtMs })
  }

  #mayEmit(): void {
    if (this.#aborted !== null) throw new MillraceError('LEASE_LOST', this.#aborted.message, { channel: this.channel, offset: this.offset })
    if (this.#over) {
      throw new MillraceError('CLOSED', 'the handler has finished: await ctx.emit inside it', { channel: this.channel, offset: this.offset })
    }
  }

  /** The event, with where it comes from: CloudEvents' causation, correlation and trace extensions. */
  #caused(event: Encodable): Encodable {
    const cause = this.#source()
    return { ...cause, ...event }
  }

  #source(): { readonly causationid: string; readonly correlationid: string; readonly traceparent?: string } {
    const { correlationid, traceparent } = JSON.parse(this.delivery.text) as { readonly correlationid?: string; readonly traceparent?: string }
    return { causationid: this.delivery.id, correlationid: correlationid ?? this.delivery.id, ...(traceparent !== undefined && { traceparent }) }
  }

  reject(reason: string | Error): never {
    throw new Rejected(typeof reason === 'string' ? reason : reason.message, { cause: reason })
  }

  retryAfter(delay: Duration, reason: string | Error = 'the handler asked for another attempt'): never {
    throw new RetryAfter(typeof reason === 'string' ? reason : reason.message, durationMs(delay, 'delay'), reason)
  }
}

/** The context of a handler. One for each event and attempt; its costly parts are made on first use. */

import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { nameOf } from '../base/names.ts'
import { nextTurn } from '../base/timers.ts'
import { type Duration, durationMs } from '../base/units.ts'
import type { BrokerHost, PublishOptions } from '../broker/broker.ts'
import { dueAt } from '../broker/due-at.ts'
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { Delivery, Emission } from '../broker/engine.ts'
import type { EventEncoder } from '../broker/event-encoder.ts'
import type { Log } from '../broker/log.ts'
import { repliesChannel, replyAddressOf, replyEvent } from '../broker/replies.ts'
import type { Channel } from '../channel/channel.ts'
import { refuseStateChannel } from '../channel/state-channel.ts'
import type { Encodable } from '../event/encode.ts'
import type { TransactionOf } from '../sql/transaction-of.ts'
import { type Cause, caused, causeOf, traced } from './cause.ts'
import type { BatchItem, ContextLog, Emit, MiddlewareContext, Reply, TxOutcome } from './consumer-types.ts'
import { contextLog } from './context-log.ts'
import { DatabaseWorks } from './database-works.ts'
import { Rejected, RetryAfter } from './failure.ts'
import type { HandledState } from './state/handled-state.ts'
import { WatchedPromise } from './watched-promise.ts'

export interface ContextHost {
  readonly name: string
  readonly encoder: EventEncoder
  readonly nowMs: () => number
  readonly log: Log
  readonly broker: Pick<BrokerHost, 'observer'>
  /** An emission after its handler had finished was refused, and the application does not wait for it. */
  lateEmission(context: DeliveryContext, channel: string): void
}

/** An emission with the channel as the handler gave it: a definition can be declared again, a name cannot. */
export interface MadeEmission extends Emission {
  readonly target: Channel | string
}

export class DeliveryContext implements MiddlewareContext {
  readonly delivery: Delivery
  /** The emissions of the handler. They take effect with the completion. */
  emissions: MadeEmission[] | null = null
  /** The results of `emit`; null when it was not called. */
  emitting: WatchedPromise<void>[] | null = null
  /** Settles after the handler, or its batch, and its settlement. Null if the handler is not asynchronous. */
  running: Promise<unknown> | null = null
  /** The same for each asynchronous `next` of a middleware. */
  layers: readonly Promise<unknown>[] | null = null
  /** For middleware: the events that are handled together with this one. */
  batch: readonly BatchItem[] | null = null
  /** For the broker's observer: what it knows of the attempt. */
  observed: unknown = null
  /** The state of its key; null where the consumer keeps none, or before it is loaded. */
  keptState: HandledState | null = null
  /** The time limit has passed: the attempt has failed with this error, and is settled when the handler has ended. */
  timedOut: Error | null = null
  readonly #host: ContextHost
  #controller: AbortController | null = null
  #aborted: Error | null = null
  #over = false
  #replied = false
  /** The channels that it emitted to. */
  #targets: Set<Channel | string> | null = null
  #log: ContextLog | null = null
  /** What its emissions say of it, once there was one. */
  #cause: Cause | null = null
  /** Its works in databases; null when `tx` was not called. */
  #works: DatabaseWorks | null = null

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

  get log(): ContextLog {
    const { channel, offset, id, type, attempt } = this.delivery
    this.#log ??= contextLog(this.#host.log, { consumer: this.#host.name, channel, offset, event: id, type, attempt })
    return this.#log
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#aborted !== null) this.#controller.abort(this.#aborted)
    }
    return this.#controller.signal
  }

  get isAborted(): boolean {
    return this.#aborted !== null
  }

  /** The event no longer belongs to this handler. */
  abort(reason: Error): void {
    this.#aborted ??= reason
    this.#controller?.abort(reason)
  }

  /** The attempt is settled: nothing can be emitted any more. */
  end(): void {
    this.#over = true
  }

  get state(): unknown {
    return this.#ofKey().value
  }

  /** @throws LEASE_LOST · CLOSED · SCHEMA_MISMATCH · INVALID_EVENT · EVENT_TOO_LARGE */
  setState(next: unknown): void {
    this.#mayEmit()
    const state = this.#ofKey()
    state.set(next)
    this.#judgedBy(state)
  }

  /** @throws LEASE_LOST · CLOSED */
  deleteState(): void {
    this.#mayEmit()
    const state = this.#ofKey()
    state.delete()
    this.#judgedBy(state)
  }

  /** Its completion waits for an asynchronous schema. */
  #judgedBy({ judging }: HandledState): void {
    if (judging === null) return
    this.emitting ??= []
    const made = WatchedPromise.watch(judging)
    this.emitting.push(made)
    void made.outcome()
  }

  #ofKey(): HandledState {
    if (this.keptState !== null) return this.keptState
    const message = `consumer "${this.consumer}" keeps no state: declare it, consumer(name, channels, { state: { schema } })`
    throw new MillraceError('INVALID_OPTION', message, { consumer: this.consumer, option: 'state' })
  }

  /** What takes effect with its completion: its emissions, and the new state of its key. */
  get effects(): readonly MadeEmission[] | null {
    const next = this.keptState === null ? null : this.keptState.next
    if (next === null || this.keptState === null) return this.emissions
    const { channel } = this.keptState
    return [...(this.emissions ?? []), { channel, event: next, dueAtMs: null, target: channel }]
  }

  /** A function that can be passed on without its context. */
  get emit(): Emit {
    return (channel, event, options) => this.#started(channel, event as Encodable | readonly Encodable[], options)
  }

  /** A function that can be passed on without its context. */
  get reply(): Reply {
    return (event) => {
      const address = replyAddressOf(this.delivery)
      if (address === null) return Promise.resolve()
      if (this.#replied)
        return Promise.reject(
          new MillraceError('INVALID_OPTION', 'the handler has replied to this event already', { option: 'reply' }),
        )
      this.#replied = true
      return this.#started(repliesChannel, replyEvent(event as Encodable, address, this.consumer))
    }
  }

  #started(
    channel: Channel | string,
    event: Encodable | readonly Encodable[],
    options?: PublishOptions,
  ): Promise<void> {
    const made = WatchedPromise.watch(this.#emit(channel, event, options))
    if (this.#over) void this.#noticed(made, typeof channel === 'string' ? channel : channel?.name)
    else {
      this.emitting ??= []
      this.emitting.push(made)
      void made.outcome()
    }
    return made
  }

  /** Resolves when all emissions are prepared. Rejects if one was refused and the handler did not use its promise. */
  async emitted(): Promise<void> {
    for (const made of this.emitting ?? []) {
      const outcome = await made.outcome()
      if (outcome.status === 'rejected' && !made.watched) throw outcome.reason
    }
  }

  /** An emission after the end is refused. If the application does not use the promise, an alarm tells of it. */
  async #noticed(made: WatchedPromise<void>, channel: string): Promise<void> {
    const { status } = await made.outcome()
    // Code that awaits it later in this turn uses it, too.
    await new Promise((resolve) => nextTurn(resolve))
    if (status === 'rejected' && !made.watched && this.#aborted === null) this.#host.lateEmission(this, channel)
  }

  async #emit(
    channel: Channel | string,
    event: Encodable | readonly Encodable[],
    options: PublishOptions = {},
  ): Promise<void> {
    this.#mayEmit()
    const { encoder, nowMs } = this.#host
    const dueAtMs = dueAt(options, nowMs(), 'ctx.emit')
    const name = nameOf(channel, 'channel')
    refuseStateChannel(name)
    await this.#prepare(channel)
    const made: EncodedEvent[] = []
    this.#cause ??= causeOf(this.delivery.id, this.delivery.text)
    const cause = this.#cause
    const { observer } = this.#host.broker
    for (const one of Array.isArray(event) ? (event as readonly Encodable[]) : [event as Encodable]) {
      const trace = observer === null ? null : observer.emitting(this, name)
      const encoded = encoder.encode(name, caused(one, trace === null ? cause : traced(cause, trace)))
      made.push(encoded instanceof Promise ? await encoded : encoded)
    }
    this.#mayEmit()
    this.emissions ??= []
    for (const one of made) this.emissions.push({ channel: name, event: one, dueAtMs, target: channel })
  }

  /**
   * A later attempt looks at the channel again, because the attempt before may have failed when the channel was
   * removed. It does not wait for the answer: servers may be unreachable, and a handler that waits holds its key.
   */
  async #prepare(channel: Channel | string): Promise<void> {
    const { encoder } = this.#host
    this.#targets ??= new Set()
    if (!encoder.isReady(channel)) await this.#unlessAborted(encoder.prepare(channel))
    else if (this.delivery.attempt > 1 && !this.#targets.has(channel)) encoder.renew(channel).catch(() => undefined)
    this.#targets.add(channel)
  }

  /** Wait, but only as long as the event belongs to this handler. */
  #unlessAborted<T>(work: Promise<T>): Promise<T> {
    const { signal } = this
    return new Promise((resolve, reject) => {
      const lost = (): void => reject(signal.reason as Error)
      signal.addEventListener('abort', lost, { once: true })
      if (signal.aborted) lost()
      work.finally(() => signal.removeEventListener('abort', lost)).then(resolve, reject)
    })
  }

  /** Declare the channels of the emissions again, because one of them was removed. */
  async renew(): Promise<void> {
    for (const target of new Set(this.emissions?.map(({ target }) => target))) await this.#host.encoder.renew(target)
  }

  /** @throws LEASE_LOST */
  refuseAborted(): void {
    if (this.#aborted !== null)
      throw new MillraceError('LEASE_LOST', this.#aborted.message, { channel: this.channel, offset: this.offset })
  }

  #mayEmit(call = 'ctx.emit'): void {
    this.refuseAborted()
    if (this.#over) {
      throw new MillraceError('CLOSED', `the handler has finished: await ${call} inside it`, {
        channel: this.channel,
        offset: this.offset,
      })
    }
  }

  async tx<Database extends object, T>(
    database: Database,
    work: (tx: TransactionOf<Database>) => T | Promise<T>,
    options: { readonly name?: string } = {},
  ): Promise<TxOutcome<T>> {
    this.#mayEmit('ctx.tx')
    const { id, text } = this.delivery
    this.#cause ??= causeOf(id, text)
    this.#works ??= new DatabaseWorks({
      entry: { consumer: this.consumer, channel: this.channel, id },
      cause: this.#cause,
      log: this.log,
      stillMine: () => this.#mayEmit('ctx.tx'),
    })
    return this.#works.run(database, work, options)
  }

  reject(reason: unknown): never {
    throw new Rejected(reason)
  }

  retryAfter(delay: Duration, reason?: unknown): never {
    throw new RetryAfter(Math.min(durationMs(delay, 'delay'), LIMITS.delayMsMax), reason)
  }
}

/** The context of a delivery; null if the delivery was settled or taken away. */
export function contextOf(delivery: Delivery): DeliveryContext | null {
  return delivery.attachment as DeliveryContext | null
}

/**
 * The consumer of a subscription: durable, with a handler that posts each event to the subscriber's URL, signed.
 *
 * `outbound/signed-message.ts` decides what the subscriber's answer means. This file decides whether the event is tried
 * again, and publishes the subscriber's replies together with the event's completion (clause 12).
 */

import { LIMITS } from '../../base/limits.ts'
import type { BrokerHost, Startable, UntypedEvent } from '../../broker/broker.ts'
import type { Delivery } from '../../broker/engine.ts'
import type { ObservedAttempt } from '../../broker/observer.ts'
import type { HandlerContext, Running } from '../../consumer/consumer-types.ts'
import { retryPolicy } from '../../consumer/retry-policy.ts'
import { textConsumer } from '../../consumer/text-consumer.ts'
import { decodeEvent } from '../../event/encode.ts'
import { decodeForPublish } from '../../event/http/decode-for-publish.ts'
import { httpModeOf } from '../../event/http/decode-http.ts'
import { carriedTrace, type TraceText } from '../../event/trace-context.ts'
import { type HttpAnswer, KeptConnections } from '../../outbound/guarded-request.ts'
import { Pace } from '../../outbound/pace.ts'
import { nextHops, STRUCTURED_UTF8, structuredBody } from '../../outbound/passed-event.ts'
import { isPermanentFailure } from '../../outbound/permanent-failure.ts'
import type { Rate } from '../../outbound/rate.ts'
import { messageId, ReceiverBusy, ReceiverGone, type Sender, sendSigned } from '../../outbound/signed-message.ts'
import type { PushSpec } from './push-spec.ts'

export interface PushHost extends Pick<Sender, 'guard' | 'resolver'> {
  readonly drainMs: number
  /** The subscriber answered 410 Gone. */
  gone(name: string, reason: string): void
}

/** The last failed attempt. */
export interface LastFailure {
  readonly at: string
  readonly message: string
}

export function consumerOf(name: string): string {
  return `push.${name}`
}

export class PushConsumer implements Startable<Running> {
  readonly name: string
  /** The stored subscription as text. If it changes, another consumer replaces this one. */
  readonly form: string
  lastFailure: LastFailure | null = null
  readonly #spec: PushSpec
  readonly #rate: Rate | null
  readonly #host: PushHost
  readonly #connections: KeptConnections
  #broker!: BrokerHost
  #pace!: Pace
  #running: Running | null = null

  constructor(name: string, spec: PushSpec, grantedPerMinute: number | null, form: string, host: PushHost) {
    this.name = name
    this.form = form
    this.#spec = spec
    this.#rate = slower(spec.rate, grantedPerMinute === null ? null : { count: grantedPerMinute, perMs: 60_000 })
    this.#host = host
    this.#connections = new KeptConnections(spec.concurrency)
  }

  async start(host: BrokerHost): Promise<Running> {
    const { channels, wants, from, concurrency, onDead, retry } = this.#spec
    this.#broker = host
    this.#pace = new Pace(host.engine.clock, (paused) => (paused ? this.#running?.pause() : this.#running?.resume()))
    const options = {
      from,
      concurrency,
      retry: retry(host.random),
      drain: this.#host.drainMs,
      ...(onDead !== null && { onDead }),
    }
    this.#running = await textConsumer(
      consumerOf(this.name),
      channels,
      options,
      (delivery, ctx) => this.#push(delivery, ctx),
      wants,
    ).start(host)
    return this.#running
  }

  async stop(): Promise<void> {
    this.#pace.stop()
    await this.#running?.stop()
    this.#connections.close()
  }

  async #push(delivery: Delivery, ctx: HandlerContext): Promise<void> {
    await this.#pace.turn(this.#rate, ctx.signal)
    try {
      const answer = await this.#send(delivery, ctx.signal)
      if (this.#spec.reply !== null) await this.#reply(this.#spec.reply, answer, delivery, ctx)
    } catch (error) {
      this.#fail(error, ctx)
    }
  }

  #send(delivery: Delivery, signal: AbortSignal): Promise<HttpAnswer> {
    const { channel, offset, text } = delivery
    const { url, headers, secrets, timeoutMs, reply } = this.#spec
    const message = {
      id: messageId('push', this.name, channel, String(offset)),
      secrets: secrets.map((value) => ({ name: `secret of subscription ${this.name}`, value })),
      url,
      method: 'POST',
      headers: {
        'user-agent': 'millrace',
        ...this.#trace(delivery),
        ...headers,
        'content-type': STRUCTURED_UTF8,
        ...(reply !== null && { prefer: 'reply' }),
      },
      body: structuredBody(text),
      timeoutMs,
      connections: this.#connections,
      ...(reply !== null && { answerBytesMax: LIMITS.pushReplyBytesMax }),
    }
    const { guard, resolver } = this.#host
    return sendSigned(message, signal, {
      guard,
      ...(resolver !== undefined && { resolver }),
      nowMs: () => this.#broker.engine.clock.now(),
    })
  }

  /** The trace of the attempt, or that of the event. */
  #trace({ attachment, text }: Delivery): Partial<TraceText> {
    const { observer } = this.#broker
    const traced = observer === null ? null : observer.requesting(attachment as ObservedAttempt)
    return traced ?? carriedTrace(text) ?? {}
  }

  /** Publishes a reply: a CloudEvent in an answer with status 200, in any content mode. A 202 is never a reply. */
  async #reply(
    channel: string,
    { status, headers, body, whole }: HttpAnswer,
    delivery: Delivery,
    ctx: HandlerContext,
  ): Promise<void> {
    const fields = headers as Readonly<Record<string, string | string[] | undefined>>
    const mode = httpModeOf(fields)
    if (status !== 200 || mode === 'none' || mode === 'foreign') return
    if (!whole) return ctx.reject(`the subscriber's reply is larger than ${LIMITS.pushReplyBytesMax} bytes`)
    const rulehops = nextHops(decodeEvent(delivery.text, delivery.offset))
    const events = decodeForPublish(fields, body).map((each) => Object.assign(each, { rulehops }) as UntypedEvent)
    if (events.length > 0) await ctx.emit(channel, events)
  }

  /** Decides about a failed attempt: retry later, or dead letter at once if another attempt cannot succeed. */
  #fail(error: unknown, ctx: HandlerContext): never {
    const message = error instanceof Error ? error.message : String(error)
    this.lastFailure = { at: new Date(this.#broker.engine.clock.now()).toISOString(), message: message.slice(0, 500) }
    if (error instanceof ReceiverBusy) {
      // The next attempt comes no sooner than the subscriber asked, and no sooner than without its answer.
      const backoffMs = retryPolicy(this.#spec.retry(this.#broker.random)).delayMs(
        ctx.attempt,
        error,
        this.#broker.random,
      )
      this.#pace.pause(Math.min(error.delayMs, LIMITS.pushHoldMsMax))
      return ctx.retryAfter(Math.max(error.delayMs, backoffMs), error)
    }
    if (error instanceof ReceiverGone) {
      this.#host.gone(this.name, error.message)
      return ctx.reject(error)
    }
    if (isPermanentFailure(error)) return ctx.reject(error as Error)
    throw error
  }
}

function slower(one: Rate | null, other: Rate | null): Rate | null {
  if (one === null || other === null) return one ?? other
  return one.count / one.perMs <= other.count / other.perMs ? one : other
}

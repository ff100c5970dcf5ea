/**
 * Makes spans by the messaging conventions: `publish` for a publish call, `create` for each event of a batch and each
 * emission, `process` for an attempt, `receive` for a pull, `retry` and `dead-letter` for how the attempt was settled.
 *
 * A `process` span has links to the sampled trace contexts of its events. The context of a single event is also its
 * parent, unless the calling code already runs in a span. A trace context that is in an event is never changed.
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 */
import type { Failure } from '../broker/failure.ts'
import type { AttemptOutcome, ObservedAttempt, Published } from '../broker/observer.ts'
import type { CloudEvent, StoredEvent } from '../event/cloud-event.ts'
import type { Encodable } from '../event/encode.ts'
import { newId } from '../event/identity.ts'
import { copyOf } from '../event/made-now.ts'
import type { TraceContext, TraceText } from '../event/trace-context.ts'
import { isOwn } from './meter.ts'
import {
  KIND,
  type OtelApi,
  type OtelAttributes,
  type OtelContext,
  type OtelSpan,
  type OtelSpanContext,
  type OtelTracer,
  STATUS_ERROR,
} from './open-telemetry-api.ts'
import { type EventTrace, isChosen, ownContext, traceOf } from './sampling.ts'
import { ATTR, OPERATION } from './semantic-conventions.ts'
import { errorCode } from './series.ts'
import { errorType } from './telemetry-observer.ts'
import type { TracedAttempt, TracedHandling, TracedPublish, Tracer } from './tracer.ts'

export interface SpanSettings {
  readonly system: string
  readonly sample: number
  readonly parent: 'auto' | 'never'
}

/**
 * The largest number of links of a span, and of events of a batch with a span of their own. The SDK keeps as many
 * links.
 */
const LINKS_MAX = 128
/** How many failed attempts are remembered, so that the next attempts can link to them. */
const FAILED_MAX = 1000
const NO_TRACE = '0'.repeat(32)

export class SpanTracer implements Tracer {
  readonly #api: OtelApi
  readonly #tracer: OtelTracer
  readonly #settings: SpanSettings
  /** The spans of failed attempts, by consumer and event. */
  readonly #failed = new Map<string, OtelSpanContext>()

  constructor(api: OtelApi, tracer: OtelTracer, settings: SpanSettings) {
    this.#api = api
    this.#tracer = tracer
    this.#settings = settings
  }

  publish(channel: string, published: Published): TracedPublish | null {
    const events = Array.isArray(published) ? (published as readonly Encodable[]) : null
    const first = events === null ? (published as Encodable) : events[0]
    if (isOwn(channel) || typeof first !== 'object' || first === null) return null
    const ambient = this.#ambient()
    if (ambient === null) return this.#publishAlone(channel, first, events)
    if (!isSampled(ambient)) return { events: null, traces: tracesOf(published, textOf(ambient)), end: () => undefined }
    return this.#send(channel, events ?? [first], this.#api.context.active())
  }

  /** Publishes without a surrounding span. The first event decides for all that are published together. */
  #publishAlone(channel: string, first: Encodable, events: readonly Encodable[] | null): TracedPublish | null {
    const own = ownContext(first)
    const known = own === 'unreadable' ? null : own
    if (known !== null) {
      if (!known.sampled) return null
      return this.#send(
        channel,
        events ?? [first],
        this.#parentOf(events === null || events.length === 1 ? known : null),
      )
    }
    const chain = (first as { readonly correlationid?: unknown }).correlationid ?? first.id
    if (typeof chain === 'string') {
      if (!isChosen(chain, this.#settings.sample)) return null
      return this.#send(channel, events ?? [first], this.#api.ROOT_CONTEXT)
    }
    // The id is made here, so that whoever handles the event decides by the same id.
    const named = withId(first)
    const renamed = events === null ? named : [named, ...events.slice(1)]
    if (!isChosen(named.id, this.#settings.sample)) return { events: renamed, traces: null, end: () => undefined }
    const sent = this.#send(channel, [renamed].flat(), this.#api.ROOT_CONTEXT)
    return { ...sent, events: renamed }
  }

  #send(channel: string, events: readonly Encodable[], parent: OtelContext): TracedPublish {
    const own = events.map((event) => ownContext(event ?? {}))
    const [first] = events as readonly [Encodable]
    const isAlone = events.length === 1
    const span = this.#start(OPERATION.publish, 'send', channel, isAlone && own[0] === null, parent, {
      attributes: isAlone ? eventAttributes(first) : { [ATTR.batchCount]: events.length },
      links: own.flatMap((each) => (typeof each === 'object' && each?.sampled === true ? [remote(each)] : [])),
    })
    return { events: null, traces: this.#injected(channel, events, own, span), end: (error) => endPublish(span, error) }
  }

  #injected(
    channel: string,
    events: readonly Encodable[],
    own: readonly unknown[],
    span: OtelSpan,
  ): readonly (TraceText | null)[] {
    const text = textOf(span.spanContext())
    if (events.length === 1) return own.map((each) => (each === null ? text : null))
    const context = this.#api.trace.setSpan(this.#api.ROOT_CONTEXT, span)
    return events.map((event, at) => {
      if (own[at] !== null) return null
      if (at >= LINKS_MAX || !isSampled(span.spanContext())) return text
      return this.#create(channel, context, eventAttributes(event))
    })
  }

  /** Make a span without duration for the creation of an event. */
  #create(channel: string, context: OtelContext, attributes: OtelAttributes): TraceText {
    const span = this.#start(OPERATION.create, 'create', channel, true, context, { attributes, links: [] })
    span.end()
    return textOf(span.spanContext())
  }

  handle(consumer: string, event: StoredEvent, attempt: ObservedAttempt): TracedHandling | null {
    const { delivery } = attempt
    if (isOwn(delivery.channel)) return null
    const { sample } = this.#settings
    const trace = traceOf(event, delivery.id, sample, delivery.text)
    return trace === null ? null : this.#process(consumer, event, [attempt], [trace], false)
  }

  handleBatch(
    consumer: string,
    events: readonly StoredEvent[],
    attempts: readonly ObservedAttempt[],
  ): TracedHandling | null {
    const [event] = events
    const channel = attempts[0]?.delivery.channel
    if (event === undefined || channel === undefined || isOwn(channel)) return null
    const { sample } = this.#settings
    const traces = events.flatMap((each, at) => traceOf(each, each.id, sample, attempts[at]?.delivery.text ?? '') ?? [])
    return traces.length > 0 ? this.#process(consumer, event, attempts, traces, true) : null
  }

  receive(consumer: string, attempts: readonly ObservedAttempt[]): TracedAttempt | null {
    const [first] = attempts
    if (first === undefined || isOwn(first.delivery.channel)) return null
    const traces = attempts.flatMap(({ delivery }) => {
      const { id, text } = delivery
      return traceOf(delivery as unknown as StoredEvent, id, this.#settings.sample, text) ?? []
    })
    if (traces.length === 0) return null
    const alone = attempts.length === 1 ? (traces[0] ?? null) : null
    const ambient = this.#ambient()
    const parent =
      ambient === null ? this.#parentOf(alone?.context ?? null, alone?.tracestate) : this.#api.context.active()
    const span = this.#start(OPERATION.receive, 'receive', first.delivery.channel, false, parent, {
      attributes: {
        [ATTR.consumerGroup]: consumer,
        ...(attempts.length === 1 ? { [ATTR.messageId]: first.delivery.id } : { [ATTR.batchCount]: attempts.length }),
      },
      links: traces.flatMap(({ context }) => (context === null ? [] : [remote(context)])),
    })
    span.end()
    const context = this.#api.trace.setSpan(parent, span)
    return {
      emitting: () => null,
      context: () => textOf(span.spanContext()),
      settled: (attempt, outcome, failure) => {
        if (failure !== null) this.#settle(consumer, attempt, outcome, failure, context)
      },
    }
  }

  #process(
    consumer: string,
    event: StoredEvent,
    attempts: readonly ObservedAttempt[],
    traces: readonly EventTrace[],
    batch: boolean,
  ): TracedHandling {
    const { delivery } = attempts[0] as ObservedAttempt
    const ambient = this.#ambient()
    const [trace] = traces as readonly [EventTrace]
    const parent =
      ambient !== null ? this.#api.context.active() : this.#parentOf(batch ? null : trace.context, trace.tracestate)
    const before = attempts.flatMap((each) => this.#failed.get(keyOf(consumer, each)) ?? [])
    const creations = traces.flatMap(({ context }) => (context === null ? [] : [remote(context)]))
    const span = this.#start(OPERATION.process, 'process', delivery.channel, false, parent, {
      attributes: {
        [ATTR.consumerGroup]: consumer,
        ...(batch ? { [ATTR.batchCount]: attempts.length } : eventAttributes(event, delivery.id)),
        'millrace.attempt': delivery.attempt,
        ...(delivery.redriven && { 'millrace.redriven': true }),
      },
      links: [...creations, ...before.map((context) => ({ context }))],
    })
    const context = this.#api.trace.setSpan(parent, span)
    let left = attempts.length
    return {
      within: (handle) => this.#api.context.with(context, handle),
      emitting: (channel) => {
        if (!isSampled(span.spanContext())) return textOf(span.spanContext())
        const inner = this.#ambient() === null ? context : this.#api.context.active()
        return this.#create(channel, inner, { [ATTR.conversationId]: event.correlationid ?? delivery.id })
      },
      context: () => textOf(span.spanContext()),
      settled: (attempt, outcome, failure) => {
        this.#settled(consumer, attempt, outcome, failure, span, context)
        left--
        if (left === 0) span.end()
      },
    }
  }

  #settled(
    consumer: string,
    attempt: ObservedAttempt,
    outcome: AttemptOutcome,
    failure: Failure | null,
    span: OtelSpan,
    context: OtelContext,
  ): void {
    const key = keyOf(consumer, attempt)
    this.#failed.delete(key)
    if (failure === null) return
    span.setAttribute(ATTR.errorType, errorType(failure))
    span.setStatus({ code: STATUS_ERROR, message: failure.message })
    this.#settle(consumer, attempt, outcome, failure, context)
    if (outcome !== 'retried') return
    this.#failed.set(key, span.spanContext())
    if (this.#failed.size > FAILED_MAX) this.#failed.delete(this.#failed.keys().next().value as string)
  }

  /** Make a span for a settlement of a failed attempt. */
  #settle(
    consumer: string,
    { delivery }: ObservedAttempt,
    outcome: AttemptOutcome,
    failure: Failure,
    context: OtelContext,
  ): void {
    if (outcome !== 'retried' && outcome !== 'dead-lettered') return
    const name = outcome === 'retried' ? 'retry' : 'dead-letter'
    const attributes = {
      [ATTR.consumerGroup]: consumer,
      [ATTR.messageId]: delivery.id,
      [ATTR.errorType]: errorType(failure),
    }
    this.#start(name, 'settle', delivery.channel, false, context, { attributes, links: [] }).end()
  }

  #start(
    name: string,
    type: 'send' | 'create' | 'receive' | 'process' | 'settle',
    channel: string,
    produces: boolean,
    context: OtelContext,
    more: { readonly attributes: OtelAttributes; readonly links: readonly { context: OtelSpanContext }[] },
  ): OtelSpan {
    const kind = type === 'process' ? KIND.consumer : produces ? KIND.producer : KIND.client
    const attributes: OtelAttributes = {
      [ATTR.system]: this.#settings.system,
      [ATTR.operationName]: name,
      [ATTR.operationType]: type,
      [ATTR.destination]: channel,
      ...more.attributes,
    }
    return this.#tracer.startSpan(
      `${name} ${channel}`,
      { kind, attributes, links: more.links.slice(0, LINKS_MAX) },
      context,
    )
  }

  #parentOf(context: TraceContext | null, tracestate?: string): OtelContext {
    if (context === null || this.#settings.parent === 'never') return this.#api.ROOT_CONTEXT
    const traceState = tracestate === undefined ? {} : { traceState: this.#api.createTraceState(tracestate) }
    return this.#api.trace.setSpanContext(this.#api.ROOT_CONTEXT, { ...remote(context).context, ...traceState })
  }

  /** The span in which the calling code runs; null if there is none. */
  #ambient(): OtelSpanContext | null {
    const active = this.#api.context.active()
    if (active === this.#api.ROOT_CONTEXT) return null
    const context = this.#api.trace.getSpan(active)?.spanContext()
    return context === undefined || context.traceId === NO_TRACE ? null : context
  }
}

function isSampled({ traceFlags }: OtelSpanContext): boolean {
  return (traceFlags & 1) !== 0
}

/**
 * The span context of another process. Its sampled flag is set, because links and parents are only made of sampled
 * contexts.
 */
function remote({ traceId, spanId }: TraceContext): { context: OtelSpanContext } {
  return { context: { traceId, spanId, traceFlags: 1, isRemote: true } }
}

function textOf({ traceId, spanId, traceFlags, traceState }: OtelSpanContext): TraceText {
  const tracestate = traceState?.serialize()
  return {
    traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
    ...(tracestate !== undefined && tracestate !== '' && { tracestate }),
  }
}

function keyOf(consumer: string, { delivery }: ObservedAttempt): string {
  return `${consumer} ${delivery.channel} ${delivery.offset}`
}

function eventAttributes(event: Encodable | StoredEvent, storedId?: string): OtelAttributes {
  const { id = storedId, source, type, subject, correlationid } = event as { readonly [Name in keyof Named]?: unknown }
  const attributes: OtelAttributes = {}
  if (typeof id === 'string') {
    attributes[ATTR.messageId] = id
    attributes[ATTR.eventId] = id
  }
  if (typeof correlationid === 'string') attributes[ATTR.conversationId] = correlationid
  if (typeof source === 'string') attributes[ATTR.eventSource] = source
  if (typeof type === 'string') attributes[ATTR.eventType] = type
  if (typeof subject === 'string') attributes[ATTR.eventSubject] = subject
  return attributes
}

type Named = Pick<CloudEvent, 'id' | 'source' | 'type' | 'subject' | 'correlationid'>

function withId(event: Encodable): Encodable & { readonly id: string } {
  return copyOf(event, { ...event, id: newId() })
}

/** The same context for each event that has none. */
function tracesOf(published: Published, text: TraceText): (TraceText | null)[] {
  return [published].flat().map((event) => (ownContext(event ?? {}) === null ? text : null))
}

function endPublish(span: OtelSpan, error: unknown): void {
  if (error !== null) {
    span.setAttribute(ATTR.errorType, errorCode(error))
    span.setStatus({ code: STATUS_ERROR, message: error instanceof Error ? error.message : String(error) })
  }
  span.end()
}

/**
 * Observes a broker: it always counts, and makes spans if there is a tracer. There is one for each broker, made when
 * metrics are first read or when a tracer is given. An error that the tracer throws is logged, and affects no publish
 * and no attempt.
 */
import { isMillraceError } from '../base/errors.ts'
import { namedMessageOf } from '../base/thrown.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import type { Failure } from '../broker/failure.ts'
import type { AttemptOutcome, BrokerObserver, ObservedAttempt } from '../broker/observer.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { Encodable } from '../event/encode.ts'
import type { TraceText } from '../event/trace-context.ts'
import { type ConsumeSeries, countFailure, Meter } from './meter.ts'

type Traces = readonly (TraceText | null)[] | null

/** A publish that is traced. */
export interface TracedPublish {
  readonly traces: Traces
  /** `error` is null if the events were stored. */
  end(error: unknown): void
}

/** A traced call of a handler: one attempt, or a batch of them. */
export interface TracedHandling {
  /** Call the handler in the context of the span. */
  within<Result>(handle: () => Result): Result
  emitting(channel: string): TraceText | null
  settled(attempt: ObservedAttempt, outcome: AttemptOutcome, failure: Failure | null): void
}

/** Makes spans. Its methods return null for publishes and attempts that are not traced. */
export interface Tracer {
  publish(channel: string, events: readonly Encodable[]): TracedPublish | null
  handle(
    consumer: string,
    events: readonly StoredEvent[],
    attempts: readonly ObservedAttempt[],
    batch: boolean,
  ): TracedHandling | null
}

/** What is known of an attempt, from the call of its handler to its settlement. */
interface Observed {
  readonly startedMs: number
  readonly series: ConsumeSeries | null
  readonly traced: TracedHandling | null
}

const observers = new WeakMap<BrokerCore, TelemetryObserver>()

/** The observer of a broker. It counts from the first call on. */
export function observerOf(core: BrokerCore): TelemetryObserver {
  let observer = observers.get(core)
  if (observer === undefined) {
    observer = new TelemetryObserver(core)
    observers.set(core, observer)
    core.observer = observer
  }
  return observer
}

export class TelemetryObserver implements BrokerObserver {
  readonly meter: Meter = new Meter()
  tracer: Tracer | null = null
  readonly #core: BrokerCore

  constructor(core: BrokerCore) {
    this.#core = core
  }

  async publish<Result>(
    channel: string,
    events: readonly Encodable[],
    perform: (traces: Traces) => Promise<Result>,
  ): Promise<Result> {
    const startedMs = performance.now()
    const traced = this.guarded(() => this.tracer?.publish(channel, events) ?? null, null)
    try {
      const result = await perform(traced?.traces ?? null)
      const series = this.meter.ofChannel(channel)
      if (series !== null) {
        series.messages += events.length
        series.calls.record((performance.now() - startedMs) / 1000)
      }
      if (traced !== null) this.guarded(() => traced.end(null), undefined)
      return result
    } catch (error) {
      const series = this.meter.ofChannel(channel)
      if (series !== null) countFailure(series.failed, isMillraceError(error) ? error.code : 'Error')
      if (traced !== null) this.guarded(() => traced.end(error), undefined)
      throw error
    }
  }

  committed(channel: string, events: number, ms: number): void {
    this.meter.ofChannel(channel)?.commits.record(ms / 1000, events)
  }

  handle(
    consumer: string,
    events: readonly StoredEvent[],
    attempts: readonly ObservedAttempt[],
    batch: boolean,
    handle: () => unknown,
  ): unknown {
    const startedMs = performance.now()
    const { tracer } = this
    const traced = tracer === null ? null : this.guarded(() => tracer.handle(consumer, events, attempts, batch), null)
    for (const attempt of attempts) {
      const series = this.meter.ofConsumer(consumer, attempt.delivery.channel)
      if (series !== null) series.begun++
      attempt.observed = { startedMs, series, traced } satisfies Observed
    }
    return traced === null ? handle() : this.#within(traced, handle)
  }

  emitting({ observed }: ObservedAttempt, channel: string): TraceText | null {
    const traced = (observed as Observed | null)?.traced ?? null
    return traced === null ? null : this.guarded(() => traced.emitting(channel), null)
  }

  settled(consumer: string, attempt: ObservedAttempt, outcome: AttemptOutcome, failure: Failure | null): void {
    const observed = attempt.observed as Observed | null
    attempt.observed = null
    if (observed === null) this.#unhandled(consumer, attempt, outcome, failure)
    else {
      const { series, traced, startedMs } = observed
      if (series !== null) {
        series.ended++
        series.attempts.record((performance.now() - startedMs) / 1000)
        count(series, outcome, failure)
      }
      if (traced !== null) this.guarded(() => traced.settled(attempt, outcome, failure), undefined)
    }
    if (outcome !== 'completed' || attempt.emissions === null) return
    for (const emission of attempt.emissions) {
      const series = this.meter.ofChannel(emission.channel)
      if (series !== null) series.messages++
    }
  }

  buried(consumer: string, channel: string): void {
    const series = this.meter.ofConsumer(consumer, channel)
    if (series !== null) series.deadLettered++
  }

  /**
   * Count an attempt without a known handler call: the event's text is invalid, its schema refused it, or the handler
   * was called before this observer existed.
   */
  #unhandled(consumer: string, attempt: ObservedAttempt, outcome: AttemptOutcome, failure: Failure | null): void {
    const series = this.meter.ofConsumer(consumer, attempt.delivery.channel)
    if (series !== null) count(series, outcome, failure)
  }

  /**
   * Call the handler within its span, exactly once, also if the tracer throws. Errors of the tracer do not reach the
   * handler's result.
   */
  #within(traced: TracedHandling, handle: () => unknown): unknown {
    let outcome: { readonly result: unknown } | { readonly error: unknown } | null = null
    const once = (): unknown => {
      try {
        outcome = { result: handle() }
        return outcome.result
      } catch (error) {
        outcome = { error }
        return undefined
      }
    }
    this.guarded(() => traced.within(once), undefined)
    const ended = outcome as { readonly result: unknown } | { readonly error: unknown } | null
    if (ended === null) return handle()
    if ('error' in ended) throw ended.error
    return ended.result
  }

  /** Call the SDK. If it throws, log that, and return `otherwise`. */
  guarded<Result>(trace: () => Result, otherwise: Result): Result {
    try {
      return trace()
    } catch (error) {
      this.#core.log.repeated('warn', 'telemetry failed', () => [
        'the OpenTelemetry SDK threw: what it was told is lost, and nothing else',
        { error: namedMessageOf(error) },
      ])
      return otherwise
    }
  }
}

function count(series: ConsumeSeries, outcome: AttemptOutcome, failure: Failure | null): void {
  if (outcome === 'completed') series.completed++
  else if (outcome === 'retried') series.retried++
  else if (outcome === 'dead-lettered') series.deadLettered++
  else if (outcome === 'released') series.released++
  else series.lost++
  if (failure !== null) countFailure(series.failed, errorType(failure))
}

/** The conventions' `error.type`: the error's code, or without one its name. */
export function errorType({ code, name }: Failure): string {
  return code ?? name
}

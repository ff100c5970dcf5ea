/**
 * Observes a broker: it always counts, and makes spans if there is a tracer. There is one for each broker, made when
 * metrics are first read or when a tracer is given. An error that the tracer throws is logged, and affects no publish
 * and no attempt.
 *
 * What is neither measured nor traced, as nearly all events are at high rates, gets no object of its own.
 */
import { namedMessageOf } from '../base/thrown.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import type { Failure } from '../broker/failure.ts'
import type {
  AttemptOutcome,
  BrokerObserver,
  HandlerCall,
  ObservedAttempt,
  PublishCall,
  Published,
} from '../broker/observer.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { TraceText } from '../event/trace-context.ts'
import { isOwn, Meter } from './meter.ts'
import { ObservedPublish } from './observed-publish.ts'
import { OPERATION } from './semantic-conventions.ts'
import { type ConsumeSeries, countFailure } from './series.ts'
import type { TracedAttempt, TracedHandling, TracedPublish, Tracer } from './tracer.ts'

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

/** A publish to one of Millrace's own channels, which are not counted. */
const UNCOUNTED: PublishCall = { events: null, traces: null, storing: () => undefined, ended: () => undefined }

/** An attempt that is measured or traced. Any other attempt only has its series. */
class Observed {
  readonly series: ConsumeSeries | null
  readonly startedMs: number
  readonly weight: number
  readonly traced: TracedAttempt | null

  constructor(series: ConsumeSeries | null, traced: TracedAttempt | null) {
    this.series = series
    this.startedMs = series === null ? 0 : series.durations.beginMeasured()
    this.weight = series === null ? 0 : series.durations.takeWeight()
    this.traced = traced
  }
}

export class TelemetryObserver implements BrokerObserver {
  readonly meter: Meter = new Meter()
  tracer: Tracer | null = null
  readonly #core: BrokerCore

  constructor(core: BrokerCore) {
    this.#core = core
  }

  publishing(channel: string, events: Published): PublishCall {
    if (isOwn(channel)) return UNCOUNTED
    const traced = this.#tracedPublish(channel, events)
    const series = this.meter.known(channel) ?? null
    if (series === null || traced !== null || Array.isArray(events))
      return new ObservedPublish(this, channel, series, Array.isArray(events) ? events.length : 1, traced)
    return series.durations.skips() ? series.unmeasured : new ObservedPublish(this, channel, series, 1, null)
  }

  #tracedPublish(channel: string, events: Published): TracedPublish | null {
    if (this.tracer === null) return null
    try {
      return this.tracer.publish(channel, events)
    } catch (error) {
      this.#failed(error)
      return null
    }
  }

  handling(consumer: string, event: StoredEvent, attempt: ObservedAttempt): HandlerCall | null {
    let traced: TracedHandling | null = null
    if (this.tracer !== null) {
      try {
        traced = this.tracer.handle(consumer, event, attempt)
      } catch (error) {
        this.#failed(error)
      }
    }
    this.#begun(consumer, attempt, traced)
    return traced === null ? null : this.#guardedCall(traced)
  }

  handlingBatch(
    consumer: string,
    events: readonly StoredEvent[],
    attempts: readonly ObservedAttempt[],
  ): HandlerCall | null {
    const { tracer } = this
    const traced = tracer === null ? null : this.guarded(() => tracer.handleBatch(consumer, events, attempts), null)
    for (const attempt of attempts) this.#begun(consumer, attempt, traced)
    return traced === null ? null : this.#guardedCall(traced)
  }

  receiving(consumer: string, attempts: readonly ObservedAttempt[]): void {
    const { tracer } = this
    const channels = tracer === null ? [] : new Set(attempts.map(({ delivery }) => delivery.channel))
    const traced = new Map<string, TracedAttempt | null>()
    for (const channel of channels) {
      const ofChannel = attempts.filter(({ delivery }) => delivery.channel === channel)
      traced.set(
        channel,
        this.guarded(() => tracer?.receive(consumer, ofChannel) ?? null, null),
      )
    }
    for (const attempt of attempts)
      this.#begun(consumer, attempt, traced.get(attempt.delivery.channel) ?? null, OPERATION.receive)
  }

  #begun(
    consumer: string,
    attempt: ObservedAttempt,
    traced: TracedAttempt | null,
    operation: ConsumeSeries['operation'] = OPERATION.process,
  ): void {
    const series = this.meter.ofConsumer(consumer, attempt.delivery.channel, operation)
    if (series !== null) series.begun++
    const isPlain = traced === null && (series === null || series.durations.skips())
    attempt.observed = isPlain ? series : new Observed(series, traced)
  }

  emitting({ observed }: ObservedAttempt, channel: string): TraceText | null {
    const traced = observed instanceof Observed ? observed.traced : null
    return traced === null ? null : this.guarded(() => traced.emitting(channel), null)
  }

  requesting({ observed }: ObservedAttempt): TraceText | null {
    const traced = observed instanceof Observed ? observed.traced : null
    return traced === null ? null : this.guarded(() => traced.context(), null)
  }

  settled(consumer: string, attempt: ObservedAttempt, outcome: AttemptOutcome, failure: Failure | null): void {
    const { observed } = attempt
    attempt.observed = null
    if (observed instanceof Observed) this.#observedSettled(observed, attempt, outcome, failure)
    else {
      const handled = observed as ConsumeSeries | null
      if (handled !== null) {
        handled.ended++
        handled.durations.endUnmeasured(outcome === 'completed')
      }
      // Without a known call of the handler, the event's text is invalid, its schema refused it, or the handler was
      // called before this observer existed.
      if (outcome !== 'completed') {
        const series = handled ?? this.meter.ofConsumer(consumer, attempt.delivery.channel)
        if (series !== null) count(series, outcome, failure)
      }
    }
    if (outcome !== 'completed' || attempt.emissions === null) return
    for (const emission of attempt.emissions) {
      const series = this.meter.ofChannel(emission.channel)
      if (series !== null) series.messages++
    }
  }

  #observedSettled(
    { series, startedMs, weight, traced }: Observed,
    attempt: ObservedAttempt,
    outcome: AttemptOutcome,
    failure: Failure | null,
  ): void {
    if (series !== null) {
      series.ended++
      const waitedMs = outcome === 'completed' ? this.#sinceStoredMs(attempt) : Number.NaN
      series.durations.endMeasured(weight, performance.now() - startedMs, waitedMs)
      count(series, outcome, failure)
    }
    if (traced !== null) this.guarded(() => traced.settled(attempt, outcome, failure), undefined)
  }

  /** The clocks of two machines can differ. */
  #sinceStoredMs({ delivery }: ObservedAttempt): number {
    return Math.max(0, this.#core.engine.clock.now() - delivery.timeMs)
  }

  buried(consumer: string, channel: string): void {
    const series = this.meter.ofConsumer(consumer, channel)
    if (series !== null) series.deadLettered++
  }

  /**
   * Calls the handler within its span, exactly once, also if the tracer throws. Errors of the tracer do not reach the
   * handler's result.
   */
  #guardedCall(traced: TracedHandling): HandlerCall {
    return {
      within: <Result>(handle: () => Result): Result => {
        let outcome: { readonly result: Result } | { readonly error: unknown } | null = null
        const once = (): void => {
          try {
            outcome = { result: handle() }
          } catch (error) {
            outcome = { error }
          }
        }
        this.guarded(() => traced.within(once), undefined)
        const ended = outcome as { readonly result: Result } | { readonly error: unknown } | null
        if (ended === null) return handle()
        if ('error' in ended) throw ended.error
        return ended.result
      },
    }
  }

  /** Call the SDK. If it throws, log that, and return `otherwise`. */
  guarded<Result>(trace: () => Result, otherwise: Result): Result {
    try {
      return trace()
    } catch (error) {
      this.#failed(error)
      return otherwise
    }
  }

  #failed(error: unknown): void {
    this.#core.log.repeated('warn', 'telemetry failed', () => [
      'the OpenTelemetry SDK threw: what it was told is lost, and nothing else',
      { error: namedMessageOf(error) },
    ])
  }
}

function count(series: ConsumeSeries, outcome: AttemptOutcome, failure: Failure | null): void {
  if (outcome === 'retried') series.retried++
  else if (outcome === 'dead-lettered') series.deadLettered++
  if (failure !== null) countFailure(series.failed, errorType(failure))
}

/** The conventions' `error.type`: the error's code, or without one its name. */
export function errorType({ code, name }: Failure): string {
  return code ?? name
}

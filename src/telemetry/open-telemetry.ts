/** `openTelemetry(api)`: makes the value of `connect`'s option `telemetry`. */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import { knownOptions } from '../base/units.ts'
import { VERSION } from '../base/version.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import type { Telemetry } from '../broker/telemetry.ts'
import type { OtelApi } from './open-telemetry-api.ts'
import { HistogramProducer, type MeteredBroker, type OtelMetricProducer, type Temporality } from './otel-histograms.ts'
import { observeMetrics } from './otel-metrics.ts'
import { systemOf } from './semantic-conventions.ts'
import { SpanTracer } from './span-tracer.ts'
import { observerOf } from './telemetry-observer.ts'

const SCOPE = 'millrace'

export interface OpenTelemetryOptions {
  /**
   * The share of chains of events that is traced, from 0 to 1. An event with a trace context, or one that is published
   * within a span, follows the sampled flag of that context instead. Millrace decides before it calls the SDK, so leave
   * the SDK's sampler at its default.
   * @default 1
   */
  readonly sample?: number
  /**
   * `auto`: the span of a handler is a child of the span that published its event, except for a batch handler. `never`:
   * it begins a trace of its own. In both cases it has a link to the publishing span.
   * @default 'auto'
   */
  readonly parent?: 'auto' | 'never'
  /** Whether metrics are reported, by observable instruments. @default true */
  readonly metrics?: boolean
}

export interface MetricProducerOptions {
  /**
   * `cumulative`: each histogram counts from when its broker was opened. `delta`: it counts from the last collection,
   * as some backends want it.
   * @default 'cumulative'
   */
  readonly temporality?: Temporality
}

/** What `openTelemetry` returns. It can be given to several brokers. */
export interface OpenTelemetry extends Telemetry {
  /**
   * A source of the histograms of the brokers, for the option `metricProducers` of a metric reader of
   * `@opentelemetry/sdk-metrics` 2. Each reader needs one of its own.
   * @throws INVALID_OPTION when an option is wrong, or metrics are turned off
   * @example
   * ```ts
   * import * as api from '@opentelemetry/api'
   * import { ConsoleMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
   * import { openTelemetry } from 'millrace/otel'
   *
   * const telemetry = openTelemetry(api)
   * const reader = new PeriodicExportingMetricReader({
   *   exporter: new ConsoleMetricExporter(),
   *   metricProducers: [telemetry.metricProducer()],
   * })
   * const provider = new MeterProvider({ readers: [reader] })
   * await provider.shutdown()
   * ```
   */
  metricProducer(options?: MetricProducerOptions): OtelMetricProducer
}

/**
 * Spans and metrics by OpenTelemetry's messaging conventions. Pass the API object of your application, at which its SDK
 * is registered; Millrace does not contain one. An error that the SDK throws is logged, and affects no event.
 *
 * @throws INVALID_OPTION when the API object lacks a part, or an option is wrong
 * @example
 * ```ts
 * import * as api from '@opentelemetry/api'
 * import { connect } from 'millrace'
 * import { openTelemetry } from 'millrace/otel'
 *
 * const broker = await connect('memory:', { telemetry: openTelemetry(api, { sample: 0.01 }) })
 * await broker.close()
 * ```
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/
 */
export function openTelemetry(api: OtelApi, options: OpenTelemetryOptions = {}): OpenTelemetry {
  checkApi(api)
  knownOptions(options, ['sample', 'parent', 'metrics'], 'openTelemetry')
  const { sample = 1, parent = 'auto', metrics = true } = options
  if (typeof sample !== 'number' || !(sample >= 0 && sample <= 1)) refuse('sample', 'a number from 0 to 1', sample)
  if (parent !== 'auto' && parent !== 'never') refuse('parent', '"auto" or "never"', parent)
  if (typeof metrics !== 'boolean') refuse('metrics', 'true or false', metrics)
  const brokers = new Set<MeteredBroker>()
  return {
    observe: (core: BrokerCore) => {
      const observer = observerOf(core)
      const system = systemOf(core.engine.name)
      const broker = { system, meter: observer.meter, sinceMs: Date.now() }
      if (metrics) brokers.add(broker)
      const end = observer.guarded(() => {
        observer.tracer = new SpanTracer(api, api.trace.getTracer(SCOPE, VERSION), { system, sample, parent })
        return metrics ? observeMetrics(api.metrics.getMeter(SCOPE, VERSION), observer.meter, core) : noMetrics
      }, noMetrics)
      return () => {
        brokers.delete(broker)
        end()
      }
    },
    metricProducer: (given = {}) => {
      knownOptions(given, ['temporality'], 'metricProducer')
      const { temporality = 'cumulative' } = given
      if (temporality !== 'cumulative' && temporality !== 'delta')
        refuse('temporality', '"cumulative" or "delta"', temporality)
      if (!metrics) refuse('metrics', 'true for a metric producer', metrics)
      return new HistogramProducer(brokers, temporality)
    },
  }
}

function noMetrics(): void {
  // There is nothing to end.
}

function checkApi(api: OtelApi): void {
  const has = (value: unknown, method: string): boolean =>
    typeof (value as Readonly<Record<string, unknown>> | undefined)?.[method] === 'function'
  const complete =
    typeof api === 'object' &&
    api !== null &&
    has(api.trace, 'setSpanContext') &&
    has(api.context, 'active') &&
    has(api.metrics, 'getMeter') &&
    has(api, 'createTraceState')
  if (!complete) refuse('api', "the API object: import * as api from '@opentelemetry/api', version 1.3 or later", api)
}

function refuse(option: string, what: string, given: unknown): never {
  throw new MillraceError('INVALID_OPTION', `openTelemetry: ${option} must be ${what}; it is ${shown(given)}`, {
    option,
  })
}

/** `openTelemetry(api)`: makes the value of `connect`'s option `telemetry`. */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import { knownOptions } from '../base/units.ts'
import { VERSION } from '../base/version.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import type { Telemetry } from '../broker/telemetry.ts'
import type { OtelApi } from './open-telemetry-api.ts'
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
export function openTelemetry(api: OtelApi, options: OpenTelemetryOptions = {}): Telemetry {
  checkApi(api)
  knownOptions(options, ['sample', 'parent', 'metrics'], 'openTelemetry')
  const { sample = 1, parent = 'auto', metrics = true } = options
  if (typeof sample !== 'number' || !(sample >= 0 && sample <= 1)) refuse('sample', 'a number from 0 to 1', sample)
  if (parent !== 'auto' && parent !== 'never') refuse('parent', '"auto" or "never"', parent)
  if (typeof metrics !== 'boolean') refuse('metrics', 'true or false', metrics)
  return {
    observe: (core: BrokerCore) => {
      const observer = observerOf(core)
      const system = systemOf(core.engine.name)
      return observer.guarded(() => {
        observer.tracer = new SpanTracer(api, api.trace.getTracer(SCOPE, VERSION), { system, sample, parent })
        return metrics ? observeMetrics(api.metrics.getMeter(SCOPE, VERSION), observer.meter, core) : noMetrics
      }, noMetrics)
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

/**
 * Counters and gauges by observable instruments: they are read when the SDK exports, and cost nothing for an event.
 * Histograms have no observable instrument: see `otel-histograms.ts`.
 */
import { LIMITS } from '../base/limits.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import type { Meter } from './meter.ts'
import type { OtelAttributes, OtelMeter, OtelObservableResult } from './open-telemetry-api.ts'
import { ATTR, METRIC, OPERATION, systemOf } from './semantic-conventions.ts'

/** Starts reporting. Returns a function that ends it. */
export function observeMetrics(to: OtelMeter, meter: Meter, core: BrokerCore): () => void {
  const counter = (name: string, description: string, unit: string): object =>
    to.createObservableCounter(name, { description, unit })
  const gauge = (name: string, description: string, unit: string): object =>
    to.createObservableGauge(name, { description, unit })
  const own = {
    sent: counter(METRIC.sent, 'Events that this process published or emitted.', '{message}'),
    consumed: counter(METRIC.consumed, 'Events given to handlers, each attempt.', '{message}'),
    retries: counter('millrace.consumer.retries', 'Attempts that failed and are tried again.', '{attempt}'),
    deadLettered: counter('millrace.consumer.dead_lettered', 'Events that became dead letters.', '{message}'),
    inFlight: gauge('millrace.consumer.in_flight', 'Attempts that run in this process.', '{message}'),
    lag: gauge('millrace.consumer.lag', 'Events that a consumer has not settled.', '{message}'),
    lagTime: gauge('millrace.consumer.lag.time', 'Age of the oldest event that is not settled.', 's'),
    deadLetters: gauge('millrace.consumer.dead_letters', 'Dead letters of a consumer.', '{message}'),
  }
  const system = { [ATTR.system]: systemOf(core.engine.name) }
  const report = async (result: OtelObservableResult): Promise<void> => {
    counted(result, own, meter, system)
    if (core.closed) return
    const { consumers } = await core.engine.describe()
    for (const { name, channels, deadLetters } of consumers.slice(0, LIMITS.metricSeriesMax)) {
      const seen = channels.filter(({ channel }) => !channel.startsWith('$'))
      if (seen.length === 0) continue
      const group = { [ATTR.consumerGroup]: name }
      result.observe(own.deadLetters, deadLetters, group)
      for (const { channel, lag, lagMs } of seen) {
        result.observe(own.lag, lag, { ...group, [ATTR.destination]: channel })
        result.observe(own.lagTime, lagMs / 1000, { ...group, [ATTR.destination]: channel })
      }
    }
  }
  const instruments = Object.values(own)
  to.addBatchObservableCallback(report, instruments)
  return () => to.removeBatchObservableCallback(report, instruments)
}

function counted(
  result: OtelObservableResult,
  own: Readonly<Record<'sent' | 'consumed' | 'retries' | 'deadLettered' | 'inFlight', object>>,
  meter: Meter,
  system: OtelAttributes,
): void {
  for (const { channel, messages, failed } of meter.published) {
    const attributes = { ...system, [ATTR.operationName]: OPERATION.publish, [ATTR.destination]: channel }
    result.observe(own.sent, messages, attributes)
    for (const [error, count] of failed) result.observe(own.sent, count, { ...attributes, [ATTR.errorType]: error })
  }
  for (const series of meter.consumed) {
    const of = { [ATTR.consumerGroup]: series.consumer, [ATTR.destination]: series.channel }
    const attributes = { ...system, [ATTR.operationName]: series.operation, ...of }
    result.observe(own.consumed, series.begun, attributes)
    for (const [error, count] of series.failed)
      result.observe(own.consumed, count, { ...attributes, [ATTR.errorType]: error })
    result.observe(own.retries, series.retried, of)
    result.observe(own.deadLettered, series.deadLettered, of)
    result.observe(own.inFlight, series.begun - series.ended, of)
  }
}

/**
 * Histograms for OpenTelemetry: those that Millrace keeps, handed to a metric reader as finished metrics by a
 * `MetricProducer`.
 *
 * The API of OpenTelemetry has no observable histogram, and to record each event in a synchronous one would cost more
 * than the rest of telemetry.
 *
 * The types describe those of `@opentelemetry/sdk-metrics` 2, and are assignable to them.
 * @see https://github.com/open-telemetry/opentelemetry-specification/issues/2713
 * @see https://opentelemetry.io/docs/specs/otel/metrics/sdk/#metricproducer
 */
import { VERSION } from '../base/version.ts'
import type { Histogram } from './histogram.ts'
import type { Meter } from './meter.ts'
import type { OtelAttributes } from './open-telemetry-api.ts'
import { ATTR, METRIC, OPERATION } from './semantic-conventions.ts'

/** `ValueType.DOUBLE`, and `DataPointType.HISTOGRAM`. */
const DOUBLE = 1
const HISTOGRAM = 0
/** `AggregationTemporality`. */
const TEMPORALITY = { delta: 0, cumulative: 1 } as const

/** Seconds and nanoseconds. */
type HrTime = [number, number]

export interface OtelHistogramPoint {
  startTime: HrTime
  endTime: HrTime
  attributes: OtelAttributes
  value: { buckets: { boundaries: number[]; counts: number[] }; sum: number; count: number }
}

export interface OtelHistogramData {
  readonly descriptor: { name: string; description: string; unit: string; valueType: typeof DOUBLE }
  readonly aggregationTemporality: 0 | 1
  readonly dataPointType: typeof HISTOGRAM
  readonly dataPoints: OtelHistogramPoint[]
}

/** The resource of a metric producer, which a metric reader ignores. */
export interface OtelResource {
  readonly attributes: Record<string, string>
  getRawAttributes(): [string, string][]
  merge(other: OtelResource | null): OtelResource
}

/** A source of metrics for the option `metricProducers` of a metric reader. */
export interface OtelMetricProducer {
  collect(): Promise<{
    resourceMetrics: {
      resource: OtelResource
      scopeMetrics: { scope: { name: string; version: string }; metrics: OtelHistogramData[] }[]
    }
    errors: unknown[]
  }>
}

export type Temporality = keyof typeof TEMPORALITY

/** A broker whose histograms are read. */
export interface MeteredBroker {
  readonly system: string
  readonly meter: Meter
  /** When it began to count, in milliseconds since the epoch. */
  readonly sinceMs: number
}

/** What was reported of a histogram before, to tell the difference. */
interface Reported {
  readonly counts: Float64Array
  readonly sum: number
  readonly count: number
  readonly atMs: number
}

const NO_RESOURCE: OtelResource = {
  attributes: {},
  getRawAttributes: () => [],
  merge: (other) => other ?? NO_RESOURCE,
}

/** Reads the histograms of these brokers, each as it is at the time of the reading. */
export class HistogramProducer implements OtelMetricProducer {
  readonly #brokers: Iterable<MeteredBroker>
  readonly #temporality: Temporality
  readonly #reported = new WeakMap<Histogram, Reported>()

  constructor(brokers: Iterable<MeteredBroker>, temporality: Temporality) {
    this.#brokers = brokers
    this.#temporality = temporality
  }

  collect: OtelMetricProducer['collect'] = async () => {
    const [calls, commits, attempts, latencies]: OtelHistogramPoint[][] = [[], [], [], []]
    for (const broker of this.#brokers) {
      const system = { [ATTR.system]: broker.system }
      for (const { channel, durations } of broker.meter.published) {
        const of = { ...system, [ATTR.destination]: channel }
        this.#add(calls, broker, { ...of, [ATTR.operationName]: OPERATION.publish }, durations.first)
        this.#add(commits, broker, of, durations.second)
      }
      for (const { consumer, channel, operation, durations } of broker.meter.consumed) {
        const of = { ...system, [ATTR.consumerGroup]: consumer, [ATTR.destination]: channel }
        this.#add(attempts, broker, { ...of, [ATTR.operationName]: operation }, durations.first)
        this.#add(latencies, broker, of, durations.second)
      }
    }
    const metrics = [
      this.#data(METRIC.operationDuration, 'Duration of publish calls.', calls),
      this.#data('millrace.commit.duration', 'Time until published events were durable.', commits),
      this.#data(METRIC.processDuration, 'Duration of attempts, up to the settlement.', attempts),
      this.#data('millrace.consumer.latency', 'Time from when events were stored until they were handled.', latencies),
    ].filter(({ dataPoints }) => dataPoints.length > 0)
    const scopeMetrics = metrics.length === 0 ? [] : [{ scope: { name: 'millrace', version: VERSION }, metrics }]
    return { resourceMetrics: { resource: NO_RESOURCE, scopeMetrics }, errors: [] }
  }

  #data(name: string, description: string, dataPoints: OtelHistogramPoint[] | undefined): OtelHistogramData {
    return {
      descriptor: { name, description, unit: 's', valueType: DOUBLE },
      aggregationTemporality: TEMPORALITY[this.#temporality],
      dataPointType: HISTOGRAM,
      dataPoints: dataPoints ?? [],
    }
  }

  #add(
    to: OtelHistogramPoint[] | undefined,
    { sinceMs }: MeteredBroker,
    attributes: OtelAttributes,
    histogram: Histogram,
  ): void {
    const nowMs = Date.now()
    const before = this.#temporality === 'delta' ? this.#reported.get(histogram) : undefined
    if (histogram.count - (before?.count ?? 0) === 0) return
    to?.push({
      startTime: hrTime(before?.atMs ?? sinceMs),
      endTime: hrTime(nowMs),
      attributes,
      value: {
        buckets: {
          boundaries: [...histogram.bounds],
          counts: Array.from(histogram.counts, (count, at) => count - (before?.counts[at] ?? 0)),
        },
        sum: histogram.sum - (before?.sum ?? 0),
        count: histogram.count - (before?.count ?? 0),
      },
    })
    if (this.#temporality === 'delta') {
      const { counts, sum, count } = histogram
      this.#reported.set(histogram, { counts: counts.slice(), sum, count, atMs: nowMs })
    }
  }
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000)
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)]
}

/** `millrace/otel`: OpenTelemetry with the application's own API object. */
export type { Telemetry } from '../broker/telemetry.ts'
export {
  type MetricProducerOptions,
  type OpenTelemetry,
  type OpenTelemetryOptions,
  openTelemetry,
} from './open-telemetry.ts'
export type { OtelApi } from './open-telemetry-api.ts'
export type { OtelMetricProducer } from './otel-histograms.ts'

import type { BrokerCore } from './engine-of.ts'

/** What `connect` takes as `telemetry`: made by `openTelemetry()` of `millrace/otel`. */
export interface Telemetry {
  /** Called once, when the broker is connected. Answers what ends it. */
  observe(core: BrokerCore): () => void
}

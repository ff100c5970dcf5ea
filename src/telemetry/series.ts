/**
 * What a process counts of the publishes to one channel, or of one consumer's attempts at the events of one channel, in
 * plain numbers.
 */
import { isMillraceError } from '../base/errors.ts'
import type { PublishCall } from '../broker/observer.ts'
import { Durations } from './durations.ts'
import { COMMIT_BOUNDS, Histogram, LATENCY_BOUNDS } from './histogram.ts'
import type { OPERATION } from './semantic-conventions.ts'

/** The name of the one series for all channels, or consumers, beyond `LIMITS.metricSeriesMax`. */
export const OTHER = 'other'

/** What is counted of the publishes to a channel. */
export class PublishSeries {
  readonly channel: string
  /** Events that were stored: published, or emitted by handlers of this process. */
  messages = 0
  /** Failed publishes by error code. */
  readonly failed: Map<string, number> = new Map()
  /**
   * The duration of publish calls that succeeded, from call to answer; and the time until each of their events was
   * durable, from when the engine got it.
   */
  readonly durations: Durations = new Durations(new Histogram(), new Histogram(COMMIT_BOUNDS))
  /** All publishes of one event that are neither measured nor traced share this call. */
  readonly unmeasured: PublishCall = new UnmeasuredPublish(this)

  constructor(channel: string) {
    this.channel = channel
  }
}

class UnmeasuredPublish implements PublishCall {
  readonly events: null = null
  readonly traces: null = null
  readonly #series: PublishSeries

  constructor(series: PublishSeries) {
    this.#series = series
  }

  storing(): void {
    // Its commit is not measured.
  }

  ended(error: unknown): void {
    const series = this.#series
    if (error === null) {
      series.messages++
      series.durations.endUnmeasured()
    } else {
      countFailure(series.failed, errorCode(error))
      series.durations.leaveOutUnmeasured()
    }
  }
}

/** What is counted of a consumer's attempts at the events of a channel. */
export class ConsumeSeries {
  readonly consumer: string
  readonly channel: string
  /** Attempts whose handler was called, or that a client has pulled. */
  begun = 0
  /** Those of them that were settled. */
  ended = 0
  retried = 0
  deadLettered = 0
  /** Failed attempts by error code or name. */
  readonly failed: Map<string, number> = new Map()
  /**
   * The duration of attempts, from the call of the handler or the pull to the settlement; and of completed events, from
   * when they were stored to the settlement.
   */
  readonly durations: Durations = new Durations(new Histogram(), new Histogram(LATENCY_BOUNDS))

  /** How it gets its events: in handlers, or pulled by clients. */
  readonly operation: typeof OPERATION.process | typeof OPERATION.receive

  constructor(consumer: string, channel: string, operation: ConsumeSeries['operation']) {
    this.consumer = consumer
    this.channel = channel
    this.operation = operation
  }
}

/** How many error codes one series has; further ones count as `other`. */
const ERRORS_MAX = 20

/** Count a failure by its kind. */
export function countFailure(failed: Map<string, number>, kind: string): void {
  const name = failed.has(kind) || failed.size < ERRORS_MAX ? kind : OTHER
  failed.set(name, (failed.get(name) ?? 0) + 1)
}

/** The conventions' `error.type` of a failed publish. */
export function errorCode(error: unknown): string {
  return isMillraceError(error) ? error.code : 'Error'
}

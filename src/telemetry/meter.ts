/**
 * What a process counts of its publishes and its consumers, in plain arrays. Nothing is computed until the numbers are
 * read.
 *
 * Bounded: beyond a number of channels and of consumers, the others share one series, `other`. Millrace's own channels
 * are not counted.
 */
import { LIMITS } from '../base/limits.ts'
import { COMMIT_BOUNDS, Histogram } from './histogram.ts'

/** The name of the one series for all channels, or consumers, beyond `LIMITS.metricSeriesMax`. */
export const OTHER = 'other'

export interface PublishSeries {
  readonly channel: string
  /** Events that were stored: published, or emitted by handlers of this process. */
  messages: number
  /** Failed publishes by error code. */
  readonly failed: Map<string, number>
  /** The duration of publish calls, from call to answer. */
  readonly calls: Histogram
  /** The time until events were durable, from when the engine got them. */
  readonly commits: Histogram
}

export interface ConsumeSeries {
  readonly consumer: string
  readonly channel: string
  /** Attempts whose handler was called. */
  begun: number
  ended: number
  completed: number
  retried: number
  deadLettered: number
  released: number
  lost: number
  /** Failed attempts by error code or name. */
  readonly failed: Map<string, number>
  /** The duration of attempts, from the call of the handler to the settlement. */
  readonly attempts: Histogram
}

/** How many error codes one series has; further ones count as `other`. */
const ERRORS_MAX = 20

export class Meter {
  readonly #published = new Map<string, PublishSeries>()
  /** Series by consumer, then by channel. */
  readonly #consumed = new Map<string, Map<string, ConsumeSeries>>()
  #consumedCount = 0

  get published(): Iterable<PublishSeries> {
    return this.#published.values()
  }

  get consumed(): readonly ConsumeSeries[] {
    return [...this.#consumed.values()].flatMap((channels) => [...channels.values()])
  }

  /** The series of a channel; null for Millrace's own channels. */
  ofChannel(channel: string): PublishSeries | null {
    const known = this.#published.get(channel)
    if (known !== undefined) return known
    if (isOwn(channel)) return null
    if (this.#published.size >= LIMITS.metricSeriesMax && channel !== OTHER) return this.ofChannel(OTHER)
    const made: PublishSeries = {
      channel,
      messages: 0,
      failed: new Map(),
      calls: new Histogram(),
      commits: new Histogram(COMMIT_BOUNDS),
    }
    this.#published.set(channel, made)
    return made
  }

  /** The series of a consumer in a channel; null for Millrace's own channels. */
  ofConsumer(consumer: string, channel: string): ConsumeSeries | null {
    const known = this.#consumed.get(consumer)?.get(channel)
    if (known !== undefined) return known
    if (isOwn(channel)) return null
    if (this.#consumedCount >= LIMITS.metricSeriesMax && consumer !== OTHER) return this.ofConsumer(OTHER, OTHER)
    const made: ConsumeSeries = {
      ...{ consumer, channel, begun: 0, ended: 0, completed: 0, retried: 0, deadLettered: 0, released: 0, lost: 0 },
      failed: new Map(),
      attempts: new Histogram(),
    }
    const channels = this.#consumed.get(consumer) ?? new Map<string, ConsumeSeries>()
    this.#consumed.set(consumer, channels.set(channel, made))
    this.#consumedCount++
    return made
  }
}

/** Count a failure by its kind. */
export function countFailure(failed: Map<string, number>, kind: string): void {
  const name = failed.has(kind) || failed.size < ERRORS_MAX ? kind : OTHER
  failed.set(name, (failed.get(name) ?? 0) + 1)
}

function isOwn(channel: string): boolean {
  return channel.startsWith('$')
}

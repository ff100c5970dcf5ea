/**
 * What a process counts of its publishes and its consumers, in plain arrays. Nothing is computed until the numbers are
 * read.
 *
 * Bounded: beyond a number of channels and of consumers, the others share one series, `other`. Millrace's own channels
 * are not counted.
 */
import { LIMITS } from '../base/limits.ts'
import { OPERATION } from './semantic-conventions.ts'
import { ConsumeSeries, OTHER, PublishSeries } from './series.ts'

const DOLLAR = 0x24

export class Meter {
  readonly #published = new Map<string, PublishSeries>()
  /** Series by consumer, then by channel. */
  readonly #consumed = new Map<string, Map<string, ConsumeSeries>>()
  #consumedCount = 0
  /** The series that were asked for last, which mostly are asked for again. */
  #lastPublished: PublishSeries | undefined
  #lastConsumed: ConsumeSeries | undefined

  /** All series of channels, to be read. */
  get published(): readonly PublishSeries[] {
    const all = [...this.#published.values()]
    for (const { durations } of all) durations.settle()
    return all
  }

  /** All series of consumers, to be read. */
  get consumed(): readonly ConsumeSeries[] {
    const all = [...this.#consumed.values()].flatMap((channels) => [...channels.values()])
    for (const { durations } of all) durations.settle()
    return all
  }

  /** The series that a channel already has. */
  known(channel: string): PublishSeries | undefined {
    if (this.#lastPublished?.channel === channel) return this.#lastPublished
    this.#lastPublished = this.#published.get(channel)
    return this.#lastPublished
  }

  /** The series of a channel; null for Millrace's own channels. */
  ofChannel(channel: string): PublishSeries | null {
    const known = this.known(channel)
    if (known !== undefined) return known
    if (isOwn(channel)) return null
    if (this.#published.size >= LIMITS.metricSeriesMax && channel !== OTHER) return this.ofChannel(OTHER)
    const made = new PublishSeries(channel)
    this.#published.set(channel, made)
    return made
  }

  /** The series of a consumer in a channel; null for Millrace's own channels. */
  ofConsumer(
    consumer: string,
    channel: string,
    operation: ConsumeSeries['operation'] = OPERATION.process,
  ): ConsumeSeries | null {
    const last = this.#lastConsumed
    if (last !== undefined && last.channel === channel && last.consumer === consumer) return last
    const known = this.#consumed.get(consumer)?.get(channel)
    this.#lastConsumed = known
    if (known !== undefined) return known
    if (isOwn(channel)) return null
    if (this.#consumedCount >= LIMITS.metricSeriesMax && consumer !== OTHER) return this.ofConsumer(OTHER, OTHER)
    const made = new ConsumeSeries(consumer, channel, operation)
    const channels = this.#consumed.get(consumer) ?? new Map<string, ConsumeSeries>()
    this.#consumed.set(consumer, channels.set(channel, made))
    this.#consumedCount++
    return made
  }
}

/** Whether it is one of Millrace's own channels. */
export function isOwn(channel: string): boolean {
  return channel.charCodeAt(0) === DOLLAR
}

/** A publish call that is measured or traced. */
import { isMillraceError } from '../base/errors.ts'
import type { PublishCall, Published, Traces } from '../broker/observer.ts'
import type { Meter } from './meter.ts'
import { countFailure, errorCode, OTHER, type PublishSeries } from './series.ts'
import type { TracedPublish } from './tracer.ts'

export interface ObservedPublishHost {
  readonly meter: Meter
  /** Call the SDK. If it throws, log that. */
  guarded<Result>(trace: () => Result, otherwise: Result): Result
}

export class ObservedPublish implements PublishCall {
  readonly #host: ObservedPublishHost
  readonly #channel: string
  /** Null before the first event was stored in the channel. */
  readonly #series: PublishSeries | null
  readonly #count: number
  readonly #startedMs: number
  readonly #weight: number
  readonly #traced: TracedPublish | null
  #storingMs: number

  constructor(
    host: ObservedPublishHost,
    channel: string,
    series: PublishSeries | null,
    count: number,
    traced: TracedPublish | null,
  ) {
    this.#host = host
    this.#channel = channel
    this.#series = series
    this.#count = count
    this.#traced = traced
    this.#startedMs = series === null ? performance.now() : series.durations.beginMeasured()
    this.#weight = series === null ? 1 : series.durations.takeWeight()
    this.#storingMs = this.#startedMs
  }

  get events(): Published | null {
    return this.#traced === null ? null : this.#traced.events
  }

  get traces(): Traces {
    return this.#traced === null ? null : this.#traced.traces
  }

  storing(): void {
    this.#storingMs = performance.now()
  }

  ended(error: unknown): void {
    if (error === null) this.#stored()
    else this.#failed(error)
    const traced = this.#traced
    if (traced !== null) this.#host.guarded(() => traced.end(error), undefined)
  }

  #stored(): void {
    const series = this.#series ?? this.#host.meter.ofChannel(this.#channel)
    if (series === null) return
    series.messages += this.#count
    const nowMs = performance.now()
    series.durations.endMeasured(this.#weight, nowMs - this.#startedMs, nowMs - this.#storingMs, this.#count)
  }

  /** A name that is no channel's gets no series: anyone could use up the number of series with such names. */
  #failed(error: unknown): void {
    const isNoChannel = ['UNKNOWN_CHANNEL', 'INVALID_NAME', 'INVALID_OPTION'].some((code) => codeIs(error, code))
    const series = this.#series ?? this.#host.meter.ofChannel(isNoChannel ? OTHER : this.#channel)
    if (series === null) return
    countFailure(series.failed, errorCode(error))
    if (this.#series !== null) series.durations.leaveOutMeasured(this.#weight)
  }
}

function codeIs(error: unknown, code: string): boolean {
  return isMillraceError(error) && error.code === code
}

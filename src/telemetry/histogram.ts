/** A histogram with fixed buckets in a plain array: recording a value costs one addition. */

/** The bounds of the messaging conventions, in seconds. */
export const DURATION_BOUNDS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
]

/** The bounds for durable writes, most of which take less time than the smallest of `DURATION_BOUNDS`. */
export const COMMIT_BOUNDS: readonly number[] = [0.0005, 0.001, 0.0025, ...DURATION_BOUNDS]

/** The bounds for the time from when an event is stored until it is settled: with retries it can be hours. */
export const LATENCY_BOUNDS: readonly number[] = [...COMMIT_BOUNDS.slice(1), 30, 60, 300, 1800, 3600, 21_600]

export class Histogram {
  readonly bounds: readonly number[]
  /** One count for each bound, and one for greater values. Not cumulative. */
  readonly counts: Float64Array
  sum = 0
  count = 0

  constructor(bounds: readonly number[] = DURATION_BOUNDS) {
    this.bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  /** Record a value, several times if `times` is given. */
  record(seconds: number, times = 1): void {
    let at = 0
    while (at < this.bounds.length && seconds > (this.bounds[at] as number)) at++
    ;(this.counts as { [at: number]: number })[at] = (this.counts[at] as number) + times
    this.sum += seconds * times
    this.count += times
  }
}

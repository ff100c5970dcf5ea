/** What one instance has done since it began: attempts by outcome, and how long events and attempts took. */
import { randomUUID } from 'node:crypto'
import { bucketOf, newBuckets } from '../../base/span-buckets.ts'
import type { InstanceCounts } from '../../broker/description.ts'

const OF_THIS_PROCESS = randomUUID().slice(0, 13)
let instances = 0

export class Tally {
  readonly id: string = `${OF_THIS_PROCESS}-${++instances}`
  #delivered = 0
  #completed = 0
  #retried = 0
  #deadLettered = 0
  readonly #latency = newBuckets()
  readonly #duration = newBuckets()

  sent(count: number): void {
    this.#delivered += count
  }

  /** `latencyMs` is from the publish to now, `durationMs` from the delivery to now. */
  completed(latencyMs: number, durationMs: number): void {
    this.#completed++
    add(this.#latency, latencyMs)
    add(this.#duration, durationMs)
  }

  retried(durationMs: number): void {
    this.#retried++
    add(this.#duration, durationMs)
  }

  deadLettered(durationMs: number): void {
    this.#deadLettered++
    add(this.#duration, durationMs)
  }

  get counts(): InstanceCounts {
    return {
      instance: this.id,
      delivered: this.#delivered,
      completed: this.#completed,
      retried: this.#retried,
      deadLettered: this.#deadLettered,
      latency: trimmed(this.#latency),
      duration: trimmed(this.#duration),
    }
  }
}

function add(buckets: Float64Array, ms: number): void {
  const bucket = bucketOf(ms)
  buckets[bucket] = (buckets[bucket] as number) + 1
}

/** Without the zeros at the end. */
function trimmed(buckets: Float64Array): number[] {
  return [...buckets.subarray(0, buckets.findLastIndex((count) => count !== 0) + 1)]
}

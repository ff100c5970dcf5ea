/**
 * Loads: how events are sent to a system, and what is counted. A load fails if an event is lost or handled twice, and
 * never because of time.
 */
import { cartItem } from './events.ts'
import type { System } from './system.ts'

/** Which events arrived; each must arrive exactly once. */
export class Tally {
  readonly #seen: Uint8Array
  readonly #all: PromiseWithResolversOf<void> = withResolvers()
  #count = 0
  #twice = 0

  constructor(events: number) {
    this.#seen = new Uint8Array(events)
    if (events === 0) this.#all.resolve()
  }

  add(line: number): void {
    if (this.#seen[line] !== 0) {
      this.#twice++
      return
    }
    this.#seen[line] = 1
    if (++this.#count === this.#seen.length) this.#all.resolve()
  }

  /** Resolves when all have arrived; rejects when none has arrived for a minute. */
  async complete(): Promise<void> {
    let before = -1
    const watch = setInterval(() => {
      if (this.#count === before)
        this.#all.reject(new Error(`only ${this.#count} of ${this.#seen.length} events were handled`))
      before = this.#count
    }, 60_000)
    try {
      await this.#all.promise
    } finally {
      clearInterval(watch)
    }
    this.check()
  }

  check(): void {
    if (this.#twice > 0 || this.#count !== this.#seen.length) {
      throw new Error(
        `of ${this.#seen.length} events ${this.#count} were handled, and ${this.#twice} of them more than once`,
      )
    }
  }
}

interface PromiseWithResolversOf<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
}

function withResolvers<T>(): PromiseWithResolversOf<T> {
  let resolve: (value: T) => void = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

/**
 * Publish the lines from `begin` to `end`, with `inFlight` at a time. `each` is called with the line and the
 * milliseconds of every publish.
 */
export async function publishAll(
  system: System,
  inFlight: number,
  begin: number,
  end: number,
  each?: (line: number, ms: number) => void,
): Promise<void> {
  let next = begin
  const plain = async (): Promise<void> => {
    while (next < end) await system.publish(cartItem(next++))
  }
  const timed = async (): Promise<void> => {
    while (next < end) {
      const line = next++
      const start = performance.now()
      await system.publish(cartItem(line))
      each?.(line, performance.now() - start)
    }
  }
  await Promise.all(Array.from({ length: Math.min(inFlight, end - begin) }, each === undefined ? plain : timed))
}

/** Round trips, with `inFlight` at a time: the next one begins when the handler of one has returned. */
export async function tripAll(
  system: System,
  inFlight: number,
  begin: number,
  end: number,
  handled: Map<number, () => void>,
): Promise<void> {
  let next = begin
  const slot = async (): Promise<void> => {
    while (next < end) {
      const line = next++
      const back = new Promise<void>((resolve) => handled.set(line, resolve))
      await system.publish(cartItem(line))
      await back
      handled.delete(line)
    }
  }
  await Promise.all(Array.from({ length: Math.min(inFlight, end - begin) }, slot))
}

/** Events per second. */
export function rate(events: number, sinceMs: number): number {
  return (events / (performance.now() - sinceMs)) * 1000
}

/** Microseconds of this process's processor time per event: steadier than a rate if others use the machine too. */
export function cpuEach(events: number, before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / events
}

/** The percentile: the value below which this part of the values lies. */
export function percentile(values: Float64Array | readonly number[], part: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

/** The median. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[half] as number)
    : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2
}

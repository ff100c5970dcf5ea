/**
 * Finds runs that take longer than a limit. One timer is enough, because they reach the limit in the order in which
 * they began. Time is measured by a clock that does not jump.
 */
import type { Clock } from '../base/clock.ts'

export class TimeLimits<Run> {
  readonly #limitMs: number
  readonly #clock: Clock
  readonly #expired: (run: Run) => void
  /** When each run began, the oldest first. */
  readonly #since = new Map<Run, number>()
  #cancelTimer: (() => void) | null = null

  constructor(limitMs: number, clock: Clock, expired: (run: Run) => void) {
    this.#limitMs = limitMs
    this.#clock = clock
    this.#expired = expired
  }

  begin(run: Run): void {
    this.#since.set(run, this.#clock.elapsed())
    if (this.#cancelTimer === null) this.#wait(this.#limitMs)
  }

  end(run: Run): void {
    this.#since.delete(run)
  }

  stop(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = null
    this.#since.clear()
  }

  #wait(ms: number): void {
    this.#cancelTimer = this.#clock.after(Math.ceil(ms), () => this.#look())
  }

  #look(): void {
    this.#cancelTimer = null
    const now = this.#clock.elapsed()
    for (const [run, since] of this.#since) {
      const leftMs = since + this.#limitMs - now
      if (leftMs > 0) return this.#wait(leftMs)
      this.#since.delete(run)
      this.#expired(run)
    }
  }
}

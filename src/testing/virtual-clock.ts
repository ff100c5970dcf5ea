/** A clock that stands still until it is moved. */
import type { Clock } from '../base/clock.ts'

interface Timer {
  readonly dueMs: number
  readonly order: number
  readonly beat: boolean
  readonly task: () => void
}

export class VirtualClock implements Clock {
  #nowMs: number
  #order = 0
  readonly #timers = new Set<Timer>()

  constructor(startMs: number) {
    this.#nowMs = startMs
  }

  now(): number {
    return this.#nowMs
  }

  elapsed(): number {
    return this.#nowMs
  }

  at(timeMs: number, task: () => void): () => void {
    return this.after(timeMs - this.#nowMs, task)
  }

  after(delayMs: number, task: () => void, kind?: 'beat' | 'work'): () => void {
    const timer: Timer = {
      dueMs: this.#nowMs + Math.max(0, delayMs),
      order: this.#order++,
      beat: kind === 'beat',
      task,
    }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** When the next timer is due, or infinity. */
  get nextMs(): number {
    return this.nextOf(true)
  }

  /** The same; without `beats`, only for timers that are not beats. */
  nextOf(beats: boolean): number {
    return this.#next(beats)?.dueMs ?? Number.POSITIVE_INFINITY
  }

  #next(beats: boolean): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.beat && !beats) continue
      if (next === undefined || timer.dueMs < next.dueMs || (timer.dueMs === next.dueMs && timer.order < next.order))
        next = timer
    }
    return next
  }

  /**
   * Move to a time, which is not before now, and run one timer that is due by then. Without `beats`, beats that are due
   * on the way run once, before that timer. Returns false when no timer is due.
   */
  step(toMs: number, beats = true): boolean {
    const next = this.#next(beats)
    if (next === undefined || next.dueMs > toMs) {
      this.#nowMs = Math.max(this.#nowMs, toMs)
      return false
    }
    this.#nowMs = Math.max(this.#nowMs, next.dueMs)
    if (!beats) for (const timer of [...this.#timers]) if (timer.beat && timer.dueMs <= this.#nowMs) this.#run(timer)
    this.#run(next)
    return true
  }

  #run(timer: Timer): void {
    if (this.#timers.delete(timer)) timer.task()
  }
}

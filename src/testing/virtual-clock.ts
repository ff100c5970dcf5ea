/** A clock that stands still until it is moved. */
import type { Clock } from '../base/clock.ts'

interface Timer {
  readonly dueMs: number
  readonly order: number
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

  after(delayMs: number, task: () => void): () => void {
    const timer: Timer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, task }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** When the next timer is due, or infinity. */
  get nextMs(): number {
    return this.#next()?.dueMs ?? Number.POSITIVE_INFINITY
  }

  #next(): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (next === undefined || timer.dueMs < next.dueMs || (timer.dueMs === next.dueMs && timer.order < next.order)) next = timer
    }
    return next
  }

  /** Move to a time, which is not before now, and run one timer that is due by then. False when there is none. */
  step(toMs: number): boolean {
    const next = this.#next()
    if (next === undefined || next.dueMs > toMs) {
      this.#nowMs = Math.max(this.#nowMs, toMs)
      return false
    }
    this.#timers.delete(next)
    this.#nowMs = Math.max(this.#nowMs, next.dueMs)
    next.task()
    return true
  }
}

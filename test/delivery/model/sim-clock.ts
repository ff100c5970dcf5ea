/**
 * A clock that moves only when a test moves it, also for `setTimeout`. Its wall time may jump; timers wait by the
 * time that never goes back.
 */
import { vi } from 'vitest'
import { atTime, type Clock } from '../../../src/base/clock.ts'

interface Timer {
  readonly dueMs: number
  readonly task: () => void
}

/** Resolves when all microtasks and ticks have run, also those that they schedule. */
export async function settled(): Promise<void> {
  for (let hop = 0; hop < 3; hop++) await new Promise((resolve) => process.nextTick(resolve))
}

export class SimClock implements Clock {
  /** The time that never goes back. */
  steadyMs: number
  #skewMs: number
  #timers: Timer[] = []

  constructor(steadyMs: number, skewMs: number) {
    this.steadyMs = steadyMs
    this.#skewMs = skewMs
  }

  now(): number {
    return this.steadyMs + this.#skewMs
  }

  elapsed(): number {
    return this.steadyMs
  }

  at(timeMs: number, task: () => void): () => void {
    return atTime(() => this.now(), timeMs, task)
  }

  after(delayMs: number, task: () => void): () => void {
    const timer = { dueMs: this.steadyMs + Math.max(0, delayMs), task }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  /** The clock of the next life, after a crash. No timer of this life runs any more. */
  next(): SimClock {
    return new SimClock(this.steadyMs, this.#skewMs)
  }

  /** The wall time jumps. */
  jump(ms: number): void {
    this.#skewMs += ms
  }

  /** Let time pass. Each task runs at its time, and its microtasks run before the next task. */
  async pass(ms: number, settle: () => Promise<void> = settled): Promise<void> {
    const end = this.steadyMs + ms
    for (;;) {
      let next: Timer | undefined
      for (const timer of this.#timers)
        if (timer.dueMs <= end && (next === undefined || timer.dueMs < next.dueMs)) next = timer
      if (next === undefined) break
      const { task, dueMs } = next
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.steadyMs = Math.max(this.steadyMs, dueMs)
      task()
      await settle()
    }
    this.steadyMs = end
  }
}

/** While a history is played, `setTimeout` waits by the clock that `clock` returns. */
export function timersBy(clock: () => SimClock): void {
  vi.stubGlobal('setTimeout', (task: () => void, ms = 0) => {
    const cancel = clock().after(ms, task)
    return { unref: () => undefined, ref: () => undefined, cancel }
  })
  vi.stubGlobal('clearTimeout', (timer: { readonly cancel?: () => void } | null | undefined) => timer?.cancel?.())
}

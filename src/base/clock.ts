/** Time as the engine sees it, so that tests can move it. */
export interface Clock {
  /** Milliseconds since the epoch. May jump in either direction. */
  now(): number
  /** Run `task` once after `delayMs` of this clock; the returned function cancels it. Never keeps the process alive. */
  after(delayMs: number, task: () => void): () => void
}

/** Longest single wait: a wall clock that jumps is noticed within this time. */
const WAIT_MS_MAX = 60_000

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, task) {
    const timer = setTimeout(task, Math.max(0, Math.min(delayMs, WAIT_MS_MAX)))
    timer.unref()
    return () => clearTimeout(timer)
  },
}

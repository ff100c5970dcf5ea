/** Time as the engine sees it, so that tests can move it. */
import { afterMs, clearRealTimeout, realTimeout } from './timers.ts'

export interface Clock {
  /** Milliseconds since the epoch. May jump in either direction. */
  now(): number
  /** Milliseconds since some past moment. Never jumps and never goes back: use it to measure spans. */
  elapsed(): number
  /**
   * Run `task` once after `delayMs`, however long that is, and however the wall clock jumps meanwhile. The returned
   * function cancels it. It does not keep the process alive.
   *
   * A `beat` sends or checks a sign of life: a test's clock need not run each of them while nothing is in flight.
   * `work` is a short wait between two steps of work that the library has begun: it keeps the process alive, and runs
   * even if a test replaces the platform's timers with fake ones.
   */
  after(delayMs: number, task: () => void, kind?: 'beat' | 'work'): () => void
  /**
   * Run `task` once at a time of `now()`, or within a minute after the clock has jumped past it. Otherwise like
   * `after`.
   */
  at(timeMs: number, task: () => void): () => void
}

/** The longest single wait: a jump of the wall clock is noticed within this time. */
const WAIT_MS_MAX = 60_000

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after: (delayMs, task, kind) => (kind === 'work' ? afterReal(delayMs, task) : afterMs(delayMs, task)),
  at: (timeMs, task) => atTime(() => Date.now(), timeMs, task),
}

function afterReal(delayMs: number, task: () => void): () => void {
  const timer = realTimeout(task, delayMs)
  return () => clearRealTimeout(timer)
}

/** Resolves after a short wait between two steps of work that the library has begun. */
export function pause(clock: Pick<Clock, 'after'>, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.after(delayMs, resolve, 'work'))
}

/** Run `task` every `everyMs`, as a `beat`; the returned function ends it. */
export function every(clock: Pick<Clock, 'after'>, everyMs: number, task: () => void): () => void {
  let cancel = (): void => undefined
  const arm = (): void => {
    cancel = clock.after(
      everyMs,
      () => {
        arm()
        task()
      },
      'beat',
    )
  }
  arm()
  return () => cancel()
}

/** `Clock.at` for a wall clock `now`, which is read again at least every `waitMsMax`. */
export function atTime(
  now: () => number,
  timeMs: number,
  task: () => void,
  waitMsMax: number = WAIT_MS_MAX,
): () => void {
  let cancel = (): void => undefined
  const wait = (): void => {
    cancel = afterMs(Math.min(timeMs - now(), waitMsMax), () => (now() < timeMs ? wait() : task()))
  }
  wait()
  return () => cancel()
}

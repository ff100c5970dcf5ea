/** Timers for spans of any length. Node's own timers end at once when the span is longer than 2^31 ms (24.8 days). */

/**
 * The platform's timers, taken when this module is loaded. A test may replace the global ones later (fake timers of
 * Vitest, Jest and node:test) to move the time of the application; the library's own work continues.
 */
const platform = { setTimeout, clearTimeout, setInterval, setImmediate, queueMicrotask, nextTick: process.nextTick }
export const realTimeout: typeof setTimeout = platform.setTimeout
export const clearRealTimeout: typeof clearTimeout = platform.clearTimeout
export const realInterval: typeof setInterval = platform.setInterval
export const nextTurn: typeof setImmediate = platform.setImmediate
export const afterThis: typeof queueMicrotask = platform.queueMicrotask
export const nextTick: typeof process.nextTick = platform.nextTick
export const realNowMs: () => number = performance.now.bind(performance)

/** Longest span of one timer of Node. */
export const TIMER_MS_MAX: number = 2 ** 31 - 1

/** Run `task` once, after at least `ms`; the returned function cancels it. Never keeps the process alive. */
export function afterMs(ms: number, task: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = (leftMs: number): void => {
    timer = setTimeout(
      () => (leftMs > TIMER_MS_MAX ? wait(leftMs - TIMER_MS_MAX) : task()),
      Math.max(0, Math.min(leftMs, TIMER_MS_MAX)),
    )
    timer.unref()
  }
  wait(ms)
  return () => clearTimeout(timer)
}

/**
 * Resolves when the work has succeeded, or after `ms` at the latest. Rejects if the work fails before. Keeps the
 * process alive until then.
 */
export async function orAfterMs(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((resolve) => {
    timer = realTimeout(resolve, Math.min(ms, TIMER_MS_MAX))
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearRealTimeout(timer)
  }
}

/** Timers for spans of any length: one of Node's own ends at once when its span is longer than 2^31 ms (24.8 days). */

/** Longest span of one timer of Node. */
export const TIMER_MS_MAX: number = 2 ** 31 - 1

/** Run `task` once, after at least `ms`; the returned function cancels it. Never keeps the process alive. */
export function afterMs(ms: number, task: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = (leftMs: number): void => {
    timer = setTimeout(() => (leftMs > TIMER_MS_MAX ? wait(leftMs - TIMER_MS_MAX) : task()), Math.max(0, Math.min(leftMs, TIMER_MS_MAX)))
    timer.unref()
  }
  wait(ms)
  return () => clearTimeout(timer)
}

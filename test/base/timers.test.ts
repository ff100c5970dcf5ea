/** Timers of any length, and a wall clock that jumps. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { atTime, systemClock } from '../../src/base/clock.ts'
import { afterMs, TIMER_MS_MAX } from '../../src/base/timers.ts'

const DAY = 86_400_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test.each([0, 1, 61_000, 20 * DAY, TIMER_MS_MAX, TIMER_MS_MAX + 1, 300 * DAY])(
  'a timer of %d ms ends after that time, and not before',
  (ms) => {
    const spans: unknown[] = []
    const timer = vi.spyOn(globalThis, 'setTimeout').mockName('timer')
    const task = vi.fn()
    afterMs(ms, task)
    if (ms > 0) vi.advanceTimersByTime(ms - 1)
    expect(task).toHaveBeenCalledTimes(0)
    vi.advanceTimersByTime(1)
    expect(task).toHaveBeenCalledTimes(1)
    for (const call of timer.mock.calls) spans.push(call[1])
    expect(Math.max(...(spans as number[]))).toBeLessThanOrEqual(TIMER_MS_MAX)
  },
)

test('a timer is cancelled, also after its first 24.8 days', () => {
  const task = vi.fn()
  afterMs(1000, task)()
  const cancel = afterMs(60 * DAY, task)
  vi.advanceTimersByTime(40 * DAY)
  cancel()
  vi.advanceTimersByTime(40 * DAY)
  expect(task).not.toHaveBeenCalled()
})

test('a time of the clock is noticed within a minute after a jump forward, and waited for after a jump back', () => {
  let skewMs = 0
  const now = (): number => Date.now() + skewMs
  const task = vi.fn()
  atTime(now, now() + DAY, task)
  skewMs = DAY
  vi.advanceTimersByTime(60_000)
  expect(task).toHaveBeenCalledTimes(1)
  atTime(now, now() + DAY, task)
  skewMs = 0
  vi.advanceTimersByTime(DAY + 60_000)
  expect(task).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(DAY)
  expect(task).toHaveBeenCalledTimes(2)
})

test("the system's clock measures spans by a clock that does not jump", () => {
  const task = vi.fn()
  const before = systemClock.elapsed()
  systemClock.after(90_000, task)
  vi.setSystemTime(Date.now() + DAY)
  vi.advanceTimersByTime(89_000)
  expect(task).not.toHaveBeenCalled()
  expect(systemClock.elapsed() - before).toBeLessThan(DAY)
  vi.advanceTimersByTime(1000)
  expect(task).toHaveBeenCalledTimes(1)
})

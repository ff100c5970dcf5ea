/** Durations: all are counted, and at high rates only some are measured. */
import { afterEach, expect, test, vi } from 'vitest'
import { Durations } from '../../src/telemetry/durations.ts'
import { Histogram } from '../../src/telemetry/histogram.ts'

let nowMs = 1000
vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
afterEach(() => {
  nowMs = 1000
})

function made(): Durations {
  return new Durations(new Histogram([1]), new Histogram([1]))
}

/** Runs things one after the other, of `tookMs` each, `everyMs`. Returns how many were measured. */
function run(durations: Durations, count: number, everyMs: number, tookMs: (at: number) => number): number {
  let measured = 0
  for (let at = 0; at < count; at++) {
    if (durations.skips()) durations.endUnmeasured()
    else {
      durations.beginMeasured()
      durations.endMeasured(durations.takeWeight(), tookMs(at), 2 * tookMs(at))
      measured++
    }
    nowMs += everyMs
  }
  durations.settle()
  return measured
}

test('each is measured while they are rare', () => {
  const durations = made()
  expect(run(durations, 100, 20, () => 500)).toBe(100)
  expect([durations.first.sum, durations.second.sum, durations.first.count]).toEqual([50, 100, 100])
})

test('some stand for all at high rates, whatever the pattern of the durations', () => {
  const durations = made()
  const measured = run(durations, 80_000, 0.01, (at) => (at % 8 === 0 ? 2000 : 0))
  expect(measured).toBeLessThan(80_000 / 6)
  expect([durations.first.count, durations.second.count]).toEqual([80_000, 80_000])
  const slow = durations.first.counts[1] ?? 0
  expect(slow / 80_000).toBeGreaterThan(0.11)
  expect(slow / 80_000).toBeLessThan(0.14)
})

test('the count is exact whenever it is read and all have ended', () => {
  const durations = made()
  for (let burst = 1; burst <= 50; burst++) {
    run(durations, burst, 0, () => 1)
    expect(durations.first.count).toBe((burst * (burst + 1)) / 2)
  }
})

test('things without a second duration are not in the second histogram', () => {
  const durations = made()
  for (let at = 0; at < 1000; at++) {
    const hasSecond = at % 3 === 0
    if (durations.skips()) durations.endUnmeasured(hasSecond)
    else {
      durations.beginMeasured()
      durations.endMeasured(durations.takeWeight(), 1, hasSecond ? 1 : Number.NaN)
    }
  }
  durations.settle()
  expect([durations.first.count, durations.second.count]).toEqual([1000, 334])
})

test('what runs is not counted yet, and what is left out never', () => {
  const durations = made()
  run(durations, 1000, 0, () => 1)
  let open = 0
  for (let at = 0; at < 100; at++) {
    if (durations.skips()) durations.leaveOutUnmeasured()
    else {
      durations.beginMeasured()
      durations.leaveOutMeasured(durations.takeWeight())
    }
    open++
  }
  durations.settle()
  expect([open, durations.first.count]).toEqual([100, 1000])
  run(durations, 1000, 0, () => 1)
  expect(durations.first.count).toBe(2000)
})

/** Rates against their definition: in any span, no more events begin than the burst and the rate allow. */
import { expect, test } from 'vitest'
import { RateTable } from '../../src/delivery/flow/rate-table.ts'
import { randomFrom } from '../../src/testing/conformance/random.ts'
import { SimClock } from './model/sim-clock.ts'

class Records {
  readonly all = new Map<string, Uint8Array>()
  readonly write = (key: string, value: Uint8Array | null): void => {
    if (value === null) this.all.delete(key)
    else this.all.set(key, value)
  }
  readonly range = (from: string, to: string): [string, Uint8Array][] =>
    [...this.all].filter(([key]) => key >= from && key < to)
}

/** The largest number of times in any span, less what the rate and the burst allow in it. */
function excess(times: readonly number[], burst: number, eachMs: number): number {
  let most = Number.NEGATIVE_INFINITY
  for (let from = 0; from < times.length; from++)
    for (let to = from; to < times.length; to++) {
      const spanMs = (times[to] as number) - (times[from] as number)
      most = Math.max(most, to - from + 1 - (burst + spanMs / eachMs))
    }
  return most
}

test('random events through restarts, jumps of the wall clock and sweeps', async () => {
  for (let seed = 0; seed < 60; seed++) {
    const random = randomFrom(seed)
    const size = { max: 1 + random.below(5), perMs: 10 * (1 + random.below(20)), burst: 1 + random.below(4) }
    const eachMs = size.perMs / size.max
    const records = new Records()
    let clock = new SimClock(1000, 1_700_000_000_000)
    const open = (): RateTable => new RateTable('r', size, { ...records, clock })
    let table = open()
    const begun: number[] = []
    for (let step = 0; step < 200; step++) {
      if (random.chance(0.5)) await clock.pass(random.below(Math.ceil(eachMs)))
      if (random.chance(0.02)) {
        clock = clock.next()
        table = open()
      }
      if (table.hasRoom('k')) {
        table.begin('k', 'k', false)
        begun.push(clock.elapsed())
      }
      if (random.chance(0.1)) for (let n = 0; n < 20; n++) table.begin(`other-${step}-${n}`, 'x', false)
    }
    expect(begun.length, `seed ${seed}`).toBeGreaterThan(3)
    expect(excess(begun, size.burst, eachMs), `seed ${seed}`).toBeLessThan(0.001)
  }
})

test('a waiting event is woken when its key has room, and a key that is idle leaves no record', async () => {
  const records = new Records()
  const clock = new SimClock(0, 0)
  const table = new RateTable('r', { max: 1, perMs: 100, burst: 1 }, { ...records, clock })
  table.begin('k', 'k', false)
  expect(table.hasRoom('k')).toBe(false)
  const woken: number[] = []
  table.wait('k', 'place', () => void woken.push(clock.elapsed()))
  expect(table.heldBy('place')).toEqual({ limit: 'r', kind: 'rate', dueAtMs: 100 })
  await clock.pass(99)
  expect(woken).toEqual([])
  await clock.pass(1)
  expect(woken).toEqual([100])
  await clock.pass(100)
  for (let n = 0; n < 3000; n++) table.begin(`many-${n}`, 'x', false)
  await clock.pass(200)
  for (let n = 0; n < 3000; n++) table.begin(`more-${n}`, 'x', false)
  expect(records.all.has('l/r/k')).toBe(false)
  expect(table.keys).toBeLessThan(4200)
})

test('a wall clock that was set back while nothing ran does not stop a key for longer than its burst', () => {
  const records = new Records()
  const size = { max: 1, perMs: 100, burst: 3 }
  const before = new RateTable('r', size, { ...records, clock: new SimClock(0, 1_000_000) })
  for (let n = 0; n < 3; n++) before.begin('k', 'k', false)
  const clock = new SimClock(0, 0)
  const table = new RateTable('r', size, { ...records, clock })
  expect(table.held('k').dueAtMs).toBeLessThanOrEqual(100)
})

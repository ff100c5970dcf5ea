/**
 * The delivery room against a simple model. Random histories of consumers are played on both: blocks are not in
 * memory, reads and commits take time, processes die, hang and take over. `MILLRACE_SEEDS=N` plays N histories. A
 * failure names its seed and shows the shortest history found that breaks the same rule. The model must also find
 * faults that are planted in the room.
 */
import { setImmediate as eventLoop } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { FAULTS, LIMIT_FAULTS, type Plant } from './model/faults.ts'
import { type History, historyFrom, withLimits, withOwnKeys } from './model/history.ts'
import { play, playing } from './model/player.ts'
import { report } from './model/shrink.ts'
import { timersBy } from './model/sim-clock.ts'

const SEEDS = Number(process.env['MILLRACE_SEEDS'] ?? 1500)
const FIRST = Number(process.env['MILLRACE_SEED'] ?? 0)
const TOGETHER = 250
/** A planted fault must be found within this number of histories. */
const FAULT_SEEDS = 3000

beforeAll(() => timersBy(() => playing))
afterAll(() => vi.unstubAllGlobals())

/** Play a seed. Returns null, or a report of the failure. */
async function failureOf(seed: number, change = (history: History): History => history): Promise<string | null> {
  const history = change(historyFrom(seed))
  const outcome = await play(history)
  return outcome.broken === null ? null : report(seed, history, outcome)
}

const groups = Array.from({ length: Math.ceil(SEEDS / TOGETHER) }, (_, group) => FIRST + group * TOGETHER)

describe('random histories keep the rules', () => {
  test.each(groups)('seeds from %d', { timeout: 120_000 }, async (first) => {
    for (let seed = first; seed < Math.min(first + TOGETHER, FIRST + SEEDS); seed++) {
      const failure = await failureOf(seed)
      if (failure !== null) expect.fail(failure)
      if (seed % 50 === 0) await eventLoop()
    }
  })

  test.each(groups.slice(0, Math.ceil(groups.length / 3)))(
    'seeds from %d, with keys of the consumers',
    { timeout: 120_000 },
    async (first) => {
      for (let seed = first; seed < Math.min(first + TOGETHER, FIRST + SEEDS); seed++) {
        const failure = await failureOf(seed, withOwnKeys)
        if (failure !== null) expect.fail(failure)
        if (seed % 50 === 0) await eventLoop()
      }
    },
  )

  test.each(groups.slice(0, Math.ceil(groups.length / 3)))(
    'seeds from %d, with limits',
    { timeout: 120_000 },
    async (first) => {
      for (let seed = first; seed < Math.min(first + TOGETHER, FIRST + SEEDS); seed++) {
        const failure = await failureOf(seed, withLimits)
        if (failure !== null) expect.fail(failure)
        if (seed % 50 === 0) await eventLoop()
      }
    },
  )

  // A rewind during a commit; one key in a queue and in a stream; letters that wait to be stored; a later version of
  // a consumer.
  test.each([51_077, 65_406, 71_078, 82_664, 90_277])('seed %d, which once broke a rule', async (seed) => {
    expect(await failureOf(seed)).toBeNull()
  })

  test('a seed plays the same history each time', async () => {
    for (const seed of [1, 2, 3, 4, 5]) expect(await play(historyFrom(seed))).toEqual(await play(historyFrom(seed)))
  })
})

/** How many histories are played until one breaks a rule; null if none does. */
async function foundAfter(plant: Plant, change = (history: History): History => history): Promise<number | null> {
  const takeOut = plant()
  try {
    for (let seed = 0; seed < FAULT_SEEDS; seed++)
      if ((await play(change(historyFrom(seed)))).broken !== null) return seed + 1
    return null
  } finally {
    takeOut()
  }
}

describe('planted faults are found', () => {
  test.each(Object.entries(FAULTS))('%s', { timeout: 120_000 }, async (_, plant) => {
    expect(await foundAfter(plant)).not.toBeNull()
  })
})

test.each(Object.entries(LIMIT_FAULTS))('with limits: %s', { timeout: 120_000 }, async (_, plant) => {
  expect(await foundAfter(plant, withLimits)).not.toBeNull()
})

test('a failure is shown as a short history', { timeout: 120_000 }, async () => {
  const takeOut = FAULTS['a failed attempt counts twice']?.()
  try {
    let failure: string | null = null
    for (let seed = 0; failure === null; seed++) failure = await failureOf(seed)
    expect(failure).toMatch(/^seed \d+: attempt: /)
    expect(failure.split('\n').length).toBeLessThan(40)
  } finally {
    takeOut?.()
  }
})

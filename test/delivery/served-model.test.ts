/**
 * The engine over other brokers' logs against the same model and histories. Two processes share partitions of servers
 * in memory; processes are slow, hang and die, and answers of the servers are lost. `MILLRACE_SEEDS=N` plays N
 * histories. A failure names its seed and shows what had happened.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FAULTS } from './model/faults.ts'
import { historyFrom } from './model/history.ts'
import { playServed } from './model/served-player.ts'
import { watchPartitions } from './model/served-world.ts'

const SEEDS = Number(process.env['MILLRACE_SEEDS'] ?? 250)
const FIRST = Number(process.env['MILLRACE_SEED'] ?? 0)
const TOGETHER = 250
/** A planted fault must be found within this number of histories. */
const FAULT_SEEDS = 500
/** The planted faults that these histories find. */
const FOUND = [
  'a completion is taken while an earlier event of its key waits',
  'filters are not asked',
  'an instance takes more than it has credit for',
  'a failed attempt counts twice',
]

let end = (): void => undefined
beforeAll(() => {
  end = watchPartitions()
})
afterAll(() => end())

const groups = Array.from({ length: Math.ceil(SEEDS / TOGETHER) }, (_, group) => FIRST + group * TOGETHER)

describe('random histories keep the rules', () => {
  test.each(groups)('seeds from %d', { timeout: 120_000 }, async (first) => {
    for (let seed = first; seed < Math.min(first + TOGETHER, FIRST + SEEDS); seed++) {
      const { broken, trace } = await playServed(historyFrom(seed))
      if (broken !== null) expect.fail(`seed ${seed}: ${broken.rule}: ${broken.message}\n${trace.join('\n')}`)
    }
  })
})

describe('planted faults are found', () => {
  test.each(FOUND)('%s', { timeout: 120_000 }, async (fault) => {
    const takeOut = FAULTS[fault]?.()
    try {
      let broken = false
      for (let seed = 0; seed < FAULT_SEEDS && !broken; seed++)
        broken = (await playServed(historyFrom(seed))).broken !== null
      expect(broken).toBe(true)
    } finally {
      takeOut?.()
    }
  })
})

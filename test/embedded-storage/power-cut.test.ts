/**
 * A store whose process ends in kills, power cuts, full disks and failed syncs, at any call and any failpoint. It opens
 * again with everything that was acknowledged, complete and in order; the commit in progress is there completely or not
 * at all. `MILLRACE_SEEDS=N` runs more. A failure names its seed.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Simulation, type SimulationOptions } from './simulation.ts'

// Only the index is in real files, and nothing waits for their syncs.
const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'millrace-power-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const SEEDS = Number(process.env['MILLRACE_SEEDS'] ?? 75)
const FIRST = Number(process.env['MILLRACE_SEED'] ?? 0)
const TOGETHER = 25
let made = 0

async function run(seed: number, options: SimulationOptions = {}): Promise<string> {
  const directory = join(root, `${seed}-${made++}`)
  const simulation = new Simulation(seed, directory, options)
  try {
    await simulation.run()
    return simulation.trace
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const groups = Array.from({ length: Math.ceil(SEEDS / TOGETHER) }, (_, group) => FIRST + group * TOGETHER)

describe('kills, power cuts, full disks, failed syncs', () => {
  test.each(groups)('lose nothing that was acknowledged, with seeds from %d', { timeout: 60_000 }, async (first) => {
    for (let seed = first; seed < Math.min(first + TOGETHER, FIRST + SEEDS); seed++) await run(seed)
  })

  test('the same seed does the same twice', async () => {
    for (const seed of [1, 2, 3, 4, 5]) expect(await run(seed)).toBe(await run(seed))
  })

  test.each(['sync', 'directory'] as const)(
    'a disk that lies about its %s is noticed',
    { timeout: 60_000 },
    async (lies) => {
      let found = 0
      for (let seed = 0; seed < 100 && found === 0; seed++) {
        await run(seed, { lies }).catch(() => {
          found++
        })
      }
      expect(found).toBeGreaterThan(0)
    },
  )
})

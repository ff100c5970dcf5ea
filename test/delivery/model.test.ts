import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { historyFrom } from './model/history.ts'
import { play, playing } from './model/player.ts'
import { report } from './model/shrink.ts'
import { timersBy } from './model/sim-clock.ts'
import type { Rule } from './model/ledger.ts'

const SEEDS = Number(process.env['MILLRACE_SEEDS'] ?? 2000)
const FIRST = Number(process.env['MILLRACE_SEED'] ?? 0)
const ignored = new Set((process.env['IGN'] ?? '').split(',').filter(Boolean)) as Set<Rule>

beforeAll(() => timersBy(() => playing))
afterAll(() => vi.unstubAllGlobals())

describe('explore', () => {
  test('all', { timeout: 600_000 }, async () => {
    const counts = new Map<string, number[]>()
    const t = performance.now()
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      if (process.env['LOUD']) (await import('node:fs')).writeSync(2, seed + ' ')
      const history = historyFrom(seed)
      const outcome = await play(history, ignored)
      if (outcome.broken !== null) counts.set(outcome.broken.rule, [...(counts.get(outcome.broken.rule) ?? []), seed])
    }
    console.log(`${SEEDS} in ${performance.now() - t} ms`)
    for (const [rule, seeds] of counts) console.log(rule, seeds.length, seeds.slice(0, 5).join(' '))
    for (const [rule, seeds] of counts) {
      if (process.env['ONLY'] !== undefined && rule !== process.env['ONLY']) continue
      const seed = seeds[0] as number
      const history = historyFrom(seed)
      console.log(await report(seed, history, await play(history, ignored), ignored))
    }
    expect(counts.size).toBe(0)
  })
})

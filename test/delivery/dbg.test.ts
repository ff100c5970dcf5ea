import { writeSync } from 'node:fs'
import { beforeAll, test } from 'vitest'
import { historyFrom } from './model/history.ts'
import { play, Player, playing } from './model/player.ts'
import { report } from './model/shrink.ts'
import type { Rule } from './model/ledger.ts'
import { timersBy } from './model/sim-clock.ts'
const ignored = new Set((process.env['IGN'] ?? '').split(',').filter(Boolean)) as Set<Rule>
beforeAll(() => timersBy(() => playing))
test('x', { timeout: 100000 }, async () => {
  for (const seed of (process.env['SEED'] ?? '').split(',').map(Number)) {
    const h = historyFrom(seed)
    if (process.env['LIVE']) {
      writeSync(2, JSON.stringify(h.setup) + '\n')
      const p = new Player(h.setup, ignored)
      p.onTrace = (s) => void writeSync(2, s + '\n')
      await p.play(h.steps)
    } else writeSync(2, (await report(seed, h, await play(h, ignored), ignored)) + '\n\n')
  }
})

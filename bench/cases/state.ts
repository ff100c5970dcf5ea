/**
 * End to end with a handler that counts in the state of the event's key, compared with the same handler without state,
 * measured in turns.
 */
import type { Case, Figures, Row } from '../case.ts'
import { median } from '../load.ts'
import { loadOf, MILLRACE } from '../loads.ts'
import { MillraceSystem } from '../millrace.ts'
import { measureEndToEnd } from './end-to-end.ts'

export const state: Case = {
  name: 'state',
  title: 'A counter for each key as state of the consumer, end to end, 1,000 publishes in flight',
  async measure(open, setting, params) {
    const system = await open(setting)
    if (!(system instanceof MillraceSystem)) throw new Error('state is Millrace’s')
    system.counts = params['counts'] === 1
    return measureEndToEnd(async () => system, setting, params)
  },
  async run(bench) {
    const params = loadOf(bench, MILLRACE, 1000)
    const measured: readonly [number, Figures[]][] = [
      [0, []],
      [1, []],
    ]
    for (let round = 0; round < bench.rounds; round++)
      for (const [counts, figures] of measured)
        figures.push(await bench.measure('state', MILLRACE, { ...params, counts }))
    const without = median(measured[0]?.[1].map(({ rate }) => rate ?? Number.NaN) ?? [])
    return measured.map(([counts, figures]): Row => {
      const rates = figures.map(({ rate }) => rate ?? Number.NaN)
      const cpuUs = median(figures.map((each) => each['cpuUs'] ?? Number.NaN))
      const check = {
        of: '× without state',
        measured: median(rates) / without,
        required: 0.7,
        sense: 'at least',
      } as const
      return {
        load: counts === 1 ? 'a counter for each key' : 'without state',
        subject: MILLRACE,
        value: median(rates),
        unit: 'events/s',
        rounds: rates,
        note: `${cpuUs.toFixed(1)} µs of processor each`,
        ...(counts === 1 && { checks: [check] }),
      }
    })
  },
}

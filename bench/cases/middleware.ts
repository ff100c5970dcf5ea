/**
 * End to end with one and with five middlewares that do nothing, compared with none: the cost of each for a consumer.
 */
import type { Case, Figures, Params, Row } from '../case.ts'
import { median } from '../load.ts'
import { loadOf, MILLRACE } from '../loads.ts'
import { MillraceSystem } from '../millrace.ts'
import type { OpenSystem, Setting } from '../system.ts'
import { measureEndToEnd } from './end-to-end.ts'

const COUNTS = [0, 1, 5] as const

async function measure(open: OpenSystem, setting: Setting, params: Params): Promise<Figures> {
  const system = await open(setting)
  if (!(system instanceof MillraceSystem)) throw new Error('middleware is Millrace’s')
  system.middlewares = params['middlewares'] ?? 0
  return measureEndToEnd(async () => system, setting, params)
}

export const middleware: Case = {
  name: 'middleware',
  title: 'Middlewares that pass on, end to end, 1,000 publishes in flight',
  measure,
  async run(bench) {
    const params = loadOf(bench, MILLRACE, 1000)
    const measured = new Map<number, Figures[]>(COUNTS.map((count) => [count, []]))
    for (let round = 0; round < bench.rounds; round++)
      for (const [count, figures] of measured)
        figures.push(await bench.measure('middleware', MILLRACE, { ...params, middlewares: count }))
    return [...measured].map(([count, figures]): Row => {
      const rates = figures.map(({ rate }) => rate ?? Number.NaN)
      const cpuUs = median(figures.map((each) => each['cpuUs'] ?? Number.NaN))
      const load = count === 0 ? 'none' : `${count}`
      return {
        load,
        subject: MILLRACE,
        value: median(rates),
        unit: 'events/s',
        rounds: rates,
        note: `${cpuUs.toFixed(1)} µs of processor each`,
      }
    })
  },
}

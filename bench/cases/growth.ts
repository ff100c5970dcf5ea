/** The cost of a publish as the store grows: at ten thousand, a hundred thousand, a million and ten million events. */
import type { Case, Figures, Params, Row } from '../case.ts'
import { percentile, publishAll, rate } from '../load.ts'
import { MILLRACE } from '../loads.ts'
import { MillraceSystem } from '../millrace.ts'
import type { OpenSystem, Setting } from '../system.ts'
import { fill } from './filling.ts'

const LEVELS = [10_000, 100_000, 1_000_000, 10_000_000] as const

/** One process: filled to each level in turn and measured there. The measured events count towards the next level. */
async function measure(
  _open: OpenSystem,
  setting: Setting,
  { events = 0, probe = 0, probeOne = 0 }: Params,
): Promise<Figures> {
  const system = await MillraceSystem.open(setting)
  const figures: Record<string, number> = {}
  let stored = 0
  for (const level of LEVELS.filter((one) => one <= events)) {
    await fill(system, stored, level)
    const times = new Float64Array(probeOne)
    await publishAll(system, 1, level, level + probeOne, (line, ms) => {
      times[line - level] = ms
    })
    const start = performance.now()
    await publishAll(system, 1000, level + probeOne, level + probeOne + probe)
    stored = level + probeOne + probe
    figures[`rate${level}`] = rate(probe, start)
    figures[`p50Ms${level}`] = percentile(times, 0.5)
  }
  await system.close()
  return figures
}

export const growth: Case = {
  name: 'growth',
  title: 'Publishing by the number of events stored',
  measure,
  async run(bench) {
    const events = Math.max(bench.events(10_000_000), LEVELS[0])
    const figures = await bench.measure('growth', MILLRACE, {
      events,
      probe: bench.events(80_000),
      probeOne: bench.events(2000),
      inFlight: 1000,
    })
    const levels = LEVELS.filter((level) => level <= events)
    const row = (name: string, unit: string, level: number): Row => ({
      load: `${level.toLocaleString('en')} stored`,
      subject: MILLRACE,
      value: figures[`${name}${level}`] ?? Number.NaN,
      unit,
    })
    return [
      ...levels.map((level) => row('rate', 'events/s, 1,000 in flight', level)),
      ...levels.map((level) => row('p50Ms', 'ms p50, 1 in flight', level)),
    ]
  },
}

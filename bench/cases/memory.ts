/** The highest resident memory: during five million events, then with a consumer that is a million events behind. */
import type { Case, Figures, Params } from '../case.ts'
import { publishAll, rate, Tally } from '../load.ts'
import { MILLRACE } from '../loads.ts'
import type { OpenSystem, Setting } from '../system.ts'

function peakMb(): number {
  return process.resourceUsage().maxRSS / 1024
}

async function measure(
  open: OpenSystem,
  setting: Setting,
  { events = 0, behind = 0, inFlight = 1000 }: Params,
): Promise<Figures> {
  const first = await open(setting)
  const beforeMb = peakMb()
  const tally = new Tally(events)
  const consuming = await first.consume('steady', async ({ line }) => tally.add(line))
  const start = performance.now()
  await publishAll(first, inFlight, 0, events)
  await tally.complete()
  await consuming.settle()
  const figures = { rate: rate(events, start), beforeMb, throughMb: peakMb() }
  await publishAll(first, inFlight, events, events + behind)
  const behindMb = peakMb()
  const late = new Tally(behind)
  const again = await first.consume('steady', async ({ line }) => late.add(line - events))
  await late.complete()
  await again.settle()
  await first.close()
  late.check()
  return { ...figures, behindMb, drainedMb: peakMb() }
}

export const memory: Case = {
  name: 'memory',
  title: 'Resident memory at its highest',
  measure,
  async run(bench) {
    const [events, behind] = [bench.events(5_000_000), bench.events(1_000_000)]
    const figures = await bench.measure('memory', MILLRACE, { events, behind, inFlight: 1000 })
    const row = (load: string, name: string, required: number | null) => {
      const value = figures[name] ?? Number.NaN
      const checks = required === null ? [] : [{ of: 'MB', measured: value, required, sense: 'at most' as const }]
      return { load, subject: MILLRACE, value, unit: 'MB', checks }
    }
    return [
      row('just opened', 'beforeMb', null),
      {
        ...row(`through ${events.toLocaleString('en')} events`, 'throughMb', 300),
        note: `at ${Math.round(figures['rate'] ?? 0).toLocaleString('en')} events/s end to end`,
      },
      row(`a consumer ${behind.toLocaleString('en')} behind`, 'behindMb', 300),
      row('and caught up', 'drainedMb', 300),
    ]
  },
}

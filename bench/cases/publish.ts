/** Publishing only: durable events per second, and the time of each with one in flight. */
import type { Case, Check, Figures, Params, Row } from '../case.ts'
import { cpuEach, percentile, publishAll, rate } from '../load.ts'
import { atLeast, CEILING, inFlights, inFlightText, loadOf, MILLRACE, ratedRows } from '../loads.ts'
import type { OpenSystem, Setting } from '../system.ts'

async function measure(
  open: OpenSystem,
  setting: Setting,
  { events = 0, warmup = 0, inFlight = 1 }: Params,
): Promise<Figures> {
  const system = await open(setting)
  await publishAll(system, 1000, 0, warmup)
  const times = new Float64Array(inFlight === 1 ? events : 0)
  const timing = (line: number, ms: number): void => {
    times[line - warmup] = ms
  }
  const cpu = process.cpuUsage()
  const start = performance.now()
  await publishAll(system, inFlight, warmup, warmup + events, inFlight === 1 ? timing : undefined)
  const figures = {
    rate: rate(events, start),
    cpuUs: cpuEach(events, cpu),
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
  }
  await system.close()
  return figures
}

export const publish: Case = {
  name: 'publish',
  title: 'Publish, each event durable before its promise resolves',
  measure,
  async run(bench) {
    const rows: Row[] = []
    for (const inFlight of inFlights(bench)) {
      const subjects = [CEILING, MILLRACE, ...bench.peers.map(({ name }) => name)]
      const measured = await bench.compare(
        'publish',
        subjects.map((subject) => [subject, loadOf(bench, subject, inFlight)]),
      )
      const checks = inFlight === 1 ? [] : atLeast(measured, CEILING, 0.6)
      if (inFlight < 1000) checks.push(...atLeast(measured, 'redis', 1))
      rows.push(...ratedRows(inFlightText(inFlight), measured, 'rate', 'events/s', checks))
      if (inFlight > 1) continue
      const times: Check[] = [
        {
          of: '× ceiling',
          measured:
            (measured.get(MILLRACE)?.figure('p50Ms') ?? Number.NaN) /
            (measured.get(CEILING)?.figure('p50Ms') ?? Number.NaN),
          required: 1.2,
          sense: 'at most',
        },
      ]
      rows.push(...ratedRows(`${inFlightText(inFlight)}, p50`, measured, 'p50Ms', 'ms', times))
    }
    return rows
  },
}

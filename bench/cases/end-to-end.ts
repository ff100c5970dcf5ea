/**
 * Publish → synced → handler → completion, with a fixed number of publishes in flight while a consumer handles them.
 * The clock stops when every event was handled and every completion is recorded.
 */
import type { Case, Figures, Params, Row } from '../case.ts'
import { cpuEach, publishAll, rate, Tally } from '../load.ts'
import { atLeast, CEILING, inFlights, inFlightText, loadOf, MILLRACE, ratedRows } from '../loads.ts'
import type { Consuming, OpenSystem, Setting } from '../system.ts'

export async function measureEndToEnd(
  open: OpenSystem,
  setting: Setting,
  { events = 0, warmup = 0, inFlight = 1, consumers = 1 }: Params,
): Promise<Figures> {
  const system = await open(setting)
  const warm = Array.from({ length: consumers }, () => new Tally(warmup))
  const tallies = Array.from({ length: consumers }, () => new Tally(events))
  const consuming: Consuming[] = []
  for (let at = 0; at < consumers; at++) {
    const [first, second] = [warm[at] as Tally, tallies[at] as Tally]
    consuming.push(
      await system.consume(`consumer-${at}`, async ({ line }) => {
        if (line < warmup) first.add(line)
        else second.add(line - warmup)
      }),
    )
  }
  await publishAll(system, 1000, 0, warmup)
  await Promise.all(warm.map((tally) => tally.complete()))
  const cpu = process.cpuUsage()
  const start = performance.now()
  await publishAll(system, inFlight, warmup, warmup + events)
  const published = rate(events, start)
  await Promise.all(tallies.map((tally) => tally.complete()))
  const handled = rate(events, start)
  await Promise.all(consuming.map((one) => one.settle()))
  const figures = { rate: rate(events, start), cpuUs: cpuEach(events, cpu), published, handled }
  await system.close()
  for (const tally of tallies) tally.check()
  return figures
}

export const endToEnd: Case = {
  name: 'end-to-end',
  title: 'End to end: publish → durable → handler → completion, publishes in flight',
  measure: measureEndToEnd,
  async run(bench) {
    const rows: Row[] = []
    for (const inFlight of inFlights(bench)) {
      const subjects = [CEILING, MILLRACE, ...bench.peers.map(({ name }) => name)]
      const measured = await bench.compare(
        'end-to-end',
        subjects.map((subject) => [subject, loadOf(bench, subject, inFlight)]),
      )
      const checks =
        inFlight === 1000
          ? [...atLeast(measured, CEILING, 0.6), ...atLeast(measured, 'redis', 1.5), ...atLeast(measured, 'bullmq', 6)]
          : atLeast(measured, 'redis', 1)
      rows.push(...ratedRows(inFlightText(inFlight), measured, 'rate', 'events/s', checks))
    }
    return rows
  },
}

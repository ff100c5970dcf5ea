/** Round trips over a number of slots: a slot publishes again when the handler of its last event has returned. */
import type { Case, Figures, Params, Row } from '../case.ts'
import { rate, Tally, tripAll } from '../load.ts'
import { CEILING, inFlights, inFlightText, loadOf, MILLRACE, ratedRows } from '../loads.ts'
import type { OpenSystem, Setting } from '../system.ts'

async function measure(
  open: OpenSystem,
  setting: Setting,
  { events = 0, warmup = 0, inFlight = 1 }: Params,
): Promise<Figures> {
  const system = await open(setting)
  const tally = new Tally(warmup + events)
  const handled = new Map<number, () => void>()
  const consuming = await system.consume('consumer', async ({ line }) => {
    tally.add(line)
    handled.get(line)?.()
  })
  await tripAll(system, 1000, 0, warmup, handled)
  const start = performance.now()
  await tripAll(system, inFlight, warmup, warmup + events, handled)
  const figures = { rate: rate(events, start) }
  await consuming.settle()
  await system.close()
  tally.check()
  return figures
}

export const roundTrip: Case = {
  name: 'round-trip',
  title: 'Round trips: publish → durable → handler has returned, round trips in flight',
  measure,
  async run(bench) {
    const rows: Row[] = []
    for (const inFlight of inFlights(bench)) {
      const measured = await bench.compare(
        'round-trip',
        [CEILING, MILLRACE].map((subject) => [subject, loadOf(bench, subject, inFlight)]),
      )
      rows.push(...ratedRows(inFlightText(inFlight), measured, 'rate', 'events/s', []))
    }
    return rows
  },
}

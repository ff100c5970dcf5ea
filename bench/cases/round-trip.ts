/** Round trips: the next publish of a slot waits until the handler of the one before has returned. So many slots. */
import type { Case, Figures, Params, Row } from '../case.ts'
import { rate, Tally, tripAll } from '../load.ts'
import { CEILING, inFlights, inFlightText, loadOf, MILLRACE, ratedRows } from '../loads.ts'
import type { OpenSystem, Place } from '../system.ts'

async function measure(
  open: OpenSystem,
  place: Place,
  { events = 0, warmup = 0, inFlight = 1 }: Params,
): Promise<Figures> {
  const system = await open(place)
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

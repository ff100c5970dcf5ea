/**
 * The cost of each part of the bare loop: the ceiling that ratios refer to (JSON both ways, a growing file), and its
 * variants.
 */
import type { Case, Row } from '../case.ts'
import { inFlights, inFlightText, loadOf, ratedRows } from '../loads.ts'
import { measureEndToEnd } from './end-to-end.ts'

export const ceilings: Case = {
  name: 'ceilings',
  title: 'The bare ceiling end to end, and its variants',
  measure: measureEndToEnd,
  async run(bench) {
    const rows: Row[] = []
    for (const inFlight of inFlights(bench)) {
      const subjects = ['ceiling', 'ceiling, stringify only', 'ceiling, preallocated']
      const measured = await bench.compare(
        'ceilings',
        subjects.map((subject) => [subject, loadOf(bench, subject, inFlight)]),
      )
      rows.push(...ratedRows(inFlightText(inFlight), measured, 'rate', 'events/s', []))
    }
    return rows
  },
}

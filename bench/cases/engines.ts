/**
 * Engines over other brokers, end to end, each compared with a plain program that uses the broker's own client and does
 * the same work (publish, handler, completion stored) on its own server with the same settings.
 */
import type { Case, Row } from '../case.ts'
import { inFlights, inFlightText, loadOf, ratedRows } from '../loads.ts'
import { ENGINE_PAIRS } from '../systems.ts'
import { measureEndToEnd } from './end-to-end.ts'

/** The required share of the plain program's rate, at the highest number in flight. */
const SHARE = 0.7

export const engines: Case = {
  name: 'engines',
  title: 'Engines over other brokers, end to end, beside a plain program on the same server',
  measure: measureEndToEnd,
  async run(bench) {
    const rows: Row[] = []
    for (const pair of ENGINE_PAIRS) {
      if (!pair.every((name) => bench.peers.some((peer) => peer.name === name))) continue
      for (const inFlight of inFlights(bench)) {
        const subjects = pair.map((subject) => [subject, loadOf(bench, subject, inFlight)] as const)
        const measured = await bench.compare('engines', subjects)
        const [mine, plain] = pair.map((name) => measured.get(name)?.figure('rate') ?? Number.NaN)
        const share = {
          of: `× ${pair[1]}`,
          measured: (mine ?? 0) / (plain ?? 1),
          required: SHARE,
          sense: 'at least',
        } as const
        const text = inFlightText(inFlight)
        for (const row of ratedRows(text, measured, 'rate', 'events/s', []))
          rows.push(row.subject === pair[0] ? { ...row, checks: [share] } : row)
      }
    }
    return rows
  },
}

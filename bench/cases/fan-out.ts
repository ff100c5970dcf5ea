/** Five consumers of one stream: the rate of each, compared with a single consumer. */
import type { Case, Row } from '../case.ts'
import { median } from '../load.ts'
import { CEILING, loadOf, MILLRACE } from '../loads.ts'
import { measureEndToEnd } from './end-to-end.ts'

const CONSUMERS = 5

export const fanOut: Case = {
  name: 'fan-out',
  title: 'Consumers of one stream, 1,000 publishes in flight, events a second of each',
  measure: measureEndToEnd,
  async run(bench) {
    const rows: Row[] = []
    for (const subject of [CEILING, MILLRACE]) {
      const params = loadOf(bench, subject, 1000)
      const rates: { one: number[]; five: number[] } = { one: [], five: [] }
      for (let round = 0; round < bench.rounds; round++) {
        rates.one.push((await bench.measure('fan-out', subject, { ...params, consumers: 1 }))['rate'] as number)
        rates.five.push(
          (await bench.measure('fan-out', subject, { ...params, consumers: CONSUMERS }))['rate'] as number,
        )
      }
      rows.push(...rowsOf(subject, rates))
    }
    return rows
  },
}

function rowsOf(
  subject: string,
  { one, five }: { readonly one: readonly number[]; readonly five: readonly number[] },
): Row[] {
  const [alone, each] = [median(one), median(five)]
  const checks =
    subject === MILLRACE
      ? [{ of: 'of one alone', measured: each / alone, required: 0.35, sense: 'at least' as const }]
      : []
  return [
    { load: 'one consumer', subject, value: alone, unit: 'events/s', rounds: one },
    { load: 'each of five', subject, value: each, unit: 'events/s', rounds: five, checks },
  ]
}

/** docs/images/end-to-end.svg: bars of the case `end-to-end`, for the README. Each bar is a row of docs/figures.md. */
import { number } from '../../bench/table.ts'
import type { Figures } from './figures.ts'

/** The subjects that the chart shows, in words; docs/benchmarks.md describes each. */
const SUBJECTS: Readonly<Record<string, string>> = {
  millrace: 'Millrace',
  redis: 'Redis Streams',
  'redis-4': 'Redis, four connections',
  kafka: 'Kafka, synced',
  bullmq: 'BullMQ',
  nats: 'JetStream (not synced)',
  'nats-synced': 'JetStream, synced',
  'pg-boss': 'pg-boss',
}
const LOADS = ['64 in flight', '1,000 in flight']

const WIDTH = 760
const NAME_WIDTH = 190
const VALUE_WIDTH = 90
const BAR = 18
const LINE = 26

const STYLE = `text{font:13px system-ui,sans-serif;fill:#1f2328}
.load{font-weight:600}
.bar{fill:#8c959f}
.own{fill:#0969da}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.own{fill:#58a6ff}}`

/** The complete SVG. Throws if a subject was not measured: a chart never leaves out a slower or a faster one. */
export function endToEndChart(figures: readonly Figures[]): string {
  const measured = figures.find(({ caseName }) => caseName === 'end-to-end')
  if (measured === undefined) throw new Error('The case end-to-end was not measured: npm run bench -- --peers')
  const most = Math.max(...LOADS.flatMap((load) => barsOf(measured, load).map(({ value }) => value)))
  let y = 20
  const parts: string[] = []
  for (const load of LOADS) {
    parts.push(`<text class="load" x="0" y="${y}">${load}: events a second</text>`)
    y += 12
    for (const { subject, value } of barsOf(measured, load)) {
      const width = Math.max(1, Math.round((value / most) * (WIDTH - NAME_WIDTH - VALUE_WIDTH)))
      const own = subject === 'millrace' ? ' own' : ''
      parts.push(
        `<text x="0" y="${y + 14}">${SUBJECTS[subject]}</text>`,
        `<rect class="bar${own}" x="${NAME_WIDTH}" y="${y}" width="${width}" height="${BAR}" rx="3"/>`,
        `<text x="${NAME_WIDTH + width + 8}" y="${y + 14}">${number(value)}</text>`,
      )
      y += LINE
    }
    y += LINE
  }
  const title = `Publish, durable, handled and completed, events a second. ${measured.date}, ${measured.machine}.`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y - LINE}" role="img" aria-label="${title}">
<title>${title}</title>
<style>${STYLE}</style>
${parts.join('\n')}
</svg>
`
}

function barsOf(measured: Figures, load: string): { subject: string; value: number }[] {
  return Object.keys(SUBJECTS)
    .map((subject) => {
      const row = measured.rows.find((each) => each.load === load && each.subject === subject)
      if (row === undefined) throw new Error(`end-to-end has no row for ${subject} at ${load}`)
      return { subject, value: row.value }
    })
    .sort((one, other) => other.value - one.value)
}

/** docs/figures.md: a table for each case. */
import type { Row } from '../../bench/case.ts'
import { checkText, number } from '../../bench/table.ts'
import type { Figures } from './figures.ts'

const HEAD = `# Measured figures

\`npm run docs:figures\` writes this page from what \`npm run bench\` measured. [Benchmarks](benchmarks.md) explains how
each case is measured. Absolute figures depend on the machine named with them; compare the ratios within one run.
\`SHORT\` marks a figure below its requirement.
`

/** The complete content of the page. */
export function figuresPage(figures: readonly Figures[]): string {
  return HEAD + figures.map(section).join('')
}

function section({ title, options, date, machine, rows }: Figures): string {
  const head = '| load | subject | median | least – most | required | |\n| --- | --- | --- | --- | --- | --- |\n'
  return `\n## ${title}\n\n\`npm run bench -- ${options}\` · ${date}, ${machine}\n\n${head}${rows.map(rowText).join('')}`
}

function rowText({ load, subject, value, unit, rounds, checks, note }: Row): string {
  const spread =
    rounds !== undefined && rounds.length > 1 ? `${number(Math.min(...rounds))} – ${number(Math.max(...rounds))}` : ''
  const required = (checks ?? []).map(checkText).join(' · ')
  return `| ${[load, subject, `${number(value)} ${unit}`, spread, required, note ?? ''].map(cell).join(' | ')} |\n`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

/**
 * Write docs/figures.md from the results of `npm run bench`: `npm run docs:figures`. For each case it takes the newest
 * complete measurement in bench/results, with its date, machine and commit. No figure is typed by hand.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Row } from '../bench/case.ts'
import { checkText, number } from '../bench/table.ts'

interface Results {
  readonly started: string
  readonly machine: { readonly node: string; readonly cpus: string; readonly memoryGb: number; readonly commit: string }
  readonly options: { readonly quick?: boolean; readonly peers?: boolean }
  readonly rows: readonly (Row & { readonly caseName: string; readonly title: string })[]
}

const PAGE = fileURLToPath(new URL('../docs/figures.md', import.meta.url))
const RESULTS = fileURLToPath(new URL('../bench/results/', import.meta.url))

const HEAD = `# Measured figures

Written by \`npm run docs:figures\` from what \`npm run bench\` measured; [benchmarks.md](benchmarks.md) says how. Absolute figures are of the machine
named with them, and say little of yours: the ratios within one run are what counts. \`SHORT\` marks what falls short of what we require.
`

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

function rowText(row: Row): string {
  const spread =
    row.rounds !== undefined && row.rounds.length > 1
      ? `${number(Math.min(...row.rounds))} – ${number(Math.max(...row.rounds))}`
      : ''
  const checks = (row.checks ?? []).map(checkText).join(' · ')
  return `| ${[row.load, row.subject, `${number(row.value)} ${row.unit}`, spread, checks, row.note ?? ''].map(cell).join(' | ')} |\n`
}

function section(results: Results, caseName: string): string {
  const rows = results.rows.filter((row) => row.caseName === caseName)
  const { started, machine } = results
  const where = `${started.slice(0, 10)}, Node ${machine.node.slice(1)}, ${machine.cpus}, ${machine.memoryGb} GB, commit ${machine.commit}`
  const head = '| load | subject | median | least – most | required | |\n| --- | --- | --- | --- | --- | --- |\n'
  const peers = results.options.peers === true ? '--peers ' : ''
  const options = caseName === 'engines' ? '--engines' : `${peers}--only ${caseName}`
  return `\n## ${rows[0]?.title ?? caseName}\n\n\`npm run bench -- ${options}\` · ${where}\n\n${head}${rows.map(rowText).join('')}`
}

const newest = new Map<string, Results>()
for (const file of readdirSync(RESULTS)
  .filter((name) => name.endsWith('.json'))
  .sort()) {
  const results = JSON.parse(readFileSync(RESULTS + file, 'utf8')) as Results
  if (results.options.quick === true) continue
  for (const { caseName, title } of results.rows) if (title !== undefined) newest.set(caseName, results)
}
if (newest.size === 0) throw new Error('bench/results has no whole measurement: run `npm run bench` first')
const pages = [...newest].map(([caseName, results]) => section(results, caseName))
writeFileSync(PAGE, HEAD + pages.join(''))

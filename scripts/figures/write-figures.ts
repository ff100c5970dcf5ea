/**
 * Take the results of `npm run bench` into docs/figures.json, and write the page and the chart from it:
 * `npm run docs:figures`.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { endToEndChart } from './chart.ts'
import { FIGURES_CHART, FIGURES_DATA, FIGURES_PAGE, readFigures, withResults } from './figures.ts'
import { figuresPage } from './page.ts'

const RESULTS = fileURLToPath(new URL('../../bench/results/', import.meta.url))

let figures = readFigures()
for (const file of readdirSync(RESULTS)
  .filter((name) => name.endsWith('.json'))
  .sort()) {
  figures = withResults(figures, JSON.parse(readFileSync(RESULTS + file, 'utf8')))
}
writeFileSync(FIGURES_DATA, `${JSON.stringify(figures, undefined, 1)}\n`)
writeFileSync(FIGURES_PAGE, figuresPage(figures))
writeFileSync(FIGURES_CHART, endToEndChart(figures))

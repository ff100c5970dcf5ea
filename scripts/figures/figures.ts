/**
 * The measured figures that the docs show: docs/figures.json holds for each case of the bench the newest complete
 * measurement. The page and the chart are generated from it, so no figure is typed by hand.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Row } from '../../bench/case.ts'

const docs = (name: string): string => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url))
export const FIGURES_DATA: string = docs('figures.json')
export const FIGURES_PAGE: string = docs('figures.md')
export const FIGURES_CHART: string = docs('images/end-to-end.svg')

/** A case as it was measured. */
export interface Figures {
  readonly caseName: string
  readonly title: string
  /** The options of `npm run bench` that repeat the measurement. */
  readonly options: string
  /** Such as `2026-11-26`. */
  readonly date: string
  /** Version of Node, processors, memory and commit. */
  readonly machine: string
  readonly rows: readonly Row[]
}

/** What `npm run bench` writes to bench/results. */
interface Results {
  readonly started: string
  readonly machine: { readonly node: string; readonly cpus: string; readonly memoryGb: number; readonly commit: string }
  readonly options: { readonly quick?: boolean; readonly peers?: boolean }
  readonly rows: readonly (Row & { readonly caseName: string; readonly title?: string })[]
}

export function readFigures(): Figures[] {
  return JSON.parse(readFileSync(FIGURES_DATA, 'utf8')) as Figures[]
}

/** The figures after a run of the bench: its cases replace those of the same name. A quick run measures nothing. */
export function withResults(figures: readonly Figures[], results: Results): Figures[] {
  if (results.options.quick === true) return [...figures]
  const merged = new Map(figures.map((each) => [each.caseName, each]))
  for (const name of new Set(results.rows.map((row) => row.caseName))) merged.set(name, caseOf(results, name))
  return [...merged.values()]
}

function caseOf(results: Results, name: string): Figures {
  const { started, machine } = results
  const rows = results.rows.filter((row) => row.caseName === name)
  const peers = results.options.peers === true ? '--peers ' : ''
  return {
    caseName: name,
    title: rows[0]?.title ?? name,
    options: name === 'engines' ? '--engines' : `${peers}--only ${name}`,
    date: started.slice(0, 10),
    machine: `Node ${machine.node.slice(1)}, ${machine.cpus}, ${machine.memoryGb} GB, commit ${machine.commit}`,
    rows: rows.map(({ caseName: _case, title: _title, ...row }) => row),
  }
}

/**
 * The page that shows how each engine supports the contract (docs/engines/matrix.md), generated from runs of the
 * conformance suite and from capabilities.
 */
import { fileURLToPath } from 'node:url'
import { type Capability, CLAUSES, type Clause } from '../../src/broker/capabilities.ts'
import { SCENARIOS } from '../../src/testing/conformance/scenarios.ts'
import { MATRIX_ENGINES, type MatrixEngine } from './engines.ts'

export const MATRIX_PAGE: string = fileURLToPath(new URL('../../docs/engines/matrix.md', import.meta.url))
/** The results of the runs. */
export const RUNS: string = fileURLToPath(new URL('../../docs/engines/conformance.json', import.meta.url))

/** A scenario in one of an engine's runs; `in` names the run if an engine has several. */
export interface Exempted {
  readonly scenario: string
  readonly in: string
  readonly reason: string
}

/** The runs of one engine. A scenario counts as passed if it passed in one of them. */
export interface EngineRun {
  readonly passed: readonly string[]
  readonly failed: readonly string[]
  readonly exempt: readonly Exempted[]
}

export type Runs = Readonly<Record<string, EngineRun>>

/** One test in the report of Vitest's JSON reporter. */
export interface ReportedTest {
  readonly ancestorTitles: readonly string[]
  readonly title: string
  readonly status: string
}

const EXEMPT = / \(exempt: ([\s\S]*)\)$/

export function runOf(tests: readonly ReportedTest[]): EngineRun {
  const passed = new Set<string>()
  const failed = new Set<string>()
  const exempt: Exempted[] = []
  for (const { title, status, ancestorTitles } of tests) {
    const reason = EXEMPT.exec(title)?.[1]
    if (reason !== undefined)
      exempt.push({ scenario: title.replace(EXEMPT, ''), in: ancestorTitles.at(-1) ?? '', reason })
    else if (status === 'passed') passed.add(title)
    else failed.add(title)
  }
  return { passed: [...passed].sort(), failed: [...failed].sort(), exempt }
}

const clausesOf = (): Clause[] => Object.keys(CLAUSES).map(Number) as Clause[]

function cell({ name, capabilities }: MatrixEngine, clause: Clause, runs: Runs): string {
  const run = runs[name]
  const all = SCENARIOS.filter((scenario) => scenario.clause === clause)
  const passed = all.filter((scenario) => run?.passed.includes(scenario.name) === true)
  const failed = all.filter((scenario) => run?.failed.includes(scenario.name) === true)
  const counts = `${passed.length}/${all.length}`
  return `${capabilities[clause].support} ${failed.length > 0 ? `**${counts}, ${failed.length} failed**` : counts}`
}

/** The page. */
export function matrixPage(runs: Runs): string {
  const engines = MATRIX_ENGINES.filter(({ name }) => runs[name] !== undefined)
  const heads = ['clause', ...engines.map(({ name }) => `\`${name}\``)]
  const rows = clausesOf().map((clause) => [
    `${clause} ${CLAUSES[clause]}`,
    ...engines.map((engine) => cell(engine, clause, runs)),
  ])
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    '# What each engine holds of the contract',
    '',
    '<!-- Made by `npm run docs:matrix` from runs of the conformance suite and from the engines’ own capabilities: do not edit. -->',
    '',
    'How an engine holds a clause of [the contract](../contract.md): `native`, with a feature of its own; `emulated`, built from its parts, at a cost; `refused`: asking for it is an error. Behind it, how many of',
    'the clause’s scenarios have passed on the real engine. The others are exempt, for the reason given below, or newer than the last run.',
    '',
    line(heads),
    line(heads.map(() => '---')),
    ...rows.map(line),
    '',
    ...engines.flatMap((engine) => section(engine, runs[engine.name] as EngineRun)),
  ].join('\n')
}

function section({ name, test, capabilities }: MatrixEngine, run: EngineRun): string[] {
  const held = clausesOf().map((clause) => `| ${clause} ${CLAUSES[clause]} | ${told(capabilities[clause])} |`)
  const passed = new Set(run.passed)
  const exempt = run.exempt.filter(({ scenario }) => !passed.has(scenario))
  const elsewhere = run.exempt.filter(({ scenario }) => passed.has(scenario))
  return [
    `## \`${name}\``,
    '',
    `${run.passed.length} of ${SCENARIOS.length} scenarios have passed (\`test/conformance/${test}\`).`,
    '',
    '<details><summary>How it holds each clause</summary>',
    '',
    '| clause | with |',
    '| --- | --- |',
    ...held,
    '',
    '</details>',
    '',
    ...listed('Exempt:', exempt),
    ...listed('Run in another form only:', elsewhere),
  ]
}

function told({ support, reason, cost }: Capability): string {
  return `${support}: ${reason}${cost === undefined ? '' : `; costs: ${cost}`}`.replaceAll('|', '\\|')
}

function listed(head: string, exempted: readonly Exempted[]): string[] {
  if (exempted.length === 0) return []
  return [
    head,
    '',
    ...exempted.map((each) => `- \`${each.scenario}\`${each.in === '' ? '' : ` (${each.in})`}: ${each.reason}`),
    '',
  ]
}

/**
 * Run the conformance suite on every engine that is available here, and write the results:
 * docs/engines/conformance.json, and the page.
 *
 * An engine whose server is missing keeps the results of its last run, and the output says so. `-- nats:` runs one
 * engine; `-- --page` only writes the page again.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MATRIX_ENGINES } from './engines.ts'
import { type EngineRun, MATRIX_PAGE, matrixPage, type ReportedTest, RUNS, type Runs, runOf } from './matrix.ts'

const only = process.argv.slice(2)
const before = existsSync(RUNS) ? (JSON.parse(readFileSync(RUNS, 'utf8')) as Runs) : {}
const runs: Record<string, EngineRun> = {}
const folder = mkdtempSync(join(tmpdir(), 'millrace-matrix-'))

function reported(test: string): ReportedTest[] {
  const file = join(folder, `${test}.json`)
  spawnSync('npx', ['vitest', 'run', `test/conformance/${test}`, '--reporter=json', `--outputFile=${file}`], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const { testResults } = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly testResults: readonly { readonly assertionResults: readonly ReportedTest[] }[]
  }
  return testResults.flatMap(({ assertionResults }) => assertionResults)
}

for (const { name, test } of MATRIX_ENGINES) {
  const kept = before[name]
  if (only.length > 0 && !only.includes(name)) {
    if (kept !== undefined) runs[name] = kept
    continue
  }
  const run = runOf(reported(test))
  const there = run.passed.length + run.failed.length > 0
  if (there) runs[name] = run
  else if (kept !== undefined) runs[name] = kept
  process.stdout.write(
    `${name} ${there ? `${run.passed.length} passed, ${run.failed.length} failed, ${run.exempt.length} exempt` : 'did not run: its last run stands'}\n`,
  )
  for (const failed of run.failed) process.stdout.write(`  failed: ${failed}\n`)
}
rmSync(folder, { recursive: true, force: true })
writeFileSync(RUNS, `${JSON.stringify(runs, null, 2)}\n`)
writeFileSync(MATRIX_PAGE, matrixPage(runs))

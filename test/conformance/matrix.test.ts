/**
 * docs/engines/matrix.md agrees with its data and with the code: the page is generated from them, and the listed
 * exemptions are those of today's suites.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MATRIX_ENGINES } from '../../scripts/matrix/engines.ts'
import { type EngineRun, MATRIX_PAGE, matrixPage, RUNS, type Runs, runOf } from '../../scripts/matrix/matrix.ts'
import { SCENARIOS } from '../../src/testing/conformance/scenarios.ts'
import { filesBelow } from '../house/sources.ts'

const runs = JSON.parse(readFileSync(RUNS, 'utf8')) as Runs
const names = SCENARIOS.map(({ name }) => name).sort()
const engines = MATRIX_ENGINES.map((engine) => [engine.name, engine.test] as const)

/** The scenarios that a run reports. */
function told({ passed, exempt }: EngineRun): ReadonlySet<string> {
  return new Set([...passed, ...exempt.map(({ scenario }) => scenario)])
}

/** The tests that would run, by file; they are collected and not run. */
function collected(): ReadonlyMap<string, ReadonlySet<string>> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-matrix-'))
  try {
    const list = join(folder, 'list.json')
    execFileSync(
      'npx',
      ['vitest', 'list', ...engines.map(([, file]) => `test/conformance/${file}`), `--json=${list}`],
      { stdio: 'pipe' },
    )
    const found = new Map<string, Set<string>>()
    for (const { name, file } of JSON.parse(readFileSync(list, 'utf8')) as readonly {
      readonly name: string
      readonly file: string
    }[]) {
      const tests = found.get(basename(file)) ?? new Set()
      found.set(basename(file), tests.add(name.split(' > ').at(-1) as string))
    }
    return found
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

test('the page is made of the data and of the capabilities in the code', () => {
  expect(readFileSync(MATRIX_PAGE, 'utf8'), 'run `npm run docs:matrix -- --page`').toBe(matrixPage(runs))
})

describe.each(engines)('%s', (name) => {
  const run = runs[name] as EngineRun

  test('has been run, and without a failure', () => {
    expect(run, 'run `npm run docs:matrix`').toBeDefined()
    expect(run.failed).toEqual([])
    expect(
      run.passed.filter((scenario) => !names.includes(scenario)),
      'run `npm run docs:matrix`',
    ).toEqual([])
    const notRun = names.filter((scenario) => !told(run).has(scenario))
    if (notRun.length > 0)
      console.warn(`${name}: not run since they were written (npm run docs:matrix): ${notRun.join(', ')}`)
  })

  test('gives reasons that stand in the code', () => {
    const code = [...filesBelow('test/conformance', '.ts'), ...filesBelow('src/engines', '.ts')]
      .map(({ text }) => text)
      .join('\n')
    // What an engine refuses has the reason of its capabilities behind the number of the clause.
    for (const { reason } of run.exempt)
      expect(code.includes(reason.replace(/^clause \d+ is refused: /, '')), reason).toBe(true)
  })
})

test('what is exempt in the data is what the suites leave out now', { timeout: 60_000 }, () => {
  const tests = collected()
  for (const [name, file] of engines) {
    const runsNow = tests.get(file)
    // A server that is not installed here has nothing to compare.
    if (runsNow === undefined) continue
    expect(
      names.filter((scenario) => runsNow.has(scenario)),
      `run \`npm run docs:matrix -- ${name}\``,
    ).toEqual(runs[name]?.passed)
  }
})

test('a run is taken from what the runner reports', () => {
  const tests = [
    { ancestorTitles: ['four'], title: 'a/one', status: 'passed' },
    { ancestorTitles: ['four'], title: 'a/two (exempt: for (a) reason)', status: 'skipped' },
    { ancestorTitles: ['one'], title: 'a/two', status: 'passed' },
    { ancestorTitles: [], title: 'a/three', status: 'failed' },
  ]
  const exempt = [{ scenario: 'a/two', in: 'four', reason: 'for (a) reason' }]
  expect(runOf(tests)).toEqual({ passed: ['a/one', 'a/two'], failed: ['a/three'], exempt })
})

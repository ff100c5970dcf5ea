/**
 * The contract as executable tests: `conformance(harness)` registers every scenario with a test runner, against any
 * engine.
 *
 * Nothing is left out silently: a scenario that is not run is registered as skipped with its reason, and an exemption
 * that names no scenario is an error.
 */
import { MillraceError } from '../../base/errors.ts'
import type { Capabilities } from '../../broker/capabilities.ts'
import type { Need, Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'
import { type ConformanceWorld, PATIENCE, type Patience, World } from './world.ts'

/** The function that registers a test: the `test` of Vitest, Jest, Bun and `node:test` all fit. */
export interface ConformanceTest {
  (name: string, run: () => Promise<void>, timeoutMs?: number): unknown
  readonly skip?: (name: string, run: () => Promise<void>) => unknown
}

/** What the suite needs to know about an engine and a test runner. */
export interface ConformanceHarness {
  readonly test: ConformanceTest
  /** A new, empty world. Called once for each scenario. */
  open(): ConformanceWorld | Promise<ConformanceWorld>
  /** The engine's capabilities: scenarios of a clause that it refuses are skipped with its reason. */
  readonly capabilities?: Capabilities
  /** What this engine's worlds cannot do, each with the reason. */
  readonly lacks?: Readonly<Partial<Record<Need, string>>>
  /** Scenarios by name that this engine does not pass, each with the reason. */
  readonly exempt?: Readonly<Record<string, string>>
  /** Run only scenarios whose name includes this text. */
  readonly only?: string
  readonly patience?: Partial<Patience>
  /** The limit of one scenario. @default 60,000 */
  readonly timeoutMs?: number
}

/** Why a harness does not run a scenario; `null` when it does. */
export function exemption(scenario: Scenario, harness: ConformanceHarness): string | null {
  const own = harness.exempt?.[scenario.name]
  if (own !== undefined) return own
  const capability = harness.capabilities?.[scenario.clause]
  if (capability?.support === 'refused') return `clause ${scenario.clause} is refused: ${capability.reason}`
  for (const need of scenario.needs) {
    const reason = harness.lacks?.[need]
    if (reason !== undefined) return reason
  }
  return null
}

/** Run one scenario in a new world. Rejects when its statement is not true. */
export async function runScenario(
  scenario: Scenario,
  harness: Pick<ConformanceHarness, 'open' | 'patience'>,
): Promise<void> {
  const world = new World(await harness.open(), { ...PATIENCE, ...harness.patience })
  try {
    await scenario.run(world)
  } finally {
    await world.dispose()
  }
}

/**
 * Register the contract's scenarios with a test runner, to be run against an engine.
 *
 * Every scenario gets a world of its own from `open()`. A scenario that is not run is registered as skipped, with the
 * reason in its name: by `exempt`, by `lacks`, or because the engine's `capabilities` refuse the clause.
 *
 * @throws INVALID_OPTION when `exempt` names a scenario that does not exist, or gives no reason
 * @example
 * ```ts
 * import { test } from 'node:test'
 * import { connect } from 'millrace'
 * import { conformance } from 'millrace/testing'
 *
 * conformance({
 *   test,
 *   open: () => ({ connect: () => connect('memory:') }),
 *   only: '07-delay/past-times-are-now',
 *   lacks: {
 *     reopen: 'memory: is forgotten when its broker closes',
 *     crash: 'as reopen',
 *     disk: 'as reopen',
 *     engine: 'not shown here',
 *   },
 * })
 * ```
 * @see docs/contract.md
 */
export function conformance(harness: ConformanceHarness): void {
  checkExemptions(harness)
  const { test, timeoutMs = 60_000 } = harness
  for (const scenario of SCENARIOS) {
    if (harness.only !== undefined && !scenario.name.includes(harness.only)) continue
    const reason = exemption(scenario, harness)
    if (reason === null) test(scenario.name, () => runScenario(scenario, harness), timeoutMs)
    else skip(test, `${scenario.name} (exempt: ${reason})`)
  }
}

function skip(test: ConformanceTest, name: string): void {
  const nothing = async (): Promise<void> => undefined
  if (test.skip === undefined) test(name, nothing)
  else test.skip(name, nothing)
}

function checkExemptions(harness: ConformanceHarness): void {
  const names = new Set(SCENARIOS.map((scenario) => scenario.name))
  for (const [name, reason] of Object.entries(harness.exempt ?? {})) {
    if (!names.has(name))
      throw new MillraceError(
        'INVALID_OPTION',
        `exempt names "${name}", which is no scenario: see docs/contract.md for their names`,
        {
          option: 'exempt',
          name,
        },
      )
    if (reason.trim() === '')
      throw new MillraceError('INVALID_OPTION', `the exemption of "${name}" must say why`, { option: 'exempt', name })
  }
}

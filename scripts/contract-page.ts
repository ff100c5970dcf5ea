/** The lists of scenarios in docs/contract.md, generated from the scenarios. */
import { fileURLToPath } from 'node:url'
import { SCENARIOS } from '../src/testing/conformance/scenarios.ts'

export const CONTRACT_PAGE: string = fileURLToPath(new URL('../docs/contract.md', import.meta.url))

const LIST = /<!-- scenarios (\d+) -->[\s\S]*?<!-- end -->/g

/** The page with the current list of each clause. */
export function withScenarios(page: string): string {
  return page.replaceAll(
    LIST,
    (_, clause: string) => `<!-- scenarios ${clause} -->\n${scenarioList(Number(clause))}<!-- end -->`,
  )
}

function scenarioList(clause: number): string {
  const names = SCENARIOS.filter((scenario) => scenario.clause === clause).map(
    (scenario) => `- \`${scenario.name}\`${needs(scenario.needs)}\n`,
  )
  return `<details>\n<summary>${names.length} scenarios</summary>\n\n${names.join('')}\n</details>\n`
}

function needs(needs: readonly string[]): string {
  return needs.length === 0 ? '' : ` (needs ${needs.join(', ')})`
}

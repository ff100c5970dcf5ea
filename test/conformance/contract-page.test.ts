/** docs/contract.md lists exactly the scenarios that exist, and the suite's names, clauses and exemptions are valid. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CONTRACT_PAGE, withScenarios } from '../../scripts/contract-page.ts'
import { CLAUSES } from '../../src/broker/capabilities.ts'
import { fileCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { clauseSlug } from '../../src/testing/conformance/scenario.ts'
import { SCENARIOS } from '../../src/testing/conformance/scenarios.ts'
import { memoryWorlds } from './embedded-worlds.ts'

const page = readFileSync(CONTRACT_PAGE, 'utf8')
const names = SCENARIOS.map((scenario) => scenario.name)

describe('docs/contract.md', () => {
  test('names every scenario, and no other', () => {
    expect([...page.matchAll(/`(\d\d-[a-z-]+\/[a-z0-9-]+)`/g)].map((match) => match[1])).toEqual(names)
    expect(withScenarios(page), 'run `npm run docs:contract`').toBe(page)
  })

  test('has a section for each clause', () => {
    const sections = [...page.matchAll(/^## (\d+)\. (.+)$/gm)].map((match) => [match[1], match[2]?.toLowerCase()])
    expect(sections).toEqual(Object.entries(CLAUSES))
  })
})

describe('the scenarios', () => {
  test('have unique names that begin with their clause', () => {
    expect(new Set(names).size).toBe(names.length)
    for (const { name, clause } of SCENARIOS) expect(name.startsWith(`${clauseSlug(clause)}/`)).toBe(true)
  })

  test('cover each clause several times', () => {
    for (const clause of Object.keys(CLAUSES))
      expect(SCENARIOS.filter((scenario) => String(scenario.clause) === clause).length).toBeGreaterThanOrEqual(5)
  })
})

describe('the harness', () => {
  const registered = (
    harness: Omit<Parameters<typeof conformance>[0], 'test' | 'open'>,
  ): { run: string[]; skipped: string[] } => {
    const [run, skipped]: [string[], string[]] = [[], []]
    const test = Object.assign((name: string) => void run.push(name), {
      skip: (name: string) => void skipped.push(name),
    })
    conformance({ test, open: memoryWorlds.open, ...harness })
    return { run, skipped }
  }

  test('runs everything where nothing is lacking', () => {
    expect(registered({ capabilities: fileCapabilities })).toEqual({ run: names, skipped: [] })
  })

  test('shows what it does not run, with the reason', () => {
    const [first, second] = names as [string, string]
    const { run, skipped } = registered({ exempt: { [first]: 'for a reason' }, lacks: { reopen: 'it is forgotten' } })
    expect(run).toContain(second)
    expect(skipped[0]).toBe(`${first} (exempt: for a reason)`)
    expect(skipped).toContain('01-durable/published-events-survive-reopen (exempt: it is forgotten)')
    expect(run.length + skipped.length).toBe(names.length)
  })

  test('skips what the capabilities refuse', () => {
    const { skipped } = registered({
      capabilities: { ...fileCapabilities, 7: { support: 'refused', reason: 'it has no timers' } },
    })
    expect(skipped).toHaveLength(SCENARIOS.filter((scenario) => scenario.clause === 7).length)
    expect(skipped[0]).toContain('clause 7 is refused: it has no timers')
  })

  test('shows what it does not run to runners without skip, too', () => {
    const seen: string[] = []
    conformance({ test: (name) => void seen.push(name), open: memoryWorlds.open, lacks: { crash: 'no crash here' } })
    expect(seen).toHaveLength(names.length)
    expect(seen).toContain('01-durable/acknowledged-events-survive-a-crash (exempt: no crash here)')
  })

  test('refuses an exemption that names no scenario or says no reason', () => {
    expect(() => registered({ exempt: { '04-order-by-key/no-such-thing': 'why' } })).toThrow('no-such-thing')
    expect(() => registered({ exempt: { [names[0] as string]: ' ' } })).toThrow('must say why')
  })
})

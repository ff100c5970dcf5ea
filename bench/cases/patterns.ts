/**
 * event-ruler's own rule sets over its events, from JSON text, as a ratio to `JSON.parse` of the same lines in the same
 * process, in turns. The number of matches of every rule is checked.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type PatternJson, RuleIndex } from 'millrace/pattern'
import type { Case, Figures, Params, Row } from '../case.ts'
import { median } from '../load.ts'
import { MILLRACE } from '../loads.ts'
import type { OpenSystem, Setting } from '../system.ts'

const SUITES = fileURLToPath(new URL('../../../test/fixtures/suites/', import.meta.url))
const EVENTS = 20_000
const ROUNDS = 5

interface RuleSet {
  readonly rules: readonly PatternJson[]
  readonly synth20000Counts: readonly number[]
}

/**
 * event-ruler's own ratios: Java, one thread, compared with `JSON.parse` of Node 20 on one machine. The goal is twice
 * these.
 */
const EVENT_RULER: Readonly<Record<string, number>> = {
  EXACT: 0.9,
  WILDCARD: 0.95,
  PREFIX: 1.75,
  PREFIX_EQUALS_IGNORE_CASE: 1.75,
  SUFFIX: 1.75,
  SUFFIX_EQUALS_IGNORE_CASE: 1.75,
  EQUALS_IGNORE_CASE: 1.65,
  COMPLEX_ARRAYS: 0.27,
  NUMERIC: 0.95,
  ANYTHING_BUT: 1,
  ANYTHING_BUT_IGNORE_CASE: 1.15,
  ANYTHING_BUT_PREFIX: 1.15,
  ANYTHING_BUT_SUFFIX: 1.15,
  ANYTHING_BUT_WILDCARD: 1.25,
  'ALL 70': 0.15,
}

function ruleSets(): Record<string, RuleSet> {
  const { sets } = JSON.parse(readFileSync(join(SUITES, 'event-ruler-benchmark.json'), 'utf8')) as {
    readonly sets: Record<string, RuleSet>
  }
  const all = Object.values(sets)
  return {
    ...sets,
    'ALL 70': {
      rules: all.flatMap(({ rules }) => rules),
      synth20000Counts: all.flatMap(({ synth20000Counts }) => synth20000Counts),
    },
  }
}

function checkCounts(name: string, index: RuleIndex, events: readonly string[], expected: readonly number[]): void {
  const counts = expected.map(() => 0)
  for (const event of events)
    for (const rule of index.match(event)) counts[Number(rule)] = (counts[Number(rule)] as number) + 1
  if (events.length === EVENTS && counts.join() !== expected.join())
    throw new Error(`${name}: matched ${counts.join()}, expected ${expected.join()}`)
}

/** Events per second. */
function rateOf(events: readonly string[], each: (event: string) => unknown): number {
  const start = performance.now()
  for (const event of events) each(event)
  return (events.length / (performance.now() - start)) * 1000
}

async function measure(
  _open: OpenSystem,
  { directory }: Setting,
  { set = 0, events = EVENTS }: Params,
): Promise<Figures> {
  const file = join(directory, 'citylots.jsonl')
  execFileSync(process.execPath, [join(SUITES, 'make-citylots.mjs'), String(EVENTS), file])
  const texts = readFileSync(file, 'utf8').trimEnd().split('\n').slice(0, events)
  const [name, { rules, synth20000Counts }] = Object.entries(ruleSets())[set] as [string, RuleSet]
  const index = new RuleIndex()
  for (const [number, rule] of rules.entries()) index.add(String(number), rule)
  checkCounts(name, index, texts, synth20000Counts)
  const parsed: number[] = []
  const matched: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    parsed.push(rateOf(texts, JSON.parse))
    matched.push(rateOf(texts, (text) => index.match(text)))
  }
  return {
    parsed: median(parsed),
    matched: median(matched),
    ratio: median(matched.map((rate, round) => rate / (parsed[round] as number))),
  }
}

export const patterns: Case = {
  name: 'patterns',
  title: "event-ruler's rule sets over its events, from JSON text",
  measure,
  async run(bench) {
    if (!existsSync(SUITES)) return []
    const events = bench.events(EVENTS)
    const names = Object.keys(ruleSets())
    const rounds = new Map<string, Figures[]>(names.slice(0, bench.quick ? 1 : names.length).map((name) => [name, []]))
    for (let round = 0; round < bench.rounds; round++) {
      for (const [name, found] of rounds)
        found.push(await bench.measure('patterns', MILLRACE, { set: names.indexOf(name), events }))
    }
    return [...rounds].map(([name, found]) => rowOf(name, found))
  },
}

function rowOf(name: string, rounds: readonly Figures[]): Row {
  const all = (figure: string): number[] => rounds.map((figures) => figures[figure] ?? Number.NaN)
  const required = EVENT_RULER[name] ?? 1
  const ratio = median(all('ratio'))
  const thousands = (figure: string): string => `${Math.round(median(all(figure)) / 1000)} k/s`
  return {
    load: name,
    subject: MILLRACE,
    value: ratio,
    unit: '× JSON.parse',
    rounds: all('ratio'),
    checks: [{ of: '× JSON.parse', measured: ratio, required, sense: 'at least' }],
    note: `${thousands('matched')}, JSON.parse ${thousands('parsed')}; ${(ratio / required).toFixed(1)} × event-ruler's ratio`,
  }
}

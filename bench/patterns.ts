/**
 * Event patterns: event-ruler's own rule sets over its events, as a ratio to `JSON.parse` of the same text in the same run, and how an
 * index behaves from one rule to 100,000. Run with `npx tsx --expose-gc bench/patterns.ts [seconds per measurement]`.
 *
 * The first part needs the shared suites (`../shared/suites`); it says so when they are missing.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RuleIndex, type PatternJson } from '../src/pattern/index.ts'

const SUITES = fileURLToPath(new URL('../../shared/suites/', import.meta.url))
const SECONDS = Number(process.argv[2] ?? 1)
const EVENTS = 20_000

interface RuleSet {
  readonly rules: readonly PatternJson[]
  readonly synth20000Counts: readonly number[]
}

/** event-ruler's ratios, measured in Java against `JSON.parse` on the machine of REFERENCES.md. */
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

function rateOf(events: readonly unknown[], each: (event: never) => unknown): number {
  const start = performance.now()
  for (const event of events) each(event as never)
  return (events.length / (performance.now() - start)) * 1000
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] as number
}

/** Events a second of each subject: the median of rounds in which they take turns, so that all meet the same weather. */
function compare(subjects: readonly (readonly [events: readonly unknown[], each: (event: never) => unknown])[]): number[] {
  const rates: number[][] = subjects.map(() => [])
  const end = performance.now() + SECONDS * 1000 * subjects.length
  let rounds = 0
  do {
    for (const [at, [events, each]] of subjects.entries()) rates[at]?.push(rateOf(events, each))
  } while (performance.now() < end || ++rounds < 3)
  return rates.map(median)
}

function thousands(rate: number): string {
  return `${(rate / 1000).toFixed(0)} k/s`.padStart(10)
}

function makeEvents(): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
  try {
    const file = join(folder, 'citylots.jsonl')
    execFileSync(process.execPath, [join(SUITES, 'make-citylots.mjs'), String(EVENTS), file])
    return readFileSync(file, 'utf8').trimEnd().split('\n')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function indexOf(rules: readonly PatternJson[]): RuleIndex {
  const index = new RuleIndex()
  for (const [number, rule] of rules.entries()) index.add(String(number), rule)
  return index
}

function checkCounts(name: string, index: RuleIndex, events: readonly (string | Uint8Array)[], expected: readonly number[]): void {
  const counts = expected.map(() => 0)
  for (const event of events) for (const rule of index.match(event)) counts[Number(rule)] = (counts[Number(rule)] as number) + 1
  if (counts.join() !== expected.join()) throw new Error(`${name}: matched ${counts.join()}, expected ${expected.join()}`)
}

function benchRuleSets(): void {
  if (!existsSync(SUITES)) {
    console.log(`event-ruler's rule sets: skipped, there is no folder ${SUITES}`)
    return
  }
  const { sets } = JSON.parse(readFileSync(join(SUITES, 'event-ruler-benchmark.json'), 'utf8')) as { sets: Record<string, RuleSet> }
  const all: RuleSet = { rules: Object.values(sets).flatMap((set) => set.rules), synth20000Counts: Object.values(sets).flatMap((set) => set.synth20000Counts) }
  const texts = makeEvents()
  const bytes = texts.map((text) => Buffer.from(text))
  const parse = (text: string): unknown => JSON.parse(text)
  console.log(`event-ruler's rule sets over ${EVENTS} events of ${(texts.join('').length / EVENTS).toFixed(0)} bytes\n`)
  console.log('| rules | JSON.parse | text | ratio | bytes | ratio | event-ruler |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |')
  for (const [name, set] of [...Object.entries(sets), ['ALL 70', all] as const]) {
    const index = indexOf(set.rules)
    checkCounts(name, index, texts, set.synth20000Counts)
    checkCounts(name, index, bytes, set.synth20000Counts)
    const match = (event: string | Buffer): string[] => index.match(event)
    const [parsed = 1, text = 0, byte = 0] = compare([[texts, parse], [texts, match], [bytes, match]])
    const [textRatio, byteRatio] = [text, byte].map((rate) => (rate / parsed).toFixed(2).padStart(5))
    console.log(`| ${name.padEnd(25)} | ${thousands(parsed)} | ${thousands(text)} | ${textRatio} | ${thousands(byte)} | ${byteRatio} | ${EVENT_RULER[name]} |`)
  }
}

benchRuleSets()

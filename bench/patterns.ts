/**
 * Event patterns: event-ruler's own rule sets over its events, as a ratio to `JSON.parse` of the same text in the same run, and how an
 * index behaves from one rule to 100,000. Run with `npx tsx --expose-gc bench/patterns.ts [seconds per measurement]`.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type PatternJson, RuleIndex } from '../src/pattern/index.ts'

const SUITES = fileURLToPath(new URL('../test/fixtures/suites/', import.meta.url))
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
    const [parsed = 1, text = 0, byte = 0] = compare([
      [texts, parse],
      [texts, match],
      [bytes, match],
    ])
    const [textRatio, byteRatio] = [text, byte].map((rate) => (rate / parsed).toFixed(2).padStart(5))
    console.log(`| ${name.padEnd(25)} | ${thousands(parsed)} | ${thousands(text)} | ${textRatio} | ${thousands(byte)} | ${byteRatio} | ${EVENT_RULER[name]} |`)
  }
}

/** The part that every size has: rules that events do match. */
const HOT: readonly PatternJson[] = [
  { type: ['order.placed'], data: { customer: { country: ['NO'] } } },
  { data: { sku: [{ prefix: 'tea-' }], quantity: [{ numeric: ['>', 90] }] } },
  { source: [{ suffix: '/web' }], data: { total: [{ numeric: ['>=', 100, '<', 110] }] } },
  { data: { customer: { ip: [{ cidr: '10.3.0.0/16' }] } } },
  { data: { note: [{ wildcard: '*gift*wrap*' }] } },
  { data: { city: [{ 'equals-ignore-case': 'OSLO' }], coupon: [{ exists: true }] } },
  { data: { items: { sku: ['coffee-7'], count: [3] } } },
  { type: [{ 'anything-but': ['order.placed', 'order.paid'] }], data: { customer: { country: ['SE'] } } },
  { $or: [{ data: { sku: ['tea-1'] } }, { data: { customer: { country: ['DK'] }, quantity: [{ numeric: ['=', 5] }] } }] },
  { data: { tags: ['vip'], coupon: [{ exists: false }] } },
]

/** Rules like them that none of the events match, each for a customer, product or range of its own. */
const COLD: readonly ((number: number) => PatternJson)[] = [
  (number) => ({ type: ['order.placed'], data: { customer: { id: [`cold-${number}`] } } }),
  (number) => ({ data: { sku: [{ prefix: `tea-x${number}-` }], quantity: [{ numeric: ['>', 90] }] } }),
  (number) => ({ source: [{ suffix: '/web' }], data: { total: [{ numeric: ['>=', 1000 + number / 8, '<', 1000 + (number + 1) / 8] }] } }),
  (number) => ({ data: { customer: { ip: [{ cidr: `172.${16 + ((number >> 12) & 15)}.${(number >> 4) & 255}.${(number & 15) * 16}/28` }] } } }),
  (number) => ({ data: { note: [{ wildcard: `*order ${number}x*wrap*` }] } }),
  (number) => ({ data: { city: [{ 'equals-ignore-case': `Town ${number}` }], coupon: [{ exists: true }] } }),
  (number) => ({ data: { items: { sku: [`coffee-x${number}`], count: [3] } } }),
  (number) => ({ type: [{ 'anything-but': ['order.placed'] }], data: { email: [{ suffix: `@cold${number}.example` }] } }),
  (number) => ({ $or: [{ data: { sku: [`cold-${number}`] } }, { data: { customer: { country: ['DK'], id: [`cool-${number}`] } } }] }),
  (number) => ({ data: { tags: [`tag-${number}`], coupon: [{ exists: false }] } }),
]

function mixedRule(number: number): PatternJson {
  return HOT[number] ?? (COLD[number % COLD.length] as (number: number) => PatternJson)(number)
}

function shopEvents(count: number): string[] {
  let seed = 11
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  const pick = <Value>(values: readonly Value[]): Value => values[random(values.length)] as Value
  const sku = (): string => `${pick(['tea', 'coffee', 'cup'])}-${random(10)}`
  return Array.from({ length: count }, (_, number) => {
    const id = random(1e6)
    const items = Array.from({ length: 1 + random(4) }, () => ({ sku: sku(), count: 1 + random(4), price: random(5000) / 100 }))
    const customer = { id: `c-${id}`, country: pick(['NO', 'SE', 'DK', 'FI', 'DE', 'FR', 'GB', 'US']), ip: `10.${random(16)}.${random(256)}.${random(256)}` }
    const tags = pick([[], ['new'], ['vip', 'new'], ['returning']])
    const data = {
      sku: sku(),
      quantity: random(100),
      total: random(20_000) / 100,
      city: pick(['Oslo', 'Bergen', 'Malmö', 'Lund']),
      customer,
      email: `c${id}@example.com`,
      tags,
      items,
    }
    const extra = random(3) === 0 ? { coupon: `CP${random(100)}`, note: pick(['a gift: wrap it', 'leave at the door']) } : {}
    return JSON.stringify({
      specversion: '1.0',
      id: `e-${number}`,
      source: pick(['/shop/web', '/shop/app']),
      type: pick(['order.placed', 'order.paid', 'order.sent']),
      time: '2026-01-01T00:00:00.000Z',
      datacontenttype: 'application/json',
      data: { ...data, ...extra },
    })
  })
}

/** The slowest and the middle of adding and removing one rule, in microseconds. */
function timeChanges(index: RuleIndex, size: number): string {
  const times: number[][] = [[], []]
  for (let turn = 0; turn < 1000; turn++) {
    const pattern = mixedRule(size + turn + HOT.length)
    const start = performance.now()
    index.add(`more-${turn}`, pattern)
    const added = performance.now()
    index.remove(`more-${turn}`)
    times[0]?.push(added - start)
    times[1]?.push(performance.now() - added)
  }
  return times.map((each) => `${(median(each) * 1000).toFixed(0)} / ${(Math.max(...each) * 1000).toFixed(0)}`).join(' | ')
}

function heapBytes(): number {
  const { gc } = globalThis as { gc?: () => void }
  gc?.()
  return process.memoryUsage().heapUsed
}

function benchSizes(): void {
  const events = shopEvents(5000)
  const parse = (text: string): unknown => JSON.parse(text)
  console.log(
    `\nmixed rules over ${events.length} events of ${(events.join('').length / events.length).toFixed(0)} bytes; add and remove: middle / slowest, microseconds`,
  )
  console.log(
    '\n| rules | JSON.parse | match | ratio | matches an event | add | remove | bytes a rule |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
  )
  for (const size of [1, 10, 100, 10_000, 100_000]) {
    const before = heapBytes()
    const index = new RuleIndex()
    for (let number = 0; number < size; number++) index.add(`rule-${number}`, mixedRule(number))
    const bytes = (heapBytes() - before) / size
    let matches = 0
    for (const event of events) matches += index.match(event).length
    const [parsed = 1, matched = 0] = compare([
      [events, parse],
      [events, (event: string) => index.match(event)],
    ])
    const perEvent = (matches / events.length).toFixed(2)
    const memory = size < 100 || (globalThis as { gc?: () => void }).gc === undefined ? '' : bytes.toFixed(0)
    console.log(
      `| ${size} | ${thousands(parsed)} | ${thousands(matched)} | ${(matched / parsed).toFixed(2)} | ${perEvent} | ${timeChanges(index, size)} | ${memory} |`,
    )
  }
}

benchRuleSets()
benchSizes()

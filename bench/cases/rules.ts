/**
 * One event against 1 to 100,000 rules of mixed kinds, with all indexes in turns; adding and removing one rule; memory
 * for each.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { RuleIndex } from 'millrace/pattern'
import type { Case, Check, Figures, Params, Row } from '../case.ts'
import { median } from '../load.ts'
import { MILLRACE } from '../loads.ts'
import { mixedRule, shopEvents } from '../rule-load.ts'
import type { OpenSystem, Setting } from '../system.ts'

const SIZES = [1, 10, 100, 10_000, 100_000] as const
const ROUNDS = 7
const CHANGES = 1000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function heapBytes(): number {
  collect()
  return process.memoryUsage().heapUsed
}

function indexOf(size: number): { readonly index: RuleIndex; readonly bytes: number } {
  const before = heapBytes()
  const index = new RuleIndex()
  for (let number = 0; number < size; number++) index.add(`rule-${number}`, mixedRule(number))
  return { index, bytes: (heapBytes() - before) / size }
}

/** The median and the 99th percentile of adding and of removing one rule, in milliseconds. */
function timeChanges(index: RuleIndex, size: number): Figures {
  const added: number[] = []
  const removed: number[] = []
  for (let turn = 0; turn < CHANGES; turn++) {
    const pattern = mixedRule(size + turn + 10)
    const start = performance.now()
    index.add(`more-${turn}`, pattern)
    added.push(performance.now() - start)
    const again = performance.now()
    index.remove(`more-${turn}`)
    removed.push(performance.now() - again)
  }
  const slow = (times: number[]): number => times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] as number
  return { addMs: median(added), removeMs: median(removed), slowAddMs: slow(added), slowRemoveMs: slow(removed) }
}

async function measure(
  _open: OpenSystem,
  _place: Setting,
  { events: count = 5000, largest = 100_000 }: Params,
): Promise<Figures> {
  const events = shopEvents(count)
  const sizes = SIZES.filter((size) => size <= largest)
  const built = sizes.map(indexOf)
  const rates: number[][] = sizes.map(() => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [at, { index }] of built.entries()) {
      const start = performance.now()
      for (const event of events) index.match(event)
      rates[at]?.push((events.length / (performance.now() - start)) * 1000)
    }
  }
  const ten = rates[1] ?? []
  const figures: Record<string, number> = {}
  for (const [at, size] of sizes.entries()) {
    const { index, bytes } = built[at] as (typeof built)[number]
    let matches = 0
    for (const event of events) matches += index.match(event).length
    const own = rates[at] ?? []
    const slower = median(own.map((rate, round) => (ten[round] as number) / rate))
    const all = { rate: median(own), slower, matches: matches / events.length, bytes, ...timeChanges(index, size) }
    for (const [name, value] of Object.entries(all)) figures[`${name}-${size}`] = value
  }
  return figures
}

export const rules: Case = {
  name: 'rules',
  title: 'One event against many rules of mixed kinds',
  measure,
  async run(bench) {
    const largest = bench.quick ? 100 : 100_000
    const measured = (await bench.compare('rules', [[MILLRACE, { events: bench.events(5000), largest }]])).get(MILLRACE)
    if (measured === undefined) return []
    return SIZES.filter((size) => size <= largest).map((size): Row => {
      const figure = (name: string): number => measured.figure(`${name}-${size}`)
      const most = (of: string, value: number, required: number): Check => ({
        of,
        measured: value,
        required,
        sense: 'at most',
      })
      const changes = [
        most('ms to add (99 %)', figure('slowAddMs'), 5),
        most('ms to remove (99 %)', figure('slowRemoveMs'), 5),
      ]
      return {
        load: `${size.toLocaleString('en')} rules`,
        subject: MILLRACE,
        value: figure('rate'),
        unit: 'events/s',
        rounds: measured.all(`rate-${size}`),
        checks: size === 100_000 ? [most('× slower than 10 rules', figure('slower'), 1.5), ...changes] : [],
        note: `${figure('matches').toFixed(2)} match; add ${(figure('addMs') * 1000).toFixed(0)} µs, remove ${(figure('removeMs') * 1000).toFixed(0)} µs${size < 100 ? '' : `; ${Math.round(figure('bytes'))} bytes a rule`}`,
      }
    })
  },
}

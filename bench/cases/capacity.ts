/**
 * The model of docs/guide/capacity.md: its inputs are measured first, then each of its predictions is compared with a
 * measured run. All rows of one run are of the same machine and the same minutes.
 *
 * Inputs: the time that Millrace needs for an event (with handlers that do nothing), and how long the handlers of each
 * run took on average. A timer of 10 ms takes longer than 10 ms, and so does a handler of an application.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench.ts'
import type { Case, Figures, Params, Row } from '../case.ts'
import { median, publishAll, rate, Tally } from '../load.ts'
import { MILLRACE } from '../loads.ts'
import { MillraceSystem } from '../millrace.ts'
import type { OpenSystem, Setting } from '../system.ts'

/** The model is called wrong if a measured rate is outside of these parts of the predicted one. */
const LEAST = 0.75
const MOST = 1.25
/** A run takes about this long, so it has this part of the events that its rate allows in a second. */
const SECONDS = 2

function spin(us: number): void {
  const until = performance.now() + us / 1000
  while (performance.now() < until);
}

/** Handlers that compute for `computeUs` or wait for `waitMs`, of events with `keys` different keys. */
async function measure(
  _open: OpenSystem,
  { directory }: Setting,
  { events = 0, warmup = 0, inFlight = 1000, concurrency = 1000, keys = 10_000, computeUs = 0, waitMs = 0 }: Params,
): Promise<Figures> {
  const system = await MillraceSystem.open({ directory, concurrency })
  const [warm, tally] = [new Tally(warmup), new Tally(events)]
  let handlingMs = 0
  const consuming = await system.consume('consumer', async ({ line }) => {
    if (line < warmup) return warm.add(line)
    const begun = performance.now()
    if (computeUs > 0) spin(computeUs)
    if (waitMs > 0) await sleep(waitMs)
    handlingMs += performance.now() - begun
    tally.add(line - warmup)
  })
  const keyed = {
    publish: (item: Parameters<MillraceSystem['publish']>[0]) =>
      system.publish({ ...item, cart: `c-${item.line % keys}` }),
    consume: system.consume.bind(system),
    close: system.close.bind(system),
  }
  await publishAll(keyed, 1000, 0, warmup)
  await warm.complete()
  const start = performance.now()
  await publishAll(keyed, inFlight, warmup, warmup + events)
  await tally.complete()
  await consuming.settle()
  const figures = { rate: rate(events, start), handlerUs: (handlingMs / events) * 1000 }
  await system.close()
  return figures
}

export const capacity: Case = {
  name: 'capacity',
  title: 'The model of capacity: what it predicts, and what was measured',
  measure,
  async run(bench) {
    const idle = await ran(bench, { events: bench.events(400_000) })
    const eventUs = 1e6 / median(idle.map(({ rate = Number.NaN }) => rate))
    const rows = [rowOf('handlers that do nothing: the input', idle, null)]
    for (const computeUs of [10, 100, 1000]) {
      const runs = await ran(bench, { computeUs, events: bench.events((SECONDS * 1e6) / (eventUs + computeUs)) })
      rows.push(
        rowOf(`handlers that compute ${computeUs} µs`, runs, ({ handlerUs = 0 }) => 1e6 / (eventUs + handlerUs)),
      )
    }
    for (const [keys, concurrency] of [
      [10_000, 100],
      [10, 100],
    ] as const) {
      const busy = Math.min(keys, concurrency)
      const runs = await ran(bench, { waitMs: 10, keys, concurrency, events: bench.events(SECONDS * 100 * busy) })
      const load = `handlers that wait 10 ms, concurrency ${concurrency}, ${keys.toLocaleString('en')} keys`
      rows.push(rowOf(load, runs, ({ handlerUs = 0 }) => Math.min(1e6 / eventUs, (busy * 1e6) / handlerUs)))
    }
    return [...rows, ...(await processesRows(bench))]
  },
}

async function ran(bench: Bench, params: Params & { readonly events: number }): Promise<Figures[]> {
  const events = Math.max(1, Math.round(params.events))
  const warmup = bench.events(20_000)
  const rounds: Figures[] = []
  for (let round = 0; round < bench.rounds; round++)
    rounds.push(await bench.measure('capacity', MILLRACE, { ...params, events, warmup }))
  return rounds
}

/**
 * Two processes on one directory. Inputs: one process and two with handlers that do nothing, and one process with
 * handlers that compute, from which follows what these need.
 */
async function processesRows(bench: Bench): Promise<Row[]> {
  const of = async (processes: number, signs: number): Promise<number[]> => {
    const events = bench.events(signs === 0 ? 150_000 : 40_000)
    const rates: number[] = []
    for (let round = 0; round < bench.rounds; round++)
      rates.push(
        (await bench.measure('processes', MILLRACE, { events, warmup: events, processes, signs }))['rate'] ?? 0,
      )
    return rates
  }
  const [oneIdle, twoIdle, one, two] = [await of(1, 0), await of(2, 0), await of(1, 1), await of(2, 1)]
  const handler = 1 / median(one) - 1 / median(oneIdle)
  const predicted = 1 / (1 / median(twoIdle) + handler / 2)
  const row = (load: string, rates: readonly number[]): Row => ({
    load,
    subject: MILLRACE,
    value: median(rates),
    unit: 'events/s',
    rounds: rates,
  })
  return [
    row('1 process, handlers that do nothing: an input', oneIdle),
    row('2 processes, handlers that do nothing: an input', twoIdle),
    row('1 process, handlers that sign ten times: an input', one),
    judged(row('2 processes, handlers that sign ten times', two), predicted),
  ]
}

function rowOf(load: string, runs: readonly Figures[], model: ((run: Figures) => number) | null): Row {
  const rates = runs.map(({ rate = Number.NaN }) => rate)
  const row = { load, subject: MILLRACE, value: median(rates), unit: 'events/s', rounds: rates }
  return model === null ? row : judged(row, median(runs.map(model)))
}

function judged(row: Row, predicted: number): Row {
  const measured = row.value / predicted
  return {
    ...row,
    checks: [
      { of: '× predicted', measured, required: LEAST, sense: 'at least' },
      { of: '× predicted', measured, required: MOST, sense: 'at most' },
    ],
    note: `predicted ${Math.round(predicted).toLocaleString('en')}`,
  }
}

/**
 * The remote engine: a server process and this one. Publish → synced → handler → completion over one WebSocket, with
 * 1,000 publishes in flight; and with batches of 100, ten in flight.
 */
import type { Case, Figures, Params, Row } from '../case.ts'
import { cartItem, ItemAdded } from '../events.ts'
import { rate, Tally } from '../load.ts'
import { loadOf, ratedRows } from '../loads.ts'
import { MillraceSystem } from '../millrace.ts'
import type { OpenSystem, Setting } from '../system.ts'
import { measureEndToEnd } from './end-to-end.ts'

const SERVED = 'millrace, served'
const BATCH = 100
const BATCHES_IN_FLIGHT = 10

async function measure(open: OpenSystem, setting: Setting, params: Params): Promise<Figures> {
  return params['batch'] === undefined
    ? measureEndToEnd(open, setting, params)
    : measureBatches(open, setting, params['batch'], params['events'] ?? 0)
}

async function measureBatches(open: OpenSystem, setting: Setting, size: number, events: number): Promise<Figures> {
  const system = await open(setting)
  if (!(system instanceof MillraceSystem)) throw new Error('batches are for Millrace')
  const { broker, carts } = system
  const publish = async (from: number, to: number): Promise<void> => {
    let next = from
    const slot = async (): Promise<void> => {
      while (next < to) {
        const at = next
        next += size
        await broker.publish(
          carts,
          Array.from({ length: Math.min(size, to - at) }, (_, index) => ItemAdded(cartItem(at + index))),
        )
      }
    }
    await Promise.all(Array.from({ length: BATCHES_IN_FLIGHT }, slot))
  }
  await publish(0, Math.floor(events / 4))
  const tally = new Tally(events)
  const start = performance.now()
  await publish(0, events)
  const figures = { rate: rate(events, start) }
  const from = Math.floor(events / 4)
  for await (const { offset, data } of broker.read(carts))
    if (offset >= from) tally.add((data as { line: number }).line)
  await system.close()
  tally.check()
  return figures
}

export const remote: Case = {
  name: 'remote',
  title: 'Two processes: publish → synced → handler → completion over one connection, 1,000 in flight; batches of 100',
  measure,
  async run(bench) {
    const redis = bench.peers.some(({ name }) => name === 'redis')
    const params = { ...loadOf(bench, 'redis', 1000), events: bench.events(120_000) }
    const singles = await bench.compare('remote', [[SERVED, params], ...(redis ? [['redis', params] as const] : [])])
    const batches = await bench.compare('remote', [[SERVED, { batch: BATCH, events: bench.events(200_000) }]])
    const mine = singles.get(SERVED)?.figure('rate') ?? Number.NaN
    const theirs = singles.get('redis')?.figure('rate')
    const inBatches = batches.get(SERVED)?.figure('rate') ?? Number.NaN
    const check = (measured: number, required: number) =>
      ({ of: '× redis', measured, required, sense: 'at least' }) as const
    const checked = (rows: Row[], ratio: number, required: number): Row[] =>
      rows.map((row) =>
        row.subject === SERVED && theirs !== undefined ? { ...row, checks: [check(ratio, required)] } : row,
      )
    return [
      ...checked(ratedRows('1,000 in flight', singles, 'rate', 'events/s', []), mine / (theirs ?? Number.NaN), 1),
      ...checked(
        ratedRows('batches of 100, published', batches, 'rate', 'events/s', []),
        inBatches / (theirs ?? Number.NaN),
        2,
      ),
    ]
  },
}

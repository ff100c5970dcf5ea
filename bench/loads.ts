/**
 * The loads that the throughput cases share: how many in flight, how many events for which subject, and what Millrace
 * must reach.
 */
import type { Bench, Measured } from './bench.ts'
import type { Check, Params, Row } from './case.ts'

const IN_FLIGHT = [1, 64, 1000] as const
export const CEILING = 'ceiling'
export const MILLRACE = 'millrace'

/**
 * Approximate events per second of a subject with 1, 64 and 1,000 in flight, so that a measurement takes about two
 * seconds.
 */
const SPEED: Readonly<Record<string, readonly [number, number, number]>> = {
  redis: [3000, 50_000, 70_000],
  'redis-4': [3000, 50_000, 100_000],
  nats: [4000, 20_000, 20_000],
  'nats-synced': [1500, 3000, 3000],
  'millrace on redis': [2000, 40_000, 60_000],
  'millrace on nats': [1500, 8000, 20_000],
  kafka: [500, 15_000, 30_000],
  'millrace on kafka': [500, 15_000, 30_000],
  postgres: [300, 10_000, 15_000],
  'millrace on postgres': [300, 8000, 15_000],
  bullmq: [1500, 10_000, 12_000],
  'pg-boss': [400, 1500, 1500],
}
const FAST = [3000, 80_000, 250_000] as const

/** The numbers in flight; a quick run uses only one of them. */
export function inFlights(bench: Bench): readonly (typeof IN_FLIGHT)[number][] {
  return bench.quick ? [64] : IN_FLIGHT
}

export function loadOf(bench: Bench, subject: string, inFlight: (typeof IN_FLIGHT)[number]): Params {
  const speed = (SPEED[subject] ?? FAST)[IN_FLIGHT.indexOf(inFlight)] ?? 1000
  return { inFlight, events: bench.events(speed * 2), warmup: bench.events(Math.min(30_000, speed)) }
}

export function inFlightText(inFlight: number): string {
  return `${inFlight.toLocaleString('en')} in flight`
}

/** The rows of one load: the ceiling, Millrace with its checks, the peers. */
export function ratedRows(
  load: string,
  measured: ReadonlyMap<string, Measured>,
  figure: string,
  unit: string,
  checks: readonly Check[],
): Row[] {
  return [...measured.values()].map((one) => ({
    load,
    subject: one.subject,
    value: one.figure(figure),
    unit,
    rounds: one.all(figure),
    ...(figure === 'rate' &&
      !Number.isNaN(one.figure('cpuUs')) && { note: `${one.figure('cpuUs').toFixed(1)} µs of processor each` }),
    ...(one.subject === MILLRACE && { checks }),
  }))
}

/** The check that Millrace reaches a share of another subject's figure, if that one was measured. */
export function atLeast(
  measured: ReadonlyMap<string, Measured>,
  other: string,
  required: number,
  figure = 'rate',
): Check[] {
  const [mine, theirs] = [measured.get(MILLRACE), measured.get(other)]
  if (mine === undefined || theirs === undefined) return []
  return [{ of: `× ${other}`, measured: mine.figure(figure) / theirs.figure(figure), required, sense: 'at least' }]
}

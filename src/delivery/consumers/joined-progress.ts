/**
 * What a consumer has settled in a channel, joined from its homes in the channel's logs. Each offset of the channel
 * belongs to one log, so an offset is settled if the home of its log says so.
 */

import type { OffsetSet } from '../../base/offset-set.ts'
import type { Bounds } from '../../broker/engine.ts'
import type { CarriedHomes } from './carried-homes.ts'
import { type CarriedProgress, inFlightIn, retriesIn, settledIn } from './carried-state.ts'
import type { Home, HomeState } from './homes.ts'

type Log<H> = readonly [home: H, done: OffsetSet | null]

/** The progress of a consumer in a channel, joined over its logs. Null if the consumer has not begun. */
export async function joinedProgress<H extends Home>(
  homes: CarriedHomes<H>,
  states: readonly (readonly [home: H, state: HomeState])[],
  { first, next }: Bounds,
): Promise<CarriedProgress | null> {
  const logs = states.map(([home, { records }]): Log<H> => [home, settledIn(records, home.group, home.logId)])
  const [only, ...others] = logs
  if (logs.every(([, done]) => done === null)) return null
  const inFlight = states.flatMap(([{ group, logId }, { records }]) => inFlightIn(records, group, logId) ?? [])
  const rest = {
    retries: states.flatMap(([{ group, logId }, { records }]) => retriesIn(records, group, logId)),
    inFlight:
      inFlight.length === 0
        ? null
        : {
            credit: Math.max(...inFlight.map(({ credit }) => credit)),
            offsets: inFlight.flatMap(({ offsets }) => offsets),
            solo: inFlight.find(({ solo }) => solo !== null)?.solo ?? null,
          },
  }
  if (others.length === 0 && only?.[1] !== undefined && only[1] !== null) {
    const [, done] = only
    done.raise(Math.min(first, next))
    return { floor: done.floor, settled: [...done.ranges()], ...rest }
  }
  return { ...(await joined(homes, logs, { first, next })), ...rest }
}

async function joined<H extends Home>(
  homes: CarriedHomes<H>,
  logs: readonly Log<H>[],
  { first, next }: Bounds,
): Promise<Pick<CarriedProgress, 'floor' | 'settled'>> {
  let floor = next
  for (const log of logs) floor = Math.min(floor, await firstUnsettled(homes, log, first, floor))
  const [settled, open]: [number[], number[]] = [[], []]
  for (const [home, done] of logs) {
    for await (const offset of homes.offsets(home, floor)) (done?.has(offset) === true ? settled : open).push(offset)
  }
  return { floor, settled: rangesOf(settled, open) }
}

async function firstUnsettled<H extends Home>(
  homes: CarriedHomes<H>,
  [home, done]: Log<H>,
  first: number,
  below: number,
): Promise<number> {
  for await (const offset of homes.offsets(home, done?.floor ?? first)) {
    if (offset >= below) return below
    if (done?.has(offset) !== true) return offset
  }
  return below
}

/** Settled offsets as ranges. A range holds no open offset, but may hold offsets without an event. */
function rangesOf(settled: number[], open: number[]): [from: number, to: number][] {
  settled.sort((a, b) => a - b)
  open.sort((a, b) => a - b)
  const ranges: [number, number][] = []
  let next = 0
  for (const offset of settled) {
    while (next < open.length && (open[next] as number) < offset) next++
    const last = ranges.at(-1)
    if (last !== undefined && (next === 0 || (open[next - 1] as number) < last[0])) last[1] = offset + 1
    else ranges.push([offset, offset + 1])
  }
  return ranges
}

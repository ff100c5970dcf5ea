/** Clause 17: how far behind a consumer is, whether it is stalled, and why. Computed on request. */
import { isMillraceError } from '../../base/errors.ts'
import type { ConsumerDescription, ConsumerPosition, CountedConsumer } from '../../broker/description.ts'
import type { Bounds } from '../../broker/engine.ts'
import { type ChainRecord, consumerKeys, fromFloat, fromJson, QUEUE_GROUP, under } from '../consumer-records.ts'
import { stallOf } from '../cursor/stall.ts'
import type { Instance } from '../dispatch/instance.ts'
import { settledIn } from './carried-state.ts'
import { type Home, type HomeState, type Homes, inOrder } from './homes.ts'

/** What a description says of one home. The workers of a queue share its home, so each of them has the same part. */
interface Part<H extends Home> {
  readonly home: H
  readonly state: HomeState
  readonly bounds: Bounds
  readonly floor: number
  readonly began: number | null
  readonly lag: number
  readonly lagMs: number
  readonly retrying: number
  /** The error that hides the age of its events. */
  readonly unreadable: string | null
}

/** Every consumer that has begun or is paused, by name. */
export async function describeConsumers<H extends Home>(homes: Homes<H>): Promise<CountedConsumer[]> {
  const byConsumer = new Map<string, Part<H>[]>()
  const parts = await partsOf(homes, inOrder(await homes.list()))
  const workers = new Map<string, Set<string>>()
  for (const { home, state } of parts)
    workers.set(home.channel.name, new Set([...(workers.get(home.channel.name) ?? []), ...state.workers]))
  for (const part of parts) {
    const { group, channel } = part.home
    const names = group === QUEUE_GROUP ? (workers.get(channel.name) ?? []) : [group]
    for (const name of names) byConsumer.set(name, [...(byConsumer.get(name) ?? []), part])
  }
  // A pause outlives the last channel of its consumer. It is shown, because it would hold in the consumer's next
  // channel too.
  for (const name of homes.paused) if (!byConsumer.has(name)) byConsumer.set(name, [])
  const found: CountedConsumer[] = []
  for (const [name, own] of [...byConsumer].sort(([a], [b]) => (a < b ? -1 : 1)))
    found.push(await described(homes, name, own))
  return found
}

/** A consumer by its homes. Returns null where the consumer has begun in none of them and is not paused. */
export async function describeConsumer<H extends Home>(
  homes: Homes<H>,
  name: string,
  of: readonly H[],
): Promise<ConsumerDescription | null> {
  const parts = await partsOf(homes, of)
  if (parts.length === 0 && homes.pauseOf(name) === null) return null
  const { counted: _, ...consumer } = await described(homes, name, parts)
  return consumer
}

async function partsOf<H extends Home>(homes: Homes<H>, of: readonly H[]): Promise<Part<H>[]> {
  const names = new Set(of.map(({ channel }) => channel.name))
  const bounds = new Map([...names].map((name) => [name, homes.bounds(name)]))
  const parts = await Promise.all(
    of.map(async (home) => partOf(homes, home, await (bounds.get(home.channel.name) as Promise<Bounds>))),
  )
  return parts.filter((part) => part !== null)
}

function beganIn(records: HomeState['records'], group: string, logId: number): number | null {
  const bytes = records.get(consumerKeys.begin(group, logId))
  return bytes === undefined ? null : fromFloat(bytes)
}

/** Null where the consumer has not begun. */
async function partOf<H extends Home>(homes: Homes<H>, home: H, bounds: Bounds): Promise<Part<H> | null> {
  const { group, logId } = home
  const state = await homes.read(home)
  const { cursor, records, unsent } = state
  const done = cursor?.done ?? settledIn(records, group, logId)
  if (done === null) return null
  if (cursor === null) done.raise(Math.min(bounds.first, bounds.next))
  // Holes before the last settled offset are settled too, so each unsettled offset before it is an event.
  const [open, end] =
    cursor === null ? [done.end - done.floor - done.above, done.end] : [cursor.outstanding, cursor.next]
  const lag = unsent + open + (await state.pending(end))
  const floor = Math.max(done.floor, bounds.first)
  const retrying = cursor?.state.retries.size ?? records.range(...under(consumerKeys.table('r', group, logId))).length
  return {
    home,
    state,
    bounds,
    floor,
    began: cursor?.state.began ?? beganIn(records, group, logId),
    lag,
    retrying,
    ...(await ageOf(state, lag === 0 ? null : floor, homes.clock.now())),
  }
}

/** The age of the first event at or after an offset. A damaged event is reported with this consumer only. */
async function ageOf(
  state: HomeState,
  floor: number | null,
  nowMs: number,
): Promise<Pick<Part<Home>, 'lagMs' | 'unreadable'>> {
  try {
    const storedAtMs = floor === null ? null : await state.storedAtMs(floor)
    return { lagMs: storedAtMs === null ? 0 : Math.max(0, nowMs - storedAtMs), unreadable: null }
  } catch (error) {
    if (!isMillraceError(error, 'DATA_DAMAGED')) throw error
    return { lagMs: 0, unreadable: error.message }
  }
}

async function described<H extends Home>(
  homes: Homes<H>,
  name: string,
  parts: readonly Part<H>[],
): Promise<CountedConsumer> {
  const here = homes.here(name)
  const elsewhere = await homes.elsewhere(
    name,
    parts.map(({ home }) => home),
  )
  const letters = parts.map((part) => lettersIn(part, name))
  const pause = homes.pauseOf(name)
  const idle = [...here.map((instance) => instance.idle), ...elsewhere.map(({ paused }) => paused)]
  return {
    name,
    channels: positionsOf(parts),
    instances: here.length + sum(elsewhere, ({ instances }) => instances),
    inFlight: sum(here, ({ held }) => held.size) + sum(elsewhere, ({ inFlight }) => inFlight),
    retrying: sum(parts, ({ retrying }) => retrying),
    deadLetters: sum(letters, ({ dead }) => dead),
    parked: sum(letters, ({ waiting }) => waiting),
    rate:
      sum(parts, ({ state }) => state.cursor?.progress.meter.rate(homes.clock.elapsed()) ?? 0) +
      sum(elsewhere, ({ rate }) => rate),
    paused: pause !== null || (idle.length > 0 && idle.every((each) => each)),
    pause,
    stalled: stalledIn(parts, here, homes.clock),
    counted: [
      ...here.map(({ tally }) => tally.counts),
      ...elsewhere.flatMap(({ counted = [] }) => counted.filter(({ consumer }) => consumer === name)),
    ],
  }
}

function positionsOf(parts: readonly Part<Home>[]): ConsumerPosition[] {
  const positions = new Map<string, ConsumerPosition>()
  for (const { home, bounds, floor, began, lag, lagMs } of parts) {
    const channel = home.channel.name
    const before = positions.get(channel) ?? { channel, began, floor: bounds.next, lag: 0, lagMs: 0 }
    // A partition without lag does not lower the floor of the channel.
    const lowest = lag === 0 ? before.floor : Math.min(before.floor, floor)
    positions.set(channel, {
      ...{ channel, floor: lowest, lag: before.lag + lag, lagMs: Math.max(before.lagMs, lagMs) },
      began: before.began === null || began === null ? null : Math.min(before.began, began),
    })
  }
  return [...positions.values()]
}

function lettersIn(
  { home: { group, logId }, state: { cursor, records } }: Part<Home>,
  consumer: string,
): { readonly dead: number; readonly waiting: number } {
  if (cursor !== null && group === consumer) return { dead: cursor.box.dead, waiting: cursor.box.waiting }
  const counts = { dead: 0, waiting: 0 }
  for (const [, bytes] of records.range(...under(consumerKeys.table('k', group, logId)))) {
    const record = fromJson<ChainRecord>(bytes)
    if (record.consumer !== consumer) continue
    if (record.state === 'dead') counts.dead++
    else if (record.key !== null) counts.waiting++
  }
  return counts
}

function stalledIn(
  parts: readonly Part<Home>[],
  here: readonly Instance[],
  clock: Homes['clock'],
): ConsumerDescription['stalled'] {
  const progress = parts.flatMap(({ state: { cursor }, lag }) => (cursor === null ? [] : [{ cursor, lag }]))
  const stalled = stallOf(progress, here, clock)
  const damaged = parts.find(({ unreadable }) => unreadable !== null)
  if (damaged === undefined) return stalled
  return {
    sinceMs: stalled?.sinceMs ?? clock.now(),
    reason: `events of "${damaged.home.channel.name}" cannot be read: ${damaged.unreadable}`,
  }
}

function sum<Item>(items: readonly Item[], count: (item: Item) => number): number {
  return items.reduce((total, item) => total + count(item), 0)
}

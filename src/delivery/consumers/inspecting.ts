/**
 * Where the delivery of one event stands: from the consumer's cursor if it runs in this process, else from its records.
 */
import { LIMITS } from '../../base/limits.ts'
import type { OffsetSet } from '../../base/offset-set.ts'
import type { Failure } from '../../broker/failure.ts'
import type { DeliveryState, InspectedEvent, Inspection, InstanceState } from '../../broker/inspection.ts'
import { type ChainRecord, consumerKeys, type DeadRecord, fromFloat, fromJson, under } from '../consumer-records.ts'
import type { Cursor } from '../cursor/cursor.ts'
import type { DeadLetterBox } from '../dead/dead-letter-box.ts'
import type { HeldDelivery } from '../dispatch/held-delivery.ts'
import type { Instance } from '../dispatch/instance.ts'
import { inFlightIn, retriesIn, settledIn } from './carried-state.ts'
import type { Home, HomeState } from './homes.ts'

const UNKNOWN: Failure = { name: 'Error', message: 'unknown', kind: 'error' }

/** A home with the letters of its consumer. */
export interface InspectedHome {
  readonly home: Home
  readonly state: HomeState
  readonly box: DeadLetterBox
  /** The instances of the consumer in this process. */
  readonly here: readonly Instance[]
}

export async function inspected(
  of: InspectedHome | null,
  event: InspectedEvent,
): Promise<Omit<Inspection, 'instances'>> {
  if (of === null) return { delivery: { state: 'not begun' }, live: true }
  const { state, home } = of
  const live = state.cursor !== null
  const kept = await keptState(of, event)
  if (kept !== null) return { delivery: kept, live }
  if (state.cursor === null) return { delivery: recordedState(home, state, event), live }
  const key = await state.cursor.keyOf(event.offset, event.key)
  return { delivery: openState(state.cursor, of, { ...event, key }), live }
}

export function instanceStates(here: readonly Instance[], elapsedMs: number): InstanceState[] {
  return here.map((instance) => {
    const { channels, wants, from, credit, leaseMs } = instance.spec
    return {
      ...{ channels, wants, from, credit, leaseMs },
      inFlight: instance.held.size,
      paused: instance.idle,
      circuit: instance.circuit,
      limited: instance.limited,
      hung: instance.lapsed,
      silentMs: Math.max(0, Math.round(elapsedMs - instance.renewedMs)),
    }
  })
}

/** The state of an event that is a dead letter, was redriven, or waits behind a dead letter; else null. */
async function keptState(of: InspectedHome, event: InspectedEvent): Promise<DeliveryState | null> {
  const { box, state, home } = of
  const { offset } = event
  const kept = box.stateOf(offset)
  if (kept === undefined) return null
  if (kept.state === 'dead') {
    const { attempts = 0, failure = null, deadAtMs = 0 } = (await letterOf(box, offset)) ?? {}
    return { state: 'dead letter', attempts, deadAtMs, failure: failure ?? UNKNOWN }
  }
  const held = heldIn(state.cursor, offset)
  if (held !== null) return { state: 'in flight', attempt: held.attempt }
  const chain = kept.key === null ? undefined : box.chains.get(kept.key)
  const head = chain?.offsets.first
  if (chain !== undefined && head !== undefined && head < offset) return await behindHead(of, chain.dead, head)
  if (box.blockade.stands && !kept.blocks) return { state: 'blocked', letters: box.blockade.size }
  return retryOf(state, home, offset) ?? { state: 'redriven' }
}

async function behindHead({ box, home, state }: InspectedHome, dead: boolean, head: number): Promise<DeliveryState> {
  const event = { channel: home.channel.name, offset: head }
  if (dead) {
    const { attempts = null, failure = null } = (await letterOf(box, head)) ?? {}
    return { state: 'behind', by: 'dead letter', event, attempts, dueAtMs: null, failure }
  }
  return behind(state, home, head)
}

async function letterOf(box: DeadLetterBox, offset: number): Promise<DeadRecord | undefined> {
  await box.fetch(offset)
  return box.event(offset)
}

function behind(state: HomeState, home: Home, offset: number): DeliveryState {
  const event = { channel: home.channel.name, offset }
  const held = heldIn(state.cursor, offset)
  const retry = retryOf(state, home, offset)
  const by = held !== null ? 'delivery' : retry !== null ? 'retry' : 'event'
  return {
    ...{ state: 'behind', by, event },
    attempts: held?.attempt ?? retry?.attempts ?? null,
    dueAtMs: retry?.dueAtMs ?? null,
    failure: retry?.failure ?? null,
  }
}

function heldIn(cursor: Cursor | null, offset: number): HeldDelivery | null {
  return cursor?.deliveries.find((delivery) => delivery.offset === offset) ?? null
}

type Retrying = Extract<DeliveryState, { readonly state: 'retrying' }>

function retryOf({ cursor, records }: HomeState, { group, logId }: Home, offset: number): Retrying | null {
  const saved = cursor === null ? records.get(consumerKeys.retry(group, logId, offset)) : undefined
  const retry =
    cursor === null ? (saved === undefined ? undefined : fromJson<Retrying>(saved)) : cursor.state.retries.get(offset)
  if (retry === undefined) return null
  const { attempts, dueAtMs, failure } = retry
  return { state: 'retrying', attempts, dueAtMs, failure }
}

/** The state of an event that is not among the dead letters, from the cursor. */
function openState(cursor: Cursor, { state, home, here, box }: InspectedHome, event: InspectedEvent): DeliveryState {
  const { offset, key } = event
  const held = heldIn(cursor, offset)
  if (held !== null) return { state: 'in flight', attempt: held.attempt }
  if (cursor.done.has(offset)) return { state: 'settled', began: cursor.state.began }
  const before = key === null ? null : firstOfKey(cursor, here, { ...event, key })
  if (before !== null)
    return before.channel === home.channel.name ? behind(state, home, before.offset) : elsewhere(before)
  const head = key === null ? undefined : box.chains.get(key)?.offsets.first
  if (head !== undefined && head < offset) return behind(state, home, head)
  const needed = cursor.state.versions.needOf(offset)
  if (needed !== null) return { state: 'newer version', type: needed.type, version: needed.version }
  const retry = retryOf(state, home, offset)
  if (retry !== null) return retry
  for (const { flow } of here) {
    const limit = flow?.heldBy(cursor.log.name, offset)
    if (limit !== undefined && limit !== null) return { state: 'limited', ...limit }
  }
  if (cursor.state.isSuspect(offset)) return { state: 'alone' }
  if (box.blockade.stands) return { state: 'blocked', letters: box.blockade.size }
  if (cursor.isUnmatched(offset)) return { state: 'unmatched' }
  return { state: 'waiting', ahead: unsettledBefore(cursor.done, cursor.log.first, offset), retries: [] }
}

type Preceding = Pick<HeldDelivery, 'channel' | 'offset' | 'attempt'>

/** A delivery of the key in another channel of the consumer comes first. */
function elsewhere({ channel, offset, attempt }: Preceding): DeliveryState {
  return {
    state: 'behind',
    by: 'delivery',
    event: { channel, offset },
    attempts: attempt,
    dueAtMs: null,
    failure: null,
  }
}

/** What of the event's key comes before it: a delivery in flight, in any channel, or an earlier event that waits. */
function firstOfKey(
  cursor: Cursor,
  here: readonly Instance[],
  { key, offset }: InspectedEvent & { readonly key: string },
): Preceding | null {
  const held = [...cursor.deliveries, ...here.flatMap((instance) => [...instance.held])]
  const inFlight = held.find((delivery) => delivery.key === key)
  if (inFlight !== undefined) return inFlight
  const first = cursor.firstWaiting(key)
  return first === null || first >= offset ? null : { channel: cursor.log.name, offset: first, attempt: 0 }
}

/** The same from the records of a consumer that does not run here. */
function recordedState(
  { group, logId, channel }: Home,
  { records }: HomeState,
  { offset }: InspectedEvent,
): DeliveryState {
  const done = settledIn(records, group, logId)
  if (done === null) return { state: 'not begun' }
  const begin = records.get(consumerKeys.begin(group, logId))
  if (done.has(offset)) return { state: 'settled', began: begin === undefined ? null : fromFloat(begin) }
  const retries = retriesIn(records, group, logId).map(({ offset: at, attempts, dueAtMs, failure }) => ({
    ...{ channel: channel.name, offset: at },
    ...{ attempts, dueAtMs, failure },
  }))
  const own = retries.find((retry) => retry.offset === offset)
  if (own !== undefined)
    return { state: 'retrying', attempts: own.attempts, dueAtMs: own.dueAtMs, failure: own.failure }
  const inFlight = inFlightIn(records, group, logId)
  if (inFlight?.offsets.includes(offset) === true) return { state: 'in flight', attempt: null }
  const blocking = blockingIn(records, group, logId)
  if (blocking > 0) return { state: 'blocked', letters: blocking }
  const before = retries.filter((retry) => retry.offset < offset).slice(0, LIMITS.inspectedRetriesMax)
  return { state: 'waiting', ahead: unsettledBefore(done, 0, offset), retries: before }
}

/** How many offsets before this one are not settled. */
function unsettledBefore(done: OffsetSet, first: number, offset: number): number {
  const floor = Math.max(done.floor, first)
  let open = Math.max(0, offset - floor)
  for (const [from, to] of done.ranges()) open -= Math.max(0, Math.min(to, offset) - Math.max(from, floor))
  return Math.max(0, open)
}

function blockingIn(records: HomeState['records'], group: string, logId: number): number {
  const chains = records.range(...under(consumerKeys.table('k', group, logId)))
  return chains.filter(([, bytes]) => fromJson<ChainRecord>(bytes).blocks).length
}

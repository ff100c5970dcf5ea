/** Clause 17: what there is, how far behind it is, and what does not move, and why. Computed when somebody asks. */
import type { Clock } from '../../base/clock.ts'
import { isMillraceError } from '../../base/errors.ts'
import type { Alarm, BrokerDescription, ChannelDescription, ConsumerDescription, ConsumerPause, ConsumerPosition } from '../../broker/description.ts'
import { settledIn } from '../../delivery/carried-state.ts'
import { type ChainRecord, consumerKeys, fromFloat, fromJson, lastNumber, under } from '../../delivery/consumer-records.ts'
import type { Cursor } from '../../delivery/cursor.ts'
import type { DeliveryLog } from '../../delivery/delivery-log.ts'
import type { DoneSet } from '../../delivery/done-set.ts'
import type { Instance } from '../../delivery/instance.ts'
import { type Progress, stallOf } from '../../delivery/stall.ts'
import type { Block } from '../../event/block.ts'
import type { ChannelLog } from './channel-log.ts'
import { keys } from './records.ts'
import type { Store } from './store.ts'

export interface Described {
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  readonly store: Store<Block>
  readonly logs: ReadonlyMap<string, ChannelLog>
  readonly cursors: ReadonlyMap<string, Cursor>
  readonly instances: ReadonlySet<Instance>
  readonly alarms: readonly Alarm[]
  readonly queueGroup: string
}

/** One consumer in one channel, running or not. */
interface Place {
  readonly consumer: string
  /** What its records are kept under. */
  readonly group: string
  readonly log: DeliveryLog
  readonly cursor: Cursor | undefined
  readonly floor: number
}

export async function describeEngine(engine: Described): Promise<Omit<BrokerDescription, 'capabilities' | 'engine'>> {
  const channels = [...engine.logs.values()].map((log) => describeChannel(log, engine))
  const byConsumer = new Map<string, Place[]>()
  for (const place of places(engine)) byConsumer.set(place.consumer, [...(byConsumer.get(place.consumer) ?? []), place])
  const consumers: ConsumerDescription[] = []
  for (const [name, its] of [...byConsumer].sort(([a], [b]) => (a < b ? -1 : 1))) consumers.push(await describeConsumer(name, its, engine))
  return { channels, consumers, alarms: engine.alarms }
}

function describeChannel(log: ChannelLog, { store, clock }: Described): ChannelDescription {
  const scheduled = log.mayHaveScheduled ? store.count(...under(keys.scheduledOf(log.id))) : 0
  const { name, spec, first, committed, meter } = log
  return { name, kind: spec.kind, types: spec.types, first, next: committed, bytes: store.size(log.id), scheduled, rate: meter.rate(clock.elapsed()) }
}

/** Every consumer in every channel that it has begun. */
function* places({ store, logs, cursors, instances, queueGroup }: Described): Generator<Place> {
  const byId = new Map([...logs.values()].map((log) => [log.id, log]))
  const seen = new Set<string>()
  for (const [key, bytes] of store.range(...under('g/'))) {
    const log = byId.get(lastNumber(key))
    const group = key.slice(2, key.lastIndexOf('/'))
    if (log === undefined) continue
    const cursor = cursors.get(`${group}/${log.id}`)
    const floor = cursor?.done.floor ?? fromFloat(bytes)
    seen.add(`${group}/${log.id}`)
    if (group !== queueGroup) yield { consumer: group, group, log, cursor, floor }
    else for (const consumer of workers(store, log, instances)) yield { consumer, group, log, cursor, floor }
  }
  for (const [key, cursor] of cursors) {
    if (seen.has(key)) continue
    const names = cursor.group === queueGroup ? workers(store, cursor.log, instances) : [cursor.group]
    for (const consumer of names) yield { consumer, group: cursor.group, log: cursor.log, cursor, floor: cursor.done.floor }
  }
}

/** The consumers that have worked on a queue. */
function workers(store: Store<Block>, log: DeliveryLog, instances: ReadonlySet<Instance>): Set<string> {
  const prefix = keys.worker(log.id, '')
  const names = new Set(store.range(...under(prefix)).map(([key]) => key.slice(prefix.length)))
  for (const instance of instances) for (const cursor of instance.cursors) if (cursor.log === log) names.add(instance.spec.name)
  return names
}

async function describeConsumer(name: string, its: readonly Place[], engine: Described): Promise<ConsumerDescription> {
  const instances = [...engine.instances].filter((instance) => instance.spec.name === name)
  const channels: ConsumerPosition[] = []
  const sums = { retrying: 0, deadLetters: 0, parked: 0, rate: 0 }
  let unreadable: string | null = null
  for (const place of its) {
    const where = position(place, engine)
    try {
      channels.push({ ...where, lagMs: await lagMsOf(place, where, engine.clock.now()) })
      const counts = deadCounts(place, engine)
      sums.deadLetters += counts.dead
      sums.parked += counts.waiting
      sums.retrying += place.cursor?.state.retries.size ?? engine.store.range(...under(consumerKeys.table('r', place.group, place.log.id))).length
    } catch (error) {
      if (!isMillraceError(error, 'DATA_DAMAGED')) throw error
      // It is told of this consumer, and of nobody else.
      unreadable ??= `what it comes to in "${place.log.name}" cannot be read: ${error.message}`
      if (channels.at(-1)?.channel !== place.log.name) channels.push(where)
    }
    sums.rate += place.cursor?.progress.meter.rate(engine.clock.elapsed()) ?? 0
  }
  const inFlight = instances.reduce((sum, instance) => sum + instance.held.size, 0)
  const saved = engine.store.get(keys.pause(name))
  const pause = saved === undefined ? null : fromJson<ConsumerPause>(saved)
  const paused = pause !== null || (instances.length > 0 && instances.every((instance) => instance.idle))
  const stalled = stallOf(progress(its, channels), instances, engine.clock)
  const reason = unreadable === null ? stalled : { sinceMs: stalled?.sinceMs ?? engine.clock.now(), reason: unreadable }
  return { name, channels, instances: instances.length, inFlight, ...sums, paused, pause, stalled: reason }
}

function deadCounts({ cursor, consumer, group, log }: Place, { store }: Described): { readonly dead: number; readonly waiting: number } {
  if (cursor !== undefined && cursor.group === consumer) return { dead: cursor.box.dead, waiting: cursor.box.waiting }
  let dead = 0
  let waiting = 0
  for (const [, bytes] of store.range(...under(consumerKeys.table('k', group, log.id)))) {
    const record = fromJson<ChainRecord>(bytes)
    if (record.consumer !== consumer) continue
    if (record.state === 'dead') dead++
    else waiting++
  }
  return { dead, waiting }
}

function position({ log, cursor, floor, group }: Place, { store }: Described): ConsumerPosition {
  const from = Math.max(floor, log.first)
  if (cursor === undefined) return { channel: log.name, floor: from, lag: unsettled(log, settledIn(store, group, log.id)), lagMs: 0 }
  const lag = cursor.outstanding + Math.max(0, log.committed - Math.max(cursor.taken, log.first))
  return { channel: log.name, floor: from, lag, lagMs: 0 }
}

/** How many events of a channel a consumer that does not run has to settle: what it did out of order is done. */
function unsettled(log: DeliveryLog, done: DoneSet | null): number {
  if (done === null) return log.committed - log.first
  done.raise(log.first)
  return Math.max(0, log.committed - done.floor - done.above)
}

async function lagMsOf({ log }: Place, { floor, lag }: ConsumerPosition, nowMs: number): Promise<number> {
  if (lag === 0) return 0
  const block = log.blockInMemory(floor) ?? (await log.cache(floor))
  return block === undefined ? 0 : Math.max(0, nowMs - block.timeMs)
}

function progress(its: readonly Place[], positions: readonly ConsumerPosition[]): Progress[] {
  return its.flatMap(({ cursor, log }) => (cursor === undefined ? [] : [{ cursor, lag: positions.find((each) => each.channel === log.name)?.lag ?? 0 }]))
}

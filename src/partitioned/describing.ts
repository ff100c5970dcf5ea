/** Clause 17 over a backend: channels from the backend, consumers from their journals, what runs from the members' own notes. */
import type { Clock } from '../base/clock.ts'
import type { Alarm, BrokerDescription, ChannelDescription, ConsumerDescription, ConsumerPause, ConsumerPosition } from '../broker/description.ts'
import { settledIn } from '../delivery/carried-state.ts'
import { consumerKeys, fromFloat, QUEUE_GROUP, under } from '../delivery/consumer-records.ts'
import type { DoneSet } from '../delivery/done-set.ts'
import type { Instance } from '../delivery/instance.ts'
import { type Progress, stallOf } from '../delivery/stall.ts'
import { type Group, memberNoteIn, ORDERS } from './group.ts'
import { boxOf, type Place } from './interventions.ts'
import { fold, type JournalState } from './journal-entry.ts'
import { journalIn, journalOf } from './journal-name.ts'
import type { ChannelEntry, LogBackend } from './log-backend.ts'
import { channelOf, SCHEDULE } from './scheduler.ts'

export interface Described {
  readonly backend: LogBackend
  readonly entries: readonly ChannelEntry[]
  readonly groups: ReadonlyMap<string, Group>
  readonly instances: ReadonlySet<Instance>
  pauseOf(consumer: string): ConsumerPause | null
  /** Events a second that this process has published to a channel: others' are not known. */
  rate(channel: string): number
  readonly alarms: readonly Alarm[]
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
}

/** A consumer in one partition. */
interface Part {
  readonly place: Place
  readonly state: JournalState
  readonly floor: number
  readonly lag: number
  readonly oldestMs: number | null
  readonly retrying: number
  readonly progress: Progress | null
}

export async function describePartitioned(engine: Described): Promise<Omit<BrokerDescription, 'capabilities' | 'engine'>> {
  const waiting = await scheduledByChannel(engine)
  const channels = await Promise.all(engine.entries.map((entry) => describeChannel(entry, waiting, engine)))
  const byConsumer = new Map<string, Part[]>()
  for (const [consumer, part] of await parts(engine)) byConsumer.set(consumer, [...(byConsumer.get(consumer) ?? []), part])
  const consumers: ConsumerDescription[] = []
  for (const [name, its] of [...byConsumer].sort(([a], [b]) => (a < b ? -1 : 1))) consumers.push(await describeConsumer(name, its, engine))
  return { channels, consumers, alarms: engine.alarms }
}

/** Delayed events that wait, of each channel. */
async function scheduledByChannel({ backend }: Described): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  const { entries } = await backend.readJournal(journalOf(QUEUE_GROUP, SCHEDULE, 0))
  const done = settledIn(fold(entries).records, QUEUE_GROUP, 0)
  if (done === null) return counts
  let offset = done.floor
  for (;;) {
    const found = await backend.read(SCHEDULE, 0, offset, { count: 1000, bytes: 8 * 1024 * 1024 })
    for (const record of found) {
      const channel = channelOf(record.event)
      if (!done.has(record.offset)) counts.set(channel, (counts.get(channel) ?? 0) + 1)
    }
    const last = found.at(-1)
    if (last === undefined) return counts
    offset = last.offset + 1
  }
}

async function describeChannel(entry: ChannelEntry, waiting: ReadonlyMap<string, number>, { backend, rate }: Described): Promise<ChannelDescription> {
  const { name, kind, types } = entry.spec
  const [{ first, next }, bytes] = await Promise.all([backend.bounds(name, null), backend.bytes(name)])
  return { name, kind, types, first, next, bytes, scheduled: waiting.get(name) ?? 0, rate: rate(name) }
}

/** Every consumer in every partition that it has begun. */
async function parts(engine: Described): Promise<[consumer: string, part: Part][]> {
  const byName = new Map(engine.entries.map((entry) => [entry.spec.name, entry]))
  const found: [string, Part][] = []
  const journals = await engine.backend.journals('')
  await Promise.all(
    journals.map(async (journal) => {
      const named = journalIn(journal, (channel) => byName.get(channel))
      if (named === null) return
      const { group, entry } = named
      const groupId = group === QUEUE_GROUP ? `${QUEUE_GROUP}/${entry.spec.name}` : group
      const part = await describePart({ ...named, journal, groupId }, engine)
      if (part === null) return
      const names = group === QUEUE_GROUP ? part.state.records.range(...under('w/')).map(([key]) => key.slice(2)) : [group]
      for (const name of names) found.push([name, part])
    }),
  )
  return found
}

/** Events that are not settled before the last one that is: where a partition has no event, that is settled too. */
function openIn(done: DoneSet | null): number {
  return done === null ? 0 : done.end - done.floor - done.above
}

async function describePart(place: Place, { backend, groups }: Described): Promise<Part | null> {
  const { entry, partition, group } = place
  const state = fold((await backend.readJournal(place.journal)).entries)
  const saved = state.records.get(consumerKeys.cursor(group, partition))
  if (saved === undefined) return null
  const owned = groups.get(place.groupId)?.owned.get(place.journal)
  const live = owned === undefined || owned.ownership.over ? null : owned.cursor
  const done = live?.done ?? settledIn(state.records, group, partition)
  const floor = done?.floor ?? fromFloat(saved)
  // An event is settled when what it emitted is there to be seen.
  const lag =
    live === null
      ? state.outbox.length + openIn(done) + (await backend.pendingFrom(entry.spec.name, partition, done?.end ?? floor))
      : live.outstanding + (owned?.ownership.unsent ?? 0) + (await backend.pendingFrom(entry.spec.name, partition, live.taken))
  const [oldest] = lag === 0 ? [] : await backend.read(entry.spec.name, partition, floor, { count: 1, bytes: 1 })
  const retries = state.records.range(...under(consumerKeys.table('r', group, partition))).length
  return {
    place,
    state,
    floor,
    lag,
    oldestMs: oldest?.timeMs ?? null,
    retrying: live?.state.retries.size ?? retries,
    progress: live === null ? null : { cursor: live, lag },
  }
}

async function describeConsumer(name: string, its: readonly Part[], engine: Described): Promise<ConsumerDescription> {
  const positions = new Map<string, ConsumerPosition>()
  const sums = { retrying: 0, deadLetters: 0, parked: 0 }
  for (const part of its) {
    const channel = part.place.entry.spec.name
    const before = positions.get(channel) ?? { channel, floor: (await engine.backend.bounds(channel, null)).next, lag: 0, lagMs: 0 }
    // A partition in which nothing is left to do holds no floor down.
    const floor = part.lag === 0 ? before.floor : Math.min(before.floor, part.floor)
    const lagMs = part.oldestMs === null ? 0 : Math.max(0, engine.clock.now() - part.oldestMs)
    positions.set(channel, { channel, floor, lag: before.lag + part.lag, lagMs: Math.max(before.lagMs, lagMs) })
    sums.retrying += part.retrying
    const box = part.progress?.cursor.group === name ? part.progress.cursor.box : boxOf(part.state, part.place, engine.backend)
    const dead = part.progress?.cursor.group === name ? box.dead : box.count(name)
    sums.deadLetters += dead
    sums.parked += box.waiting
  }
  const local = [...engine.instances].filter((instance) => instance.spec.name === name)
  const notes = await notesOf(name, its, engine, local)
  const stalled = stallOf(
    its.flatMap(({ progress }) => (progress === null ? [] : [progress])),
    local,
    engine.clock,
  )
  const pause = engine.pauseOf(name)
  return { name, channels: [...positions.values()], ...sums, ...notes, paused: notes.paused || pause !== null, pause, stalled }
}

/** What runs: this process's own instances as they are, others' as they last said. */
async function notesOf(
  name: string,
  its: readonly Part[],
  { backend, groups, clock }: Described,
  local: readonly Instance[],
): Promise<Pick<ConsumerDescription, 'instances' | 'inFlight' | 'rate' | 'paused'>> {
  const sum = {
    instances: local.length,
    inFlight: local.reduce((held, instance) => held + instance.held.size, 0),
    rate: its.reduce((rate, { progress }) => rate + (progress?.cursor.progress.meter.rate(clock.elapsed()) ?? 0), 0),
  }
  let paused = local.length > 0 && local.every((instance) => instance.idle)
  for (const [member, text] of await backend.members(name)) {
    if (member === ORDERS || [...groups.values()].some((group) => group.id === name && group.isMe(member))) continue
    const note = memberNoteIn(text)
    if (note === null) continue
    sum.instances += note.instances
    sum.inFlight += note.inFlight
    sum.rate += note.rate
    paused = note.paused && (local.length === 0 || paused)
  }
  return { ...sum, paused }
}

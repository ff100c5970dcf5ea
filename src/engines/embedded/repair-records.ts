/**
 * What a repair does with the records, and what is lost of them.
 *
 * - A record that refers to something lost is removed with it: a letter's state without its text, the id of a delayed
 *   event without the event. What can be derived again is derived.
 * - Offsets that records name were given to events, so no channel ends before them.
 * - What is certainly lost is reported by name. If it is not known what is lost, the report says what may be.
 */
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import {
  type ChainRecord,
  type DeadRecord,
  fromFloat,
  fromJson,
  type InFlightRecord,
  QUEUE_GROUP,
  toJson,
} from '../../delivery/consumer-records.ts'
import { type ChannelRecord, type CompactedRecord, keys, type TimerRecord } from './records.ts'
import type { Survey } from './storage/survey.ts'

export type LostThing =
  | 'dead letter'
  | 'event behind a dead letter'
  | 'delayed event'
  | 'position of a consumer'
  | 'settled events of a consumer'
  | 'attempts of a failed event'
  | 'declaration of a channel'
  | 'pause of a consumer'
  | 'commit'

/** Losses of one kind, except events in channels. */
export interface Loss {
  readonly what: LostThing
  readonly channel: string | null
  readonly consumer: string | null
  /** The number; null if it is not known. */
  readonly count: number | null
  /** True: lost for certain. False: perhaps lost. */
  readonly certain: boolean
  /** Some of the offsets, ids or times, as far as they are known. */
  readonly which: readonly string[]
}

export interface MendedRecords {
  readonly records: Map<string, Uint8Array>
  readonly losses: readonly Loss[]
}

/** The longest list of names in a loss. */
const NAMED_MAX = 20

/** The key of a record of one event: `d/<group>/<channel>/<offset>`. */
const OFFSET_KEY = /^([bdkr])\/(.+)\/(\d{8})\/(\d{16})$/
const CURSOR_KEY = /^([gf])\/(.+)\/(\d{8})$/
const CHANNEL_KEY = /^([syzq])\/(\d{8})/
const TIMER_KEY = /^t\/(\d{16})\//

/** Raise the end of each channel above every offset that a record names, so that no offset is given out again. */
export function raiseEnds(survey: Survey): void {
  for (const records of [survey.records, ...survey.frames.map((frame) => frame.records)]) {
    for (const [key, value] of records) {
      const named = value === null ? null : offsetAfter(key, Buffer.from(value))
      if (named === null) continue
      const channel = survey.channel(named.channelId)
      channel.next = Math.max(channel.next, named.next)
    }
  }
}

/** The channel that a record belongs to, and the offset after the highest one that it names; null if it names none. */
function offsetAfter(key: string, value: Buffer): { readonly channelId: number; readonly next: number } | null {
  const [, table, , channel, offset] = OFFSET_KEY.exec(key) ?? []
  if (table !== undefined)
    return { channelId: Number(channel), next: table === 'b' ? afterBits(Number(offset), value) : Number(offset) + 1 }
  const [, kind, , id] = CURSOR_KEY.exec(key) ?? []
  if (kind === 'g') return { channelId: Number(id), next: fromFloat(value) }
  if (kind === 'f') {
    const { offsets, solo } = fromJson<InFlightRecord>(value)
    return { channelId: Number(id), next: 1 + Math.max(-1, solo ?? -1, ...offsets) }
  }
  const [, own, ownId] = CHANNEL_KEY.exec(key) ?? []
  if (own === 'y') return { channelId: Number(ownId), next: fromFloat(value) + 1 }
  if (own === 'z') return { channelId: Number(ownId), next: fromJson<CompactedRecord>(value).to }
  if (!key.startsWith('c/')) return null
  const { id: channelId, first } = fromJson<ChannelRecord>(value)
  return { channelId, next: first }
}

/** The offset after the last one in a chunk of 1,024 settled offsets (`offset-set.ts`). */
function afterBits(chunk: number, bits: Buffer): number {
  let last = bits.length - 1
  while (last >= 0 && bits[last] === 0) last--
  return last < 0 ? 0 : chunk * 1024 + 8 * last + (32 - Math.clz32(bits[last] as number))
}

export function mendRecords(survey: Survey, names: ReadonlyMap<number, string>): MendedRecords {
  const records = new Map<string, Uint8Array>(survey.records)
  for (const frame of survey.frames) {
    for (const [key, value] of frame.records) {
      if (value === null) records.delete(key)
      else records.set(key, value)
    }
  }
  const tally = new Tally(names)
  if (survey.problems.length > 0) {
    const told = new Set<string>()
    mendLetters(records, tally, told)
    mendTimers(records, tally, told)
    tellIndex(survey, records, tally, told)
    const { lostCommits } = survey
    if (lostCommits !== 0) tally.add({ what: 'commit', certain: lostCommits !== null, count: lostCommits })
  }
  return { records, losses: tally.losses }
}

/**
 * A letter has two records, its text and its state. A state without a text is removed; a missing state is derived from
 * the text.
 */
function mendLetters(records: Map<string, Uint8Array>, tally: Tally, told: Set<string>): void {
  for (const [key, value] of [...records]) {
    const [, table, group, channel, offset] = OFFSET_KEY.exec(key) ?? []
    const other = `${table === 'k' ? 'd' : 'k'}${key.slice(1)}`
    if ((table !== 'k' && table !== 'd') || records.has(other)) continue
    if (table === 'd') {
      const { consumer, state, key: lane } = fromJson<DeadRecord>(value)
      records.set(other, toJson({ consumer, state, key: lane, blocks: false } satisfies ChainRecord))
      continue
    }
    const { consumer, state } = fromJson<ChainRecord>(value)
    records.delete(key)
    told.add(other)
    const what = state === 'dead' ? 'dead letter' : 'event behind a dead letter'
    tally.add({
      what,
      channelId: Number(channel),
      consumer: consumer || consumerOf(group as string),
      certain: true,
      which: `offset ${Number(offset)}`,
    })
  }
}

/**
 * A delayed event has two records: the event, and its id with the key of the event. They are mended in the same way.
 */
function mendTimers(records: Map<string, Uint8Array>, tally: Tally, told: Set<string>): void {
  for (const [key, value] of [...records]) {
    if (key.startsWith('t/')) {
      const { channelId, event, undecided } = fromJson<
        TimerRecord & { readonly event: EncodedEvent; readonly undecided?: true }
      >(value)
      if (undecided === undefined && !records.has(keys.scheduledId(channelId, event.id)))
        records.set(keys.scheduledId(channelId, event.id), Buffer.from(key))
    } else if (key.startsWith('s/') && !records.has(Buffer.from(value).toString())) {
      records.delete(key)
      told.add(Buffer.from(value).toString())
      const prefix = keys.scheduledOf(Number(key.slice(2, 10)))
      tally.add({
        what: 'delayed event',
        channelId: Number(key.slice(2, 10)),
        certain: true,
        which: `id ${key.slice(prefix.length)}`,
      })
    }
  }
}

const TABLES: Readonly<Record<string, LostThing>> = {
  b: 'settled events of a consumer',
  c: 'declaration of a channel',
  d: 'dead letter',
  f: 'attempts of a failed event',
  g: 'position of a consumer',
  k: 'dead letter',
  p: 'pause of a consumer',
  r: 'attempts of a failed event',
  s: 'delayed event',
  t: 'delayed event',
}

/**
 * Report unreadable entries of the index: by key where the key is readable, and else what may have been between two
 * keys.
 */
function tellIndex(
  { indexRemains, problems }: Survey,
  records: ReadonlyMap<string, Uint8Array>,
  tally: Tally,
  told: ReadonlySet<string>,
): void {
  if (problems.every(({ file }) => file !== 'index.mdb')) return
  const damaged = new Set(indexRemains.damaged)
  for (const entry of damaged) {
    const key = entry.slice(1)
    // Of the two records of a letter only one is reported. What a later commit has written again is not lost.
    const isTold = told.has(key) || records.has(key) || (key.startsWith('k/') && damaged.has(`rd${key.slice(1)}`))
    if (entry.startsWith('r') && !isTold) tellRecord(key, tally)
  }
  for (const { after, before } of indexRemains.gaps) {
    for (const [table, what] of Object.entries(TABLES)) {
      if ((before !== null && `r${table}/` >= before) || (after !== null && `r${table}0` <= after)) continue
      const consumer = sharedConsumer(after, before)
      tally.add({ what, consumer, certain: false, count: indexRemains.missing })
    }
  }
}

/** The consumer of both keys, if they have the same: entries between them belong to it too. */
function sharedConsumer(after: string | null, before: string | null): string | undefined {
  const [a, b] = [after, before].map((key) => OFFSET_KEY.exec(key?.slice(1) ?? '') ?? [])
  return a?.[1] !== undefined && a[1] === b?.[1] && a[2] === b[2] ? a[2] : undefined
}

function tellRecord(key: string, tally: Tally): void {
  const what = TABLES[key[0] as string]
  const [, , group, channel, offset] = OFFSET_KEY.exec(key) ?? []
  if (what === undefined) return
  if (group !== undefined) {
    const which = key.startsWith('b/') ? undefined : `offset ${Number(offset)}`
    tally.add({
      what,
      channelId: Number(channel),
      consumer: consumerOf(group),
      certain: true,
      ...(which !== undefined && { which }),
    })
    return
  }
  const [, , ofGroup, id] = CURSOR_KEY.exec(key) ?? []
  if (ofGroup !== undefined) tally.add({ what, channelId: Number(id), consumer: consumerOf(ofGroup), certain: true })
  else if (key.startsWith('p/')) tally.add({ what, consumer: key.slice(2), certain: true })
  else if (key.startsWith('c/')) tally.add({ what, certain: true, which: key.slice(2) })
  else if (key.startsWith('s/'))
    tally.add({ what, channelId: Number(key.slice(2, 10)), certain: true, which: `id ${key.slice(11)}` })
  else if (key.startsWith('t/')) tally.add({ what, certain: true, ...dueOf(key) })
}

/** When a delayed event was due. The key may be damaged itself. */
function dueOf(key: string): { readonly which?: string } {
  const due = new Date(Number(TIMER_KEY.exec(key)?.[1]))
  return Number.isNaN(due.getTime()) ? {} : { which: `due at ${due.toISOString()}` }
}

/** The name of a group's consumer. The workers of a queue have none in common. */
function consumerOf(group: string): string | undefined {
  return group === QUEUE_GROUP ? undefined : group
}

interface Lost {
  readonly what: LostThing
  readonly certain: boolean
  readonly channelId?: number
  readonly consumer?: string | undefined
  readonly count?: number | null
  readonly which?: string
}

/** The losses, collected by kind, channel and consumer. */
class Tally {
  readonly #names: ReadonlyMap<number, string>
  readonly #losses = new Map<
    string,
    { readonly loss: Omit<Loss, 'count' | 'which'>; count: number | null; readonly which: string[] }
  >()

  constructor(names: ReadonlyMap<number, string>) {
    this.#names = names
  }

  add({ what, certain, channelId, consumer, count = 1, which }: Lost): void {
    const channel = channelId === undefined ? null : (this.#names.get(channelId) ?? `recovered-${channelId}`)
    const loss = { what, channel, consumer: consumer ?? null, certain }
    const key = JSON.stringify(loss)
    const known = this.#losses.get(key) ?? { loss, count: 0, which: [] }
    // Each kind may have lost as many records as are missing in total, and no more.
    if (!certain) known.count = count
    else known.count = (known.count ?? 0) + (count ?? 1)
    if (which !== undefined && known.which.length < NAMED_MAX) known.which.push(which)
    this.#losses.set(key, known)
  }

  get losses(): Loss[] {
    return [...this.#losses.values()].map(({ loss, count, which }) => ({ ...loss, count, which }))
  }
}

/** Remove the attempts of lost events: there is nothing to try again. */
export function forget(
  records: Map<string, Uint8Array>,
  channelId: number,
  lost: readonly (readonly [from: number, to: number])[],
): void {
  if (lost.length === 0) return
  const isLost = (offset: number): boolean => lost.some(([from, to]) => offset >= from && offset < to)
  for (const [key, value] of [...records]) {
    const [, table, , channel, offset] = OFFSET_KEY.exec(key) ?? []
    if (table === 'r' && Number(channel) === channelId && isLost(Number(offset))) records.delete(key)
    const [, kind, , id] = CURSOR_KEY.exec(key) ?? []
    if (kind !== 'f' || Number(id) !== channelId) continue
    const { credit, offsets, solo } = fromJson<InFlightRecord>(value)
    const left = offsets.filter((each) => !isLost(each))
    records.set(
      key,
      toJson({ credit, offsets: left, solo: solo === null || isLost(solo) ? null : solo } satisfies InFlightRecord),
    )
  }
}

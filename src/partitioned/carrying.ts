/**
 * The carriage over a backend. A consumer's progress is one for the whole channel when it is carried, and one for each partition in the journals: taken
 * out, they are joined along the events that are not settled in all of them; put in, each partition gets the whole, of which others' offsets are holes to it.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Carriage, CarriedConsumer, CarriedEvent, CarriedLetter, CarriedSchedule, Page } from '../broker/carriage.ts'
import { type CarriedProgress, clearedRecords, inFlightIn, letterRecords, lettersIn, progressRecords, retriesIn, settledIn } from '../delivery/carried-state.ts'
import { QUEUE_GROUP, under } from '../delivery/consumer-records.ts'
import type { DoneSet } from '../delivery/done-set.ts'
import { itemOf, partitionOf } from './appending.ts'
import { fold, type JournalState } from './journal-entry.ts'
import { journalOf } from './journal-name.ts'
import { lettersOf } from './letter-pages.ts'
import { LetterShelf, type ShelfHost } from './letter-shelf.ts'
import type { Appended, AppendItem, ChannelEntry, LogBackend, StoredRecord } from './log-backend.ts'
import { Ownership, type OwnershipHost } from './ownership.ts'
import type { Registry } from './registry.ts'
import { isFor, SCHEDULE, scheduledIn } from './scheduler.ts'

const PAGE = { count: 1000, bytes: LIMITS.readAheadBytes }

export interface CarryingHost {
  readonly backend: LogBackend
  readonly registry: Registry
  readonly own: OwnershipHost
  readonly shelf: ShelfHost
  nowMs(): number
  append(channel: string, items: readonly AppendItem[]): Promise<readonly Appended[]>
  /** What consumers of this engine have settled is in their journals. */
  flushed(): Promise<void>
}

export class PartitionedCarriage implements Carriage {
  readonly #host: CarryingHost

  constructor(host: CarryingHost) {
    this.#host = host
  }

  async accepts(): Promise<{ readonly eventBytesMax: number; readonly keepsTimes: boolean }> {
    const { entryBytes, keepsTimes } = this.#host.backend.limits
    return { eventBytesMax: entryBytes, keepsTimes: keepsTimes === true }
  }

  async consumers(channel: string): Promise<CarriedConsumer[]> {
    const entry = await this.#host.registry.current(channel)
    await this.#host.flushed()
    const groups = new Set<string>()
    for (const journal of await this.#host.backend.journals('')) {
      const [group = '', of = ''] = journal.split('/')
      if (of === channel) groups.add(group)
    }
    const found: CarriedConsumer[] = []
    for (const group of [...groups].sort()) {
      const states = await this.#states(entry, group)
      const workers = group === QUEUE_GROUP ? new Set(states.flatMap(({ records }) => records.range(...under('w/')).map(([key]) => key))) : new Set<string>()
      const whose = { channel, consumer: group === QUEUE_GROUP ? null : group, workers: [...workers].map((key) => key.slice(2)).sort() }
      found.push({ ...whose, ...(await this.#progress(entry, group, states)) })
    }
    return found
  }

  #states(entry: ChannelEntry, group: string): Promise<JournalState[]> {
    const journals = Array.from({ length: entry.partitions }, (_, partition) => journalOf(group, entry.spec.name, partition))
    return Promise.all(journals.map(async (journal) => fold((await this.#host.backend.readJournal(journal)).entries)))
  }

  async #progress({ spec: { name } }: ChannelEntry, group: string, states: readonly JournalState[]): Promise<CarriedProgress> {
    const { first, next } = await this.#host.backend.bounds(name, null)
    const settledOf = states.map((state, partition) => settledIn(state.records, group, partition))
    let floor = next
    for (const [partition, done] of settledOf.entries()) floor = Math.min(floor, await this.#firstUnsettled(name, partition, done, first, floor))
    const [settled, open]: [number[], number[]] = [[], []]
    for (const [partition, done] of settledOf.entries()) {
      for await (const { offset } of this.#records(name, partition, floor)) (done?.has(offset) === true ? settled : open).push(offset)
    }
    const inFlight = states.flatMap((state, partition) => inFlightIn(state.records, group, partition) ?? [])
    return {
      floor,
      settled: rangesOf(settled, open),
      retries: states.flatMap((state, partition) => retriesIn(state.records, group, partition)),
      inFlight:
        inFlight.length === 0
          ? null
          : {
              credit: Math.max(...inFlight.map(({ credit }) => credit)),
              offsets: inFlight.flatMap(({ offsets }) => offsets),
              solo: inFlight.find(({ solo }) => solo !== null)?.solo ?? null,
            },
    }
  }

  async #firstUnsettled(channel: string, partition: number, done: DoneSet | null, first: number, below: number): Promise<number> {
    for await (const { offset } of this.#records(channel, partition, done?.floor ?? first)) {
      if (offset >= below) return below
      if (done?.has(offset) !== true) return offset
    }
    return below
  }

  async *#records(channel: string, partition: number | null, from: number): AsyncGenerator<StoredRecord> {
    let offset = from
    for (;;) {
      const found = await this.#host.backend.read(channel, partition, offset, PAGE)
      yield* found
      const last = found.at(-1)
      if (last === undefined) return
      offset = last.offset + 1
    }
  }

  async letters(channel: string, consumer: string | null, from: string | null): Promise<Page<CarriedLetter>> {
    const entry = await this.#host.registry.current(channel)
    await this.#host.flushed()
    const group = consumer ?? QUEUE_GROUP
    const states = await this.#states(entry, group)
    const pages = await Promise.all(
      states.map(({ records }, partition) => {
        const texts = lettersOf(this.#host.backend, group, channel, partition, (key) => records.get(key))
        return lettersIn(records, group, partition, Number(from ?? 0), PAGE, texts)
      }),
    )
    // Of a partition that has more, nothing is known behind its page: no other is gone through farther.
    const known = Math.min(...pages.map((page) => page.at(-1)?.offset ?? Number.POSITIVE_INFINITY))
    const items = pages
      .flat()
      .filter(({ offset }) => offset <= known)
      .sort((a, b) => a.offset - b.offset)
    return { items, next: items.length === 0 ? null : String(known + 1) }
  }

  async scheduled(channel: string, from: string | null): Promise<Page<CarriedSchedule>> {
    const { backend, registry } = this.#host
    const entry = await registry.current(channel)
    await this.#host.flushed()
    if (registry.find(SCHEDULE) === undefined) return { items: [], next: null }
    const done = settledIn(fold((await backend.readJournal(journalOf(QUEUE_GROUP, SCHEDULE, 0))).entries).records, QUEUE_GROUP, 0)
    const found = await backend.read(SCHEDULE, 0, Math.max(Number(from ?? 0), done?.floor ?? 0), PAGE)
    const items: CarriedSchedule[] = []
    for (const record of found) {
      if (done?.has(record.offset) === true) continue
      const scheduled = scheduledIn(record.event.text)
      if (scheduled !== null && isFor(scheduled, entry)) items.push({ event: scheduled.event, dueAtMs: scheduled.dueAtMs ?? 0 })
    }
    const last = found.at(-1)
    return { items, next: last === undefined ? null : String(last.offset + 1) }
  }

  /** In order within a key; what is stored of a call that fails is not known. */
  async putEvents(channel: string, events: readonly CarriedEvent[]): Promise<void> {
    const entry = await this.#host.registry.current(channel)
    const windowMs = entry.spec.dedupe?.ageMs ?? 0
    const youngerThan = this.#host.nowMs() - windowMs
    // What is in the window still is known by its id from now on; what is older may have its id twice.
    const items = events.map((event) => ({ ...itemOf(event, entry), timeMs: event.timeMs, ...(event.timeMs < youngerThan && { dedupeId: null }) }))
    const appended = await this.#host.append(channel, items)
    const dropped = items.filter((_, at) => appended[at]?.duplicate === true)
    if (dropped.length > 0) {
      await this.#host.append(
        channel,
        dropped.map((item) => ({ ...item, dedupeId: null })),
      )
    }
  }

  async putConsumer(state: CarriedConsumer): Promise<void> {
    const entry = await this.#host.registry.current(state.channel)
    const group = state.consumer ?? QUEUE_GROUP
    const touched = [...state.retries.map(({ offset }) => offset), ...(state.inFlight?.offsets ?? [])]
    const places = new Map<number, number>()
    for (const offset of touched) places.set(offset, await this.#partitionAt(entry, offset))
    await this.#inEach(entry, group, async (ownership, partition) => {
      // Where a partition ends before the channel does, what is still to come into it is not settled.
      const { next } = await this.#host.backend.bounds(state.channel, partition)
      for (const [key] of [...clearedRecords(ownership, group, partition)]) ownership.write(key, null)
      const here = (offset: number): boolean => places.get(offset) === partition
      const { inFlight } = state
      const floor = Math.min(state.floor, next)
      const settled = state.settled.flatMap(([from, to]): [number, number][] => (from < next ? [[from, Math.min(to, next)]] : []))
      const mine =
        inFlight === null
          ? null
          : { ...inFlight, offsets: inFlight.offsets.filter(here), solo: inFlight.solo !== null && here(inFlight.solo) ? inFlight.solo : null }
      const progress = { floor, settled, retries: state.retries.filter(({ offset }) => here(offset)), inFlight: mine }
      for (const [key, value] of progressRecords(group, partition, progress)) ownership.write(key, value)
      for (const worker of state.workers) ownership.write(`w/${worker}`, Buffer.from('{}'))
    })
  }

  async putLetters(channel: string, consumer: string | null, letters: readonly CarriedLetter[]): Promise<void> {
    const entry = await this.#host.registry.current(channel)
    const group = consumer ?? QUEUE_GROUP
    await this.#inEach(entry, group, (ownership, partition) => {
      const mine = letters.filter((letter) => partitionOf(letter, entry.partitions) === partition)
      const shelf = new LetterShelf(this.#host.shelf, ownership, group, channel, partition)
      for (const [key, value] of letterRecords(group, partition, mine)) shelf.write(key, value)
    })
  }

  async #partitionAt({ spec, partitions }: ChannelEntry, offset: number): Promise<number> {
    const [record] = await this.#host.backend.read(spec.name, null, offset, { count: 1, bytes: 1 })
    return record === undefined || record.offset !== offset ? 0 : partitionOf(record.event, partitions)
  }

  /** Change what the journals of a consumer that does not run hold. @throws INVALID_OPTION when it does */
  async #inEach(
    { spec: { name }, partitions }: ChannelEntry,
    group: string,
    change: (ownership: Ownership, partition: number) => Promise<void> | void,
  ): Promise<void> {
    const { backend, own } = this.#host
    const members = await backend.members(group === QUEUE_GROUP ? `${QUEUE_GROUP}/${name}` : group)
    for (let partition = 0; partition < partitions; partition++) {
      const ownership = await Ownership.claim(journalOf(group, name, partition), own, ({ owner, released }) => {
        if (owner === null || released || !members.has(owner)) return true
        const who = group === QUEUE_GROUP ? `queue "${name}"` : `consumer "${group}"`
        throw new MillraceError('INVALID_OPTION', `${who} is being worked on: stop its consumers before it is put elsewhere`, { channel: name })
      })
      if (ownership === null) continue
      await change(ownership, partition)
      await ownership.flushed()
      await ownership.release()
    }
  }
}

/** Settled offsets as ranges that hold none of the open ones. */
function rangesOf(settled: number[], open: number[]): [from: number, to: number][] {
  settled.sort((a, b) => a - b)
  open.sort((a, b) => a - b)
  const ranges: [number, number][] = []
  let at = 0
  for (const offset of settled) {
    while (at < open.length && (open[at] as number) < offset) at++
    const last = ranges.at(-1)
    if (last !== undefined && (at === 0 || (open[at - 1] as number) < last[0])) last[1] = offset + 1
    else ranges.push([offset, offset + 1])
  }
  return ranges
}

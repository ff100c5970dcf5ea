/**
 * Where the state of consumers is on servers: a home for each consumer in each partition of a stream, and a home for
 * each partition of a queue.
 *
 * A home that this engine owns is changed in place. A home that another member owns is taken for a moment, which fences
 * the owner. The owner is told, finds the partition lost, and claims it again. The events that it had in flight are
 * delivered again and have used no attempt.
 */
import { type Clock, pause } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { ConsumerPause } from '../broker/description.ts'
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { Bounds } from '../broker/engine.ts'
import type { Position } from '../broker/position.ts'
import { QUEUE_GROUP, under } from '../delivery/consumer-records.ts'
import type { CarriedHomes, OpenRecords } from '../delivery/consumers/carried-homes.ts'
import type { Elsewhere, HomeState, OpenHome } from '../delivery/consumers/homes.ts'
import type { Instance } from '../delivery/dispatch/instance.ts'
import { ConsumerHomes } from './consumer-homes.ts'
import type { ConsumerIndex } from './consumer-index.ts'
import { fold } from './consumer-log/consumer-log-entry.ts'
import { consumerLogIn } from './consumer-log/consumer-log-name.ts'
import { DeadLetterStore, type DeadLetterStoreHost } from './letters/dead-letter-store.ts'
import { letterChannel, lettersOf } from './letters/letter-pages.ts'
import { type ChannelEntry, Fenced, type LogBackend } from './log-backend.ts'
import { lentFrom } from './ownership/lent-in-flight.ts'
import type { MemberGroup } from './ownership/member-group.ts'
import { type MemberNote, memberNoteIn, ORDERS } from './ownership/member-note.ts'
import { OwnedPartition, type SharedHost } from './ownership/owned-partition.ts'
import { Ownership, type OwnershipHost } from './ownership/ownership.ts'
import { homeOf, type PartitionHome } from './partition-home.ts'
import type { Pauses } from './pauses.ts'
import { partitionOf } from './publish/appending.ts'
import type { PartitionLog } from './read/partition-log.ts'
import { positionIn } from './read/reading.ts'
import type { Registry } from './registry.ts'

const ORDERS_MS = 60_000
const TRIES = 20
/** The longest pause before the second try. Later pauses are longer. */
const AGAIN_MS = 5
const PAGE = { count: 1000, bytes: LIMITS.readAheadBytes }

export interface HomesHost {
  readonly pauses: Pauses
  readonly index: ConsumerIndex
  readonly backend: LogBackend
  readonly clock: Clock
  readonly registry: Registry
  readonly groups: ReadonlyMap<string, MemberGroup>
  readonly instances: ReadonlySet<Instance>
  readonly shared: SharedHost
  readonly own: OwnershipHost
  readonly letterStore: DeadLetterStoreHost
  log(entry: ChannelEntry, partition: number): PartitionLog
  /** @throws CLOSED */
  open(): void
}

export class ExternalLogHomes implements CarriedHomes<PartitionHome> {
  readonly #host: HomesHost
  readonly #consumers: ConsumerHomes
  /** The number of orders given. It makes each order different from the last one. */
  #orders = 0

  constructor(host: HomesHost) {
    this.#host = host
    this.#consumers = new ConsumerHomes(this, host)
  }

  get clock(): Clock {
    return this.#host.clock
  }

  async look(): Promise<void> {
    this.#host.open()
    await Promise.all([this.#host.registry.look(), this.#host.pauses.look()])
  }

  get declared(): readonly string[] {
    return this.#host.registry.names
  }

  async of(consumer: string): Promise<readonly PartitionHome[]> {
    this.#host.open()
    const [homes] = await Promise.all([this.#consumers.of(consumer), this.#host.pauses.look()])
    return homes
  }

  /** The look finds that the consumer has begun in no channel, and drops it from the index. */
  async removed(consumer: string): Promise<void> {
    await this.#consumers.of(consumer)
  }

  /** Returns false: no consumer keeps state on servers. */
  async keepsState(): Promise<boolean> {
    return false
  }

  resetState(): void {}

  async list(): Promise<readonly PartitionHome[]> {
    const entries = new Map(this.#host.registry.shown.map((entry) => [entry.spec.name, entry]))
    const consumerLogs = await this.#host.backend.consumerLogs()
    return consumerLogs.flatMap((consumerLog) => {
      const named = consumerLogIn(consumerLog, (channel) => entries.get(channel))
      return named !== null && (named.group === QUEUE_GROUP) === (named.entry.spec.kind === 'queue')
        ? homeOf(named.group, named.entry, named.partition)
        : []
    })
  }

  #owned({ consumerLog, groupId }: PartitionHome): OwnedPartition | null {
    const owned = this.#host.groups.get(groupId)?.owned.get(consumerLog)
    return owned === undefined || owned.ownership.over ? null : owned
  }

  async read(home: PartitionHome): Promise<HomeState> {
    const { backend } = this.#host
    const { group, logId, channel } = home
    const owned = this.#owned(home)
    const { records, unsent } =
      owned === null ? await this.#folded(home) : { records: owned.ownership.records, unsent: owned.ownership.unsent }
    return {
      records,
      letters: lettersOf(backend, group, channel.name, logId, (key) => records.get(key)),
      cursor: owned?.cursor ?? null,
      workers: group === QUEUE_GROUP ? this.#workers(home, records) : [],
      unsent,
      pending: (from) => backend.pendingFrom(channel.name, logId, from),
      storedAtMs: async (from) =>
        (await backend.read(channel.name, logId, from, { count: 1, bytes: 1 }))[0]?.timeMs ?? null,
    }
  }

  /** The consumers that have worked on this queue, and those that run here and may work on it. */
  #workers({ groupId }: PartitionHome, records: HomeState['records']): string[] {
    const running = [...(this.#host.groups.get(groupId)?.instances ?? [])].map(({ spec }) => spec.name)
    return [...new Set([...records.range(...under('w/')).map(([key]) => key.slice(2)), ...running])].sort()
  }

  async #folded({ consumerLog }: PartitionHome): Promise<Pick<Ownership, 'records' | 'unsent'>> {
    const { records, outbox } = fold((await this.#host.backend.readConsumerLog(consumerLog)).entries)
    return { records, unsent: outbox.length }
  }

  /** What was settled in a partition that is lost has no effect, so there is nothing to wait for. */
  async flushed(home: PartitionHome): Promise<void> {
    await this.#owned(home)
      ?.ownership.flushed()
      .catch(() => undefined)
  }

  async change(home: PartitionHome, change: (open: OpenHome) => Promise<void>): Promise<void> {
    await this.within(home, async ({ cursor, ownership }) => {
      await change({
        cursor,
        flushed: () => ownership.flushed(),
        forgetWorker: (consumer) => ownership.write(`w/${consumer}`, null),
      })
      this.#host.groups.get(home.groupId)?.pump(home.channel.name)
    })
  }

  async remove({ group, channel, consumerLog }: PartitionHome): Promise<void> {
    await this.#host.backend.removeConsumerLog(consumerLog)
    await this.#forgetLetters(group, channel.name)
  }

  /** The channel is removed: delete what consumers have settled in it. */
  async forgetChannel(channel: string): Promise<void> {
    for (const consumerLog of await this.#host.backend.consumerLogs()) {
      const [group = '', of] = consumerLog.split('/')
      if (of !== channel) continue
      await this.#host.backend.removeConsumerLog(consumerLog)
      await this.#forgetLetters(group, channel)
    }
    for (const { id } of this.#host.groups.values()) await this.#order(id)
  }

  async #forgetLetters(group: string, channel: string): Promise<void> {
    const { backend, registry } = this.#host
    const name = letterChannel(group, channel)
    if (registry.find(name) === undefined) return
    registry.forget(name)
    await backend.removeChannel(name)
  }

  seek({ channel, logId }: PartitionHome, position: Position): Promise<number> {
    return positionIn(this.#host.backend, channel.name, logId, position)
  }

  async bounds(channel: string): Promise<Bounds> {
    await this.#host.registry.current(channel)
    return this.#host.backend.bounds(channel, null)
  }

  here(consumer: string): readonly Instance[] {
    return [...this.#host.instances].filter(({ spec }) => spec.name === consumer)
  }

  /** What other members say about a consumer. A member that works in several groups of the consumer says it in each. */
  async elsewhere(consumer: string, homes: readonly PartitionHome[]): Promise<readonly Elsewhere[]> {
    const { backend, own } = this.#host
    const groups = new Set([consumer, ...homes.map(({ groupId }) => groupId)])
    const said = await Promise.all([...groups].map(async (group) => [group, await backend.members(group)] as const))
    const notes = new Map<string, MemberNote>()
    for (const [group, members] of said) {
      for (const [member, text] of members) {
        const note = member === ORDERS || member === own.member ? null : memberNoteIn(text)
        // The members of a queue's group may all run other consumers. Notes of older versions do not name their
        // consumers.
        if (note !== null && (group === consumer || Object.hasOwn(note.shapes ?? {}, consumer))) notes.set(member, note)
      }
    }
    return [...notes.values()]
  }

  pauseOf(consumer: string): ConsumerPause | null {
    return this.#host.pauses.of(consumer)
  }

  get paused(): readonly string[] {
    return this.#host.pauses.names
  }

  /** Tell the members. They read the pauses at their next look. */
  async setPause(consumer: string, to: ConsumerPause | null, homes: readonly PartitionHome[]): Promise<void> {
    await this.#host.pauses.set(consumer, to)
    await Promise.all([...new Set(homes.map(({ groupId }) => groupId))].map((groupId) => this.#order(groupId)))
  }

  async logs(channel: string, group: string): Promise<readonly PartitionHome[]> {
    const entry = await this.#host.registry.current(channel)
    return Array.from({ length: entry.partitions }, (_, partition) => homeOf(group, entry, partition))
  }

  logOf(channel: string, event: EncodedEvent): number {
    return partitionOf(event, this.#host.registry.known(channel).partitions)
  }

  async logAt(channel: string, offset: number): Promise<number> {
    const [record] = await this.#host.backend.read(channel, null, offset, { count: 1, bytes: 1 })
    return record === undefined || record.offset !== offset ? 0 : this.logOf(channel, record.event)
  }

  async endOf({ channel, logId }: PartitionHome): Promise<number> {
    return (await this.#host.backend.bounds(channel.name, logId)).next
  }

  async *offsets({ channel, logId }: PartitionHome, from: number): AsyncGenerator<number> {
    for (let at = from; ; ) {
      const found = await this.#host.backend.read(channel.name, logId, at, PAGE)
      for (const { offset } of found) yield offset
      const last = found.at(-1)
      if (last === undefined) return
      at = last.offset + 1
    }
  }

  async put(
    { consumerLog, groupId, group, channel, logId }: PartitionHome,
    consumers: readonly string[],
    change: (open: OpenRecords) => void,
  ): Promise<boolean> {
    const { backend, own, index } = this.#host
    await index.add(consumers.map((consumer) => [consumer, channel.name]))
    const members = await backend.members(groupId)
    const ownership = await Ownership.claim(
      consumerLog,
      own,
      ({ owner, released }) => owner === null || released || !members.has(owner),
    )
    if (ownership === null) return false
    const letterStore = new DeadLetterStore(this.#host.letterStore, ownership, group, channel.name, logId)
    change({
      records: ownership.records,
      write: (key, value) => letterStore.write(key, value),
      addWorker: (consumer) => ownership.write(`w/${consumer}`, Buffer.from('{}')),
    })
    await ownership.flushed()
    await ownership.release()
    return true
  }

  /** Change a partition, as its owner or as a member that takes it for a moment. */
  async within(home: PartitionHome, change: (owned: OwnedPartition) => Promise<void>): Promise<void> {
    const fenced = new Set<string>()
    try {
      for (let tries = 1; ; tries++) {
        try {
          const owned = this.#owned(home)
          if (owned !== null) await change(owned)
          else await this.#borrow(home, change, fenced)
          return
        } catch (error) {
          if (!(error instanceof Fenced)) throw error
          if (tries === TRIES) throw contended(home)
          // Other processes may try the same. The random pause lets one of them go first.
          await pause(this.#host.clock, Math.random() * AGAIN_MS * tries)
        }
      }
    } finally {
      // Also when the change failed: an owner that was fenced on the way does not know it yet.
      if (fenced.size > 0) await this.#order(home.groupId)
    }
  }

  /** Adds the owner from whom the partition was taken to `fenced`. */
  async #borrow(
    { consumerLog, group, groupId, entry, logId }: PartitionHome,
    change: (owned: OwnedPartition) => Promise<void>,
    fenced: Set<string>,
  ): Promise<void> {
    const { backend, own, shared, letterStore } = this.#host
    const members = await backend.members(groupId)
    const ownership = await Ownership.claim(
      consumerLog,
      own,
      () => true,
      ({ owner, released, records }) => {
        if (owner === null || released) return []
        if (members.has(owner)) fenced.add(owner)
        return lentFrom(owner, records, group, logId)
      },
    )
    if (ownership === null) return
    const log = this.#host.log(entry, logId)
    const begin = (): Promise<number> => positionIn(backend, entry.spec.name, logId, { at: 'beginning' })
    const owned = await OwnedPartition.begin(group, ownership, log, shared, letterStore, begin, () => undefined)
    try {
      await change(owned)
    } finally {
      await owned.release()
    }
  }

  /** Order a group's members to check whether their partitions are still theirs. */
  async #order(groupId: string): Promise<void> {
    await this.#host.backend.beat(groupId, ORDERS, `${this.#host.own.member}/${++this.#orders}`, ORDERS_MS)
    await this.#host.groups.get(groupId)?.tick()
  }
}

function contended({ channel: { name } }: PartitionHome): MillraceError {
  return new MillraceError(
    'UNAVAILABLE',
    `other processes took channel "${name}" each time before the change was stored: try again`,
    { channel: name },
  )
}

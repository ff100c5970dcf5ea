/**
 * This process as a member: it claims partitions for the groups in which its instances work, follows the logs of these
 * partitions, and deletes what queue workers have settled in them.
 *
 * It does not decide which partitions it should have (`member-group.ts`), and it gives no events to instances
 * (`delivery`).
 */
import type { Clock } from '../../base/clock.ts'
import { DueQueue } from '../../base/due-queue.ts'
import type { LastingFailures } from '../../base/lasting-failures.ts'
import type { Emission } from '../../broker/engine.ts'
import { SuspectQueue } from '../../delivery/cursor/suspect-queue.ts'
import type { DeadLetterStoreHost } from '../letters/dead-letter-store.ts'
import { type ChannelEntry, Fenced, type LogBackend } from '../log-backend.ts'
import { sendOn } from '../publish/emitting.ts'
import type { FollowedLogs } from '../read/followed-logs.ts'
import { PartitionLog } from '../read/partition-log.ts'
import { positionIn } from '../read/reading.ts'
import { settleLent } from './lent-in-flight.ts'
import type { MemberGroup, MemberGroupHost } from './member-group.ts'
import { MemberGroups } from './member-groups.ts'
import { OwnedPartition, type SharedHost } from './owned-partition.ts'
import { lazyCommits, Ownership, type OwnershipHost } from './ownership.ts'

/** The record that names the channel of a consumer log by its incarnation. */
const INCARNATION = 'i/channel'
/** Delay between a queue's floor moving and the deletion of the events below it. */
const TRIM_MS = 200

export interface PartitionOwnerHost
  extends Pick<
    MemberGroupHost,
    'backend' | 'member' | 'clock' | 'entries' | 'pauses' | 'index' | 'alarm' | 'compare' | 'notice'
  > {
  readonly logs: FollowedLogs
  readonly letterStore: DeadLetterStoreHost
  /** Failures to delete the events that a queue's workers have settled. */
  readonly failures: LastingFailures
  /** Whether the engine is closing: partitions that are lost then are not claimed again. */
  isClosing(): boolean
  /** Store emissions in one channel, in order. Emissions whose ids are known are not stored again. */
  store(channel: string, emissions: readonly Emission[]): Promise<void>
}

export class PartitionOwner {
  readonly groups: MemberGroups
  readonly shared: SharedHost
  /** For a partition that is owned for a moment, outside of any group. */
  readonly own: OwnershipHost
  readonly letterStore: DeadLetterStoreHost
  readonly #host: PartitionOwnerHost
  readonly #lazily: OwnershipHost['lazily']
  readonly #due: DueQueue
  readonly #suspects: SuspectQueue
  readonly #byCursor = new Map<object, OwnedPartition>()
  readonly #closed = new AbortController()

  constructor(host: PartitionOwnerHost) {
    const { clock, alarm } = host
    this.#host = host
    this.letterStore = host.letterStore
    this.#lazily = lazyCommits(clock)
    this.#due = new DueQueue(clock)
    this.#suspects = new SuspectQueue(
      (cursor) => this.ownedBy(cursor)?.ownership.flushed() ?? Promise.reject(new Fenced('')),
      clock,
    )
    this.groups = new MemberGroups({
      ...host,
      take: (group, entry, partition, mayClaim) => this.#take(group, entry, partition, mayClaim),
    })
    this.own = this.#ownershipHost(null)
    this.shared = {
      nowMs: () => clock.now(),
      elapsedMs: () => clock.elapsed(),
      after: (delayMs, task, kind) => clock.after(delayMs, task, kind),
      at: (dueMs, task) => this.#due.add(dueMs, task),
      alone: (cursor, offset) => this.#suspects.add(cursor, offset),
      aloneDone: (cursor, offset) => this.#suspects.done(cursor, offset),
      alarm,
    }
  }

  /** The partition that a cursor works on, while this process owns it. */
  ownedBy(cursor: object): OwnedPartition | undefined {
    return this.#byCursor.get(cursor)
  }

  /** The log of a partition, not followed. */
  log(entry: ChannelEntry, partition: number): PartitionLog {
    const { backend, clock } = this.#host
    return new PartitionLog(backend, entry.spec, partition, () => clock.now())
  }

  async #take(
    group: MemberGroup,
    entry: ChannelEntry,
    partition: number,
    mayClaim: Parameters<MemberGroupHost['take']>[3],
  ): Promise<OwnedPartition | null> {
    const { backend, clock, logs, letterStore, failures } = this.#host
    const { name, kind } = entry.spec
    const ownership = await Ownership.claim(group.consumerLog(name, partition), this.#ownershipHost(group), mayClaim)
    if (ownership === null) return null
    beginAnew(ownership, entry)
    settleLent(ownership, group.name, partition, (member) => group.lives(member))
    const log = this.log(entry, partition)
    await logs.follow(name, log)
    const owned = await OwnedPartition.begin(
      group.name,
      ownership,
      log,
      { ...this.shared, blockade: group.blocked.of(name) },
      letterStore,
      () => positionIn(backend, name, partition, this.groups.beginOf(group, name)),
      (gone) => this.#gone(group, gone),
    )
    this.#byCursor.set(owned.cursor, owned)
    owned.noteWorkers(group.instances)
    if (kind === 'queue') await group.index(owned.workers, entry)
    if (kind === 'queue') trimBehind(owned, backend, clock, failures)
    return owned
  }

  /**
   * The host of one `Ownership`. When a partition of a group is lost, its `OwnedPartition` ends, and the group claims
   * again unless the engine is closing.
   */
  #ownershipHost(group: MemberGroup | null): OwnershipHost {
    const { backend, member, clock, store, alarm } = this.#host
    return {
      ...{ backend, member, clock, lazily: this.#lazily, alarm },
      send: (emissions) => sendOn(emissions, { closed: this.#closed.signal, clock, store, alarm }),
      lost: (ownership) => {
        if (group === null) return
        const owned = [...group.owned.values()].find((each) => each.ownership === ownership)
        owned?.lost()
        if (!this.#host.isClosing()) group.claimAgain()
      },
    }
  }

  #gone(group: MemberGroup, owned: OwnedPartition): void {
    if (group.owned.get(owned.consumerLog) === owned) group.owned.delete(owned.consumerLog)
    this.#byCursor.delete(owned.cursor)
    this.#suspects.forget(owned.cursor)
    group.blocked.of(owned.channel).set(owned.cursor.box, 0)
    this.#host.logs.leave(owned.channel, owned.log)
  }

  async close(): Promise<void> {
    await this.groups.close()
    this.#closed.abort()
    this.#due.close()
  }
}

/**
 * A consumer log of a channel that was removed and created again holds nothing of the new channel: its records are
 * deleted.
 */
function beginAnew(ownership: Ownership, { incarnation }: ChannelEntry): void {
  const written = ownership.get(INCARNATION)
  const now = JSON.stringify({ incarnation })
  if (written !== undefined && Buffer.from(written).toString() === now) return
  if (written !== undefined) for (const [key] of ownership.range('', '\uffff')) ownership.write(key, null)
  ownership.write(INCARNATION, Buffer.from(now))
}

/** Delete events of a queue's partition as its floor moves. */
function trimBehind(owned: OwnedPartition, backend: LogBackend, clock: Clock, failures: LastingFailures): void {
  const of = `channel "${owned.channel}"`
  let trimmed = owned.cursor.done.floor
  let armed = false
  const trimSoon = (): void => {
    if (armed) return
    armed = true
    clock.after(TRIM_MS, () => {
      armed = false
      const { floor } = owned.cursor.done
      if (floor <= trimmed || owned.ownership.over) return
      const before = trimmed
      trimmed = floor
      // The floor is durable first: the next owner must not begin below what is deleted.
      owned.ownership
        .flushed()
        .then(() => backend.trim(owned.channel, owned.partition, floor))
        .then(
          () => failures.succeeded(of),
          (error: unknown) => {
            if (owned.ownership.over) return
            failures.failed(of, error)
            trimmed = before
            trimSoon()
          },
        )
    })
  }
  owned.cursor.state.onFloorMoved(trimSoon)
}

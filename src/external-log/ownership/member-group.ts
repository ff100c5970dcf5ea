/**
 * A consumer's instances in this engine, and the partitions that they work on: which of them this member owns, as all
 * members of the group see it.
 *
 * Every member sends heartbeats that name the channels it takes. From the members that live, each member computes which
 * one should own each stripe (`stripesOf`). It gives back the partitions of other members' stripes when no event of
 * the stripe is in flight. It claims the partitions of its own stripes when their owner has released them or is dead.
 * The conditional append to the consumer log decides which member owns a partition, so a wrong view does no harm.
 *
 * This is where a member's own lease ends: a member whose heartbeat was not accepted for its lease gives up its
 * partitions (`#giveUp`). When the other members take it for dead is decided in `living-members.ts`. The lease of an
 * instance within this process is watched in `delivery/dispatch/lease-watch.ts`.
 *
 * Invariant: a partition begins to deliver events at a moment at which this member owns all partitions of its stripe.
 * It ends when it is released or lost. Of two members that have partitions with the same keys, the one that began later
 * owned the other's partition at that moment, so the other one had stopped before.
 */
import { type Clock, every } from '../../base/clock.ts'
import { compileWildcard, isWildcard } from '../../base/names.ts'
import type { LogFields } from '../../broker/logger.ts'
import { type Shape, shapeIn } from '../../delivery/dispatch/agreement.ts'
import type { Instance } from '../../delivery/dispatch/instance.ts'
import type { ConsumerIndex } from '../consumer-index.ts'
import type { ConsumerLogState } from '../consumer-log/consumer-log-entry.ts'
import { consumerLogOf } from '../consumer-log/consumer-log-name.ts'
import { type ChannelEntry, Fenced, type LogBackend } from '../log-backend.ts'
import type { Pauses } from '../pauses.ts'
import { BlockedChannels } from './blocked-channels.ts'
import { IndexEntries } from './index-entries.ts'
import { lentBy } from './lent-in-flight.ts'
import { LivingMembers } from './living-members.ts'
import type { MemberNote } from './member-note.ts'
import type { OwnedPartition } from './owned-partition.ts'
import { type Stripe, type StripePart, stripesOf } from './stripes.ts'
import { VersionsMet, versionsOf } from './versions-met.ts'

export interface MemberGroupHost {
  readonly backend: LogBackend
  readonly member: string
  readonly clock: Clock
  /** The channels that exist. */
  entries(): readonly ChannelEntry[]
  /** Claim a partition and begin to work on it. Null if a member that may live owns it. @throws Fenced */
  take(
    group: MemberGroup,
    entry: ChannelEntry,
    partition: number,
    mayClaim: (state: ConsumerLogState) => boolean,
  ): Promise<OwnedPartition | null>
  /** The consumers that are paused in all processes. */
  readonly pauses: Pauses
  readonly index: ConsumerIndex
  alarm(error: unknown): void
  /** Compares the instances of a consumer that live. */
  compare(consumer: string, shapes: readonly Shape[], group: string): void
  /** Told of partitions that were taken over from members that are gone. */
  notice(message: string, fields: LogFields): void
}

const TICK_MS_MAX = 1000
/**
 * A member whose heartbeat was not accepted for max(lease, this) gives up its partitions; others may own them already.
 */
const UNHEARD_MS_MIN = 1000

export class MemberGroup {
  /** The name under which the members' notes are stored. */
  readonly id: string
  /**
   * The name of the consumer, or the name that the workers of queues share. Consumer logs and records begin with it.
   */
  readonly name: string
  readonly instances: Set<Instance> = new Set()
  readonly owned: Map<string, OwnedPartition> = new Map()
  readonly blocked: BlockedChannels = new BlockedChannels((channel) => this.pump(channel))
  readonly #queue: string | null
  readonly #host: MemberGroupHost
  readonly #members: LivingMembers
  readonly #index: IndexEntries
  /** The notes of the other members that live, at the last look. */
  #others: readonly MemberNote[] = []
  readonly #versionsMet = new VersionsMet()
  #beat = 0
  #member = false
  #ticking: Promise<void> = Promise.resolve()
  #cancelTick: (() => void) | null = null
  #closed = false
  /** The consumers whose instances were compared at the last look. */
  #compared: ReadonlySet<string> = new Set()
  /** Partitions that this look has taken over from members that are gone. */
  readonly #inherited: string[] = []
  /** When the last heartbeat that was accepted was written. */
  #heardMs = 0
  #endWatch: (() => void) | null = null

  /** `queue`: the channel of a group of queue workers; null for a consumer's group, which takes streams. */
  constructor(id: string, name: string, queue: string | null, host: MemberGroupHost) {
    this.id = id
    this.name = name
    this.#queue = queue
    this.#host = host
    this.#members = new LivingMembers(id, host)
    this.#index = new IndexEntries(host.index)
  }

  /** The reason for which a channel was stopped may be over. */
  pump(channel: string): void {
    for (const owned of this.owned.values()) if (owned.channel === channel) owned.cursor.pumpSoon()
  }

  /** Whether a member lives; null if that is not known yet. */
  lives(member: string): boolean | null {
    return this.#members.lives(member)
  }

  consumerLog(channel: string, partition: number): string {
    return consumerLogOf(this.name, channel, partition)
  }

  /** Whether members with these channels and wildcards work on a channel in this group. */
  takes(channel: string, patterns: readonly string[] = this.#channels()): boolean {
    if (this.#queue !== null && this.#queue !== channel) return false
    return patterns.some((pattern) =>
      isWildcard(pattern) ? !channel.startsWith('~') && compileWildcard(pattern)(channel) : pattern === channel,
    )
  }

  #channels(): string[] {
    return [...new Set([...this.instances].flatMap((instance) => instance.spec.channels))]
  }

  get #leaseMs(): number {
    return Math.min(...[...this.instances].map((instance) => instance.spec.leaseMs), 30_000)
  }

  /** Look at the members, and claim or give back partitions accordingly. One look at a time. */
  tick(): Promise<void> {
    this.#ticking = this.#ticking
      .then(() => this.#tick())
      .catch((error: unknown) => this.#host.alarm(error))
      // Also after a look that failed: the next one may succeed.
      .then(() => this.#arm())
    return this.#ticking
  }

  #arm(): void {
    if (this.#cancelTick !== null || this.#closed || this.instances.size === 0) return
    const tick = (): void => {
      this.#cancelTick = null
      void this.tick()
    }
    this.#cancelTick = this.#host.clock.after(Math.max(20, Math.min(TICK_MS_MAX, this.#leaseMs / 4)), tick, 'beat')
  }

  async #tick(): Promise<void> {
    if (this.#closed) return
    for (const instance of this.instances) instance.suspend(this.#host.pauses.of(instance.spec.name) !== null)
    const working = this.#isWorking()
    if (this.instances.size > 0) {
      await this.#say(working)
      await this.#index.write(this.#takesPart())
    }
    const { alive, ordered } = await this.#members.look()
    if (ordered) await Promise.all([this.#verify(), this.#host.pauses.look()])
    this.#others = [...alive].filter(([member]) => member !== this.#host.member).map(([, note]) => note)
    this.#forgetLost()
    this.blocked.elsewhere(
      new Set([...alive].flatMap(([member, { blocked }]) => (this.#members.isMe(member) ? [] : blocked))),
    )
    this.#compare(alive)
    await this.#share(alive, working)
  }

  /** Whether this member takes events: an instance does, and no other member has to take them for their version. */
  #isWorking(): boolean {
    if (![...this.instances].some((instance) => !instance.idle && !instance.lapsed && !instance.closing)) return false
    for (const { cursor } of this.owned.values())
      if (cursor.state.versions.size > 0) this.#versionsMet.add(cursor.state.versions.needs)
    return !this.#versionsMet.isBehind(this.instances, this.#others)
  }

  async #say(working: boolean): Promise<void> {
    const instances = [...this.instances]
    const note: MemberNote = {
      beat: ++this.#beat,
      leaseMs: this.#leaseMs,
      channels: this.#channels(),
      idle: !working,
      instances: instances.length,
      inFlight: instances.reduce((sum, instance) => sum + instance.held.size, 0),
      paused: instances.every((instance) => instance.idle),
      blocked: this.blocked.here,
      shapes: Object.fromEntries(instances.map(({ spec, shape }) => [spec.name, shape])),
      versions: versionsOf(instances),
      lanes: true,
      counted: instances.map(({ spec, tally }) => ({ consumer: spec.name, ...tally.counts })),
      rate: [...this.owned.values()].reduce(
        (sum, { cursor }) => sum + cursor.progress.meter.rate(this.#host.clock.elapsed()),
        0,
      ),
    }
    this.#member = true
    this.#endWatch ??= every(this.#host.clock, UNHEARD_MS_MIN / 4, () => this.#giveUp())
    const saidMs = this.#host.clock.elapsed()
    if (this.#heardMs === 0) this.#heardMs = saidMs
    if (this.#isUnheard(saidMs)) this.#index.forget()
    await this.#host.backend.beat(this.id, this.#host.member, JSON.stringify(note), Math.max(10_000, note.leaseMs * 4))
    this.#heardMs = saidMs
  }

  /**
   * No heartbeat was accepted for a lease. Others may have this member's events in flight too. So it gives up its
   * partitions, and claims none until a heartbeat is accepted again.
   */
  #giveUp(): void {
    if (!this.#isUnheard(this.#host.clock.elapsed())) return
    for (const owned of [...this.owned.values()]) {
      owned.ownership.abandon()
      owned.lost()
    }
  }

  #isUnheard(nowMs: number): boolean {
    return nowMs - this.#heardMs > Math.max(this.#leaseMs, UNHEARD_MS_MIN)
  }

  /** The consumers that run here, each with the channels of this group that it takes. */
  #takesPart(): readonly (readonly [consumer: string, entry: ChannelEntry])[] {
    const entries = this.#host.entries().filter(({ spec }) => this.#isOfGroup(spec))
    return [...this.instances].flatMap(({ spec }) =>
      entries.filter((entry) => this.takes(entry.spec.name, spec.channels)).map((entry) => [spec.name, entry] as const),
    )
  }

  #isOfGroup({ kind }: ChannelEntry['spec']): boolean {
    return (kind === 'queue') === (this.#queue !== null)
  }

  /** Write to the index of consumers that these consumers have worked on a queue. A version without it may not have. */
  index(workers: readonly string[], queue: ChannelEntry): Promise<void> {
    return this.#index.write(workers.map((worker) => [worker, queue]))
  }

  /** A partition was lost. What this member wrote to the index of consumers may be lost, too. */
  claimAgain(): void {
    this.#index.forget()
    void this.tick()
  }

  /** Compare the instances of a consumer, here and elsewhere: they should be alike. */
  #compare(alive: ReadonlyMap<string, MemberNote>): void {
    const others = [...alive].filter(([member]) => !this.#members.isMe(member)).map(([, { shapes }]) => shapes ?? {})
    const here = new Set([...this.instances].map(({ spec }) => spec.name))
    // A process without an instance of the consumer leaves the comparison to others.
    for (const consumer of this.#compared) if (!here.has(consumer)) this.#host.compare(consumer, [], this.id)
    this.#compared = here
    for (const consumer of here) {
      const own = [...this.instances].filter(({ spec }) => spec.name === consumer).map(({ shape }) => shape)
      const theirs = others.flatMap((shapes) =>
        Object.hasOwn(shapes, consumer) ? (shapeIn(shapes[consumer]) ?? []) : [],
      )
      this.#host.compare(consumer, [...own, ...theirs], this.id)
    }
  }

  /**
   * Another process has changed a partition of this member. A partition whose consumer log says so is lost, and is
   * claimed again.
   */
  async #verify(): Promise<void> {
    await Promise.all([...this.owned.values()].map(({ ownership }) => ownership.verify().catch(() => undefined)))
  }

  #forgetLost(): void {
    for (const [consumerLog, each] of this.owned) if (each.ownership.over) this.owned.delete(consumerLog)
  }

  async #share(alive: ReadonlyMap<string, MemberNote>, working: boolean): Promise<void> {
    const entries = this.#host.entries().filter(({ spec }) => this.#isOfGroup(spec))
    const members = [...alive].filter(([, { idle }]) => !idle)
    const stripeMembers = members.map(([name, { channels, lanes }]) => ({
      name,
      takes: (channel: string) => this.takes(channel, channels),
      stripes: lanes === true,
    }))
    const turns: Promise<void>[] = []
    const wanted = new Set<string>()
    for (const stripe of stripesOf(this.name, entries, stripeMembers)) {
      const parts = stripe.parts.filter(({ entry }) => this.takes(entry.spec.name))
      for (const { consumerLog } of parts) wanted.add(consumerLog)
      const mine = working && stripe.owner === this.#host.member && parts.length === stripe.parts.length
      turns.push(mine ? this.#work(parts, alive) : this.#leaveTo(parts, alive))
    }
    for (const [consumerLog, owned] of this.owned) if (!wanted.has(consumerLog)) this.#giveBack([owned])
    await Promise.all(turns)
    this.#tellOfInherited()
  }

  #tellOfInherited(): void {
    const partitions = this.#inherited.splice(0)
    if (partitions.length === 0) return
    const message = 'a member of the consumer has ended: this process has taken over its partitions'
    this.#host.notice(message, {
      consumer: this.id,
      partitions: partitions.length,
      some: partitions.slice(0, 10).join(','),
    })
  }

  /** Work on a stripe of this member. Its partitions begin when this member owns all of them. */
  async #work(parts: Stripe['parts'], alive: ReadonlyMap<string, MemberNote>): Promise<void> {
    await Promise.all(
      parts.filter(({ consumerLog }) => !this.owned.has(consumerLog)).map((part) => this.#claim(part, alive, true)),
    )
    const owned = parts.flatMap(({ consumerLog }) => this.owned.get(consumerLog) ?? [])
    const whole = owned.length === parts.length && (owned.every(({ begun }) => begun) || (await areOurs(owned)))
    for (const each of owned) if (whole || each.begun) each.keep(this.instances)
  }

  /** The stripe belongs to another member. */
  async #leaveTo(parts: Stripe['parts'], alive: ReadonlyMap<string, MemberNote>): Promise<void> {
    this.#giveBack(parts.flatMap(({ consumerLog }) => this.owned.get(consumerLog) ?? []))
    if (this.instances.size > 0)
      await Promise.all(
        parts.filter(({ consumerLog }) => !this.owned.has(consumerLog)).map((part) => this.#claim(part, alive, false)),
      )
  }

  async #claim({ entry, partition }: StripePart, alive: ReadonlyMap<string, MemberNote>, mine: boolean): Promise<void> {
    // Whichever member comes first writes where the consumer begins, also in a partition of another member. A partition
    // that this member owns by its consumer log, and could not give back, is given back now.
    let gone: string | null = null
    const mayClaim = ({ owner, released, records }: ConsumerLogState): boolean => {
      gone = owner === null || released || owner === this.#host.member ? null : owner
      if (!mine) return owner === null || (owner === this.#host.member && !released)
      const lender = lentBy(records, this.name, partition)
      if (lender !== null && this.lives(lender) === null) return false
      return gone === null || !alive.has(gone)
    }
    try {
      const owned = await this.#host.take(this, entry, partition, mayClaim)
      if (owned === null) return
      if (gone !== null) this.#inherited.push(`${entry.spec.name}/${partition}`)
      this.owned.set(owned.consumerLog, owned)
      if (!mine) await owned.release()
    } catch (error) {
      if (!(error instanceof Fenced)) throw error
    }
  }

  /** Give back partitions together: no other member gets one of them while an event of the stripe is in flight. */
  #giveBack(stripe: readonly OwnedPartition[]): void {
    for (const owned of stripe)
      void owned
        .release(stripe)
        .catch((error: unknown) => (error instanceof Fenced ? undefined : this.#host.alarm(error)))
  }

  /** An instance is gone. With the last one, all partitions are given back and the other members are told. */
  async leave(instance: Instance): Promise<void> {
    this.instances.delete(instance)
    if (this.instances.size === 0) await this.#end()
    else await this.tick()
  }

  /**
   * End the membership after all looks that were asked for. An instance that joins meanwhile has its first look after
   * this. So looks and endings are a queue, and not `OneAtATime`.
   */
  #end(): Promise<void> {
    const ending = this.#ticking.then(() =>
      this.instances.size === 0 || this.#closed ? this.#giveAllBack() : undefined,
    )
    this.#ticking = ending.catch(() => undefined)
    return ending
  }

  async #giveAllBack(): Promise<void> {
    await Promise.all([...this.owned.values()].map((owned) => owned.release().catch(() => undefined)))
    this.owned.clear()
    if (this.#member) await this.#host.backend.leave(this.id, this.#host.member).catch(() => undefined)
    this.#member = false
    this.#compare(new Map())
    this.#endWatch?.()
    this.#endWatch = null
    this.#heardMs = 0
    this.#index.forget()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTick?.()
    await this.#end()
  }
}

/**
 * Whether this member owns partitions that it claimed one after another at one moment: now, or when it claimed the last
 * one.
 */
async function areOurs(owned: readonly OwnedPartition[]): Promise<boolean> {
  // The claim of a single partition proves it.
  if (owned.length > 1) await Promise.all(owned.map(({ ownership }) => ownership.verify().catch(() => undefined)))
  return owned.every(({ ending }) => !ending)
}

/**
 * An engine over somebody else's broker: the whole contract from a log with a conditional write (log-backend.ts).
 *
 * It joins the parts: the registry of channels, appending, the groups of this process's consumers with the partitions they own, the scheduler of delayed
 * events, reading and describing. It decides nothing about deliveries: that is the room `delivery`, and who owns what is the consumer logs'.
 */

import { randomUUID } from 'node:crypto'
import { type Clock, systemClock } from '../base/clock.ts'
import { DueQueue } from '../base/due-queue.ts'
import { MillraceError } from '../base/errors.ts'
import { LastingFailures } from '../base/lasting-failures.ts'
import { isWildcard } from '../base/names.ts'
import { AlarmList } from '../broker/alarm-list.ts'
import type { Capabilities } from '../broker/capabilities.ts'
import type { Carriage } from '../broker/carriage.ts'
import type { Consumers } from '../broker/consumers.ts'
import type { BrokerDescription } from '../broker/description.ts'
import type {
  Bounds,
  ConsumerSpec,
  DeliverySink,
  EncodedEvent,
  Engine,
  EngineReadOptions,
  Receipt,
  StoredText,
  Subscription,
} from '../broker/engine.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { describeConsumers } from '../delivery/consumers/describing.ts'
import { Interventions } from '../delivery/consumers/interventions.ts'
import { SuspectQueue } from '../delivery/cursor/suspect-queue.ts'
import { Agreement } from '../delivery/dispatch/agreement.ts'
import { KeyTables } from '../delivery/dispatch/consumer-keys.ts'
import { Instance, type InstanceHost } from '../delivery/dispatch/instance.ts'
import { LeaseWatch } from '../delivery/dispatch/lease-watch.ts'
import { LASTING_TIMES } from './backend-alarms.ts'
import { ExternalLogCarriage } from './carrying.ts'
import { ExternalLogDelays } from './delay/cancelling.ts'
import type { DelayingHost } from './delay/delaying.ts'
import { SCHEDULE } from './delay/scheduler.ts'
import { describeChannels } from './describing.ts'
import type { ExternalLogEngineOptions } from './external-log-options.ts'
import { ExternalLogHomes } from './homes.ts'
import { type ShelfHost, shelfHost } from './letters/letter-shelf.ts'
import { type ChannelEntry, Fenced, type LogBackend } from './log-backend.ts'
import type { Group, GroupHost } from './ownership/group.ts'
import { Groups } from './ownership/groups.ts'
import { settleLent } from './ownership/lent-in-flight.ts'
import { OwnedPartition, type SharedHost } from './ownership/owned-partition.ts'
import { lazyCommits, Ownership, type OwnershipHost } from './ownership/ownership.ts'
import { trimBehind } from './ownership/trimming.ts'
import { Pauses } from './pauses.ts'
import { Appenders } from './publish/appending.ts'
import { checkEmissions, sendOn } from './publish/emitting.ts'
import { Publishing } from './publish/publishing.ts'
import { FollowedLogs } from './read/followed-logs.ts'
import { PartitionLog } from './read/partition-log.ts'
import { positionIn, readChannel } from './read/reading.ts'
import { Registry } from './registry.ts'

const PARTITIONS_DEFAULT = 16
/** The record of a consumer log that says which channel of the name it is of. */
const INCARNATION = 'i/channel'

export class ExternalLogEngine implements Engine {
  readonly name: string
  readonly capabilities: Capabilities
  readonly clock: Clock
  readonly carriage: Carriage
  readonly consumers: Consumers
  readonly delays: Engine['delays']
  readonly #backend: LogBackend
  readonly #member: string
  readonly #registry: Registry
  readonly #appenders: Appenders
  readonly #groups: Groups
  readonly #instances = new Set<Instance>()
  readonly #logs: FollowedLogs
  readonly alarms: AlarmList
  readonly #agreement: Agreement
  readonly #failures = new LastingFailures(LASTING_TIMES, {
    raise: (message) => this.#raise('RETENTION_FAILED', message),
    end: () => this.alarms.end('RETENTION_FAILED'),
  })
  readonly #due: DueQueue
  readonly #pauses: Pauses
  readonly #suspects: SuspectQueue
  readonly #leases: LeaseWatch
  readonly #shared: SharedHost
  readonly #groupHost: GroupHost
  readonly #shelf: ShelfHost
  readonly #instanceHost: InstanceHost
  readonly #publishing: Publishing
  readonly #homes: ExternalLogHomes
  readonly #lazily: OwnershipHost['lazily']
  readonly #closed = new AbortController()
  #endLook: () => void = () => undefined
  #closing: Promise<void> | null = null

  private constructor(options: ExternalLogEngineOptions) {
    this.#backend = options.backend
    this.name = options.backend.name
    this.#member = options.member ?? randomUUID()
    this.capabilities = options.backend.capabilities
    this.clock = options.clock ?? systemClock
    this.alarms = new AlarmList(() => this.clock.now(), options.onAlarm)
    this.#agreement = new Agreement(this.alarms)
    this.#due = new DueQueue(this.clock)
    this.#pauses = new Pauses(this.#backend)
    this.#suspects = new SuspectQueue(
      (cursor) => this.#groups.ownedBy(cursor)?.ownership.flushed() ?? Promise.reject(new Fenced('')),
      this.clock,
    )
    this.#leases = new LeaseWatch(this.clock, this.#instances)
    this.#registry = new Registry(this.#backend, this.clock, options.partitions ?? PARTITIONS_DEFAULT, (added, gone) =>
      this.#channelsChanged(added, gone),
    )
    this.#shared = {
      nowMs: () => this.clock.now(),
      elapsedMs: () => this.clock.elapsed(),
      after: (delayMs, task, kind) => this.clock.after(delayMs, task, kind),
      at: (dueMs, task) => this.#due.add(dueMs, task),
      alone: (cursor, offset) => this.#suspects.add(cursor, offset),
      aloneDone: (cursor, offset) => this.#suspects.done(cursor, offset),
      alarm: (error) => this.#alarm(error),
    }
    this.#groupHost = {
      ...{ backend: this.#backend, member: this.#member, clock: this.clock },
      entries: () => this.#registry.all,
      pauses: this.#pauses,
      take: (group, entry, partition, mayClaim) => this.#take(group, entry, partition, mayClaim),
      alarm: (error) => this.#alarm(error),
      compare: (consumer, shapes, group) => this.#agreement.check(consumer, shapes, group),
      notice: options.notice ?? (() => undefined),
    }
    this.#groups = new Groups(this.#groupHost)
    this.#logs = new FollowedLogs(this.#backend, (error) => this.#alarm(error))
    this.#instanceHost = this.#makeInstanceHost()
    this.#lazily = lazyCommits(this.clock)
    const own = this.#ownershipHost(null)
    const nowMs = (): number => this.clock.now()
    this.#appenders = new Appenders({
      ...{ backend: this.#backend, clock: this.clock },
      appended: (channel, partition, next, tail) => this.#logs.advance(channel, partition, next, tail),
      unknown: (channel) => this.#registry.forget(channel),
    })
    const subscribe: DelayingHost['subscribe'] = (spec, sink) => this.#subscribe(spec, sink)
    this.#publishing = new Publishing({
      ...{ backend: this.#backend, registry: this.#registry, appenders: this.#appenders, clock: this.clock, subscribe },
      alarm: (error) => this.#alarm(error),
    })
    this.#shelf = shelfHost(
      this.#backend,
      this.clock,
      this.#registry,
      this.#appenders,
      (error) => this.#alarm(error),
      this.#failures,
    )
    const flushed = (): Promise<void> => this.#groups.flushed()
    this.#homes = new ExternalLogHomes({
      ...{
        backend: this.#backend,
        registry: this.#registry,
        groups: this.#groups.byId,
        instances: this.#instances,
        pauses: this.#pauses,
      },
      ...{ clock: this.clock, shared: this.#shared, own, shelf: this.#shelf, open: () => this.#open() },
      log: (entry, partition) => new PartitionLog(this.#backend, entry.spec, partition, nowMs),
    })
    this.consumers = new Interventions(this.#homes)
    this.carriage = new ExternalLogCarriage(this.#homes, {
      ...{ backend: this.#backend, registry: this.#registry, nowMs, flushed },
      append: (channel, items) => this.#appenders.of(channel).append(items, false),
    })
    this.delays = new ExternalLogDelays({
      ...{ backend: this.#backend, registry: this.#registry, publishing: this.#publishing, homes: this.#homes },
      ...{ open: () => this.#open(), flushed },
    })
  }

  static async open(options: ExternalLogEngineOptions): Promise<ExternalLogEngine> {
    const engine = new ExternalLogEngine(options)
    options.backend.listen?.({
      alarm: (code, message) => engine.#raise(code, message),
      cleared: (code) => engine.alarms.end(code),
    })
    try {
      await engine.#registry.look()
    } catch (error) {
      await options.backend.close()
      throw error
    }
    engine.#registry.watch((error) => engine.#alarm(error))
    engine.#endLook = engine.#logs.begin(engine.clock)
    return engine
  }

  #makeInstanceHost(): InstanceHost {
    return {
      clock: this.clock,
      keys: new KeyTables(),
      checkEmissions: (emissions) =>
        checkEmissions(emissions, (channel) => this.#registry.known(channel), this.#backend.limits.entryBytes),
      emit: (emissions, cursor) => this.#groups.ownedBy(cursor)?.ownership.emit(emissions),
      flushed: (instance) => this.#groups.settled(instance),
      closed: (instance) => {
        this.#instances.delete(instance)
        return this.#groups.settled(instance)
      },
    }
  }

  #channelsChanged(added: readonly ChannelEntry[], gone: readonly string[]): void {
    for (const name of gone) this.#dropChannel(name)
    if (gone.includes(SCHEDULE)) this.#publishing.delaying.forget()
    this.#groups.added(added)
    for (const { spec } of added) {
      if (spec.name === SCHEDULE) void this.#publishing.delaying.attend().catch((error: unknown) => this.#alarm(error))
      if (spec.kind === 'queue') for (const instance of this.#instances) this.#groups.join(instance, spec)
    }
  }

  #alarm(error: unknown): void {
    this.#raise(
      error instanceof MillraceError ? error.code : 'STORE_FAILED',
      error instanceof Error ? error.message : String(error),
    )
  }

  #raise(code: string, message: string): void {
    if (this.#closing === null) this.alarms.raise(code, message)
  }

  #open(): void {
    if (this.#closing !== null) throw closed()
  }

  async declare(spec: ChannelSpec): Promise<void> {
    this.#open()
    await this.#registry.declare(spec)
  }

  async channel(name: string): Promise<ChannelSpec | undefined> {
    await this.#registry.fresh(name)
    return this.#registry.find(name)?.spec
  }

  async channels(): Promise<readonly ChannelSpec[]> {
    this.#open()
    await this.#registry.look()
    return this.#registry.shown.map(({ spec }) => spec)
  }

  async bounds(channel: string): Promise<Bounds> {
    this.#open()
    return this.#homes.bounds(channel)
  }

  publish(channel: string, event: EncodedEvent, dueAtMs: number | null): Promise<Receipt> {
    if (this.#closing !== null) return Promise.reject(closed())
    return this.#publishing.publish(channel, event, dueAtMs)
  }

  async publishBatch(channel: string, events: readonly EncodedEvent[], dueAtMs: number | null): Promise<Receipt[]> {
    this.#open()
    return this.#publishing.publishBatch(channel, events, dueAtMs)
  }

  async *read(channel: string, options: EngineReadOptions): AsyncGenerator<readonly StoredText[]> {
    this.#open()
    const { incarnation } = await this.#registry.current(channel)
    // A read that ends by itself leaves nothing behind on the signal that lives as long as the engine.
    const signal = options.follow ? AbortSignal.any([options.signal, this.#closed.signal]) : options.signal
    yield* readChannel(
      this.#backend,
      channel,
      { ...options, signal },
      () => this.#registry.find(channel)?.incarnation !== incarnation,
    )
  }

  async subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Subscription> {
    this.#open()
    for (const name of spec.channels) if (!isWildcard(name)) await this.#registry.current(name)
    const instance = await this.#subscribe(spec, sink)
    instance.begin()
    return instance
  }

  async #subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Instance> {
    await Promise.all([this.#registry.look(), this.#pauses.look()])
    const instance = new Instance(spec, sink, this.#instanceHost)
    instance.suspended = this.#pauses.of(spec.name) !== null
    this.#instances.add(instance)
    await this.#groups.enter(instance)
    this.#leases.watch()
    return instance
  }

  async #take(
    group: Group,
    entry: ChannelEntry,
    partition: number,
    mayClaim: Parameters<GroupHost['take']>[3],
  ): Promise<OwnedPartition | null> {
    const host = this.#ownershipHost(group)
    const ownership = await Ownership.claim(group.consumerLog(entry.spec.name, partition), host, mayClaim)
    if (ownership === null) return null
    beginAnew(ownership, entry)
    settleLent(ownership, group.name, partition, (member) => group.lives(member))
    const log = new PartitionLog(this.#backend, entry.spec, partition, () => this.clock.now())
    await this.#logs.follow(entry.spec.name, log)
    const begin = this.#groups.beginOf(group, entry.spec.name)
    const from = (): Promise<number> => positionIn(this.#backend, entry.spec.name, partition, begin)
    const owned = await OwnedPartition.begin(
      group.name,
      ownership,
      log,
      { ...this.#shared, blockade: group.blockadeOf(entry.spec.name) },
      this.#shelf,
      from,
      (gone) => this.#gone(group, gone),
    )
    owned.noteWorkers(group.instances)
    if (entry.spec.kind === 'queue') trimBehind(owned, this.#backend, this.clock, this.#failures)
    return owned
  }

  /** What a consumer log's owner needs; with a group, what becomes of a partition of it that is lost. */
  #ownershipHost(group: Group | null): OwnershipHost {
    return {
      ...{ backend: this.#backend, member: this.#member, clock: this.clock, lazily: this.#lazily },
      send: (emissions) =>
        sendOn(emissions, {
          ...{ closed: this.#closed.signal, clock: this.clock },
          store: (channel, run) => this.#publishing.emit(channel, run),
          alarm: (error) => this.#alarm(error),
        }),
      lost: (ownership) => {
        if (group === null) return
        const owned = [...group.owned.values()].find((each) => each.ownership === ownership)
        owned?.lost()
        if (this.#closing === null) void group.tick()
      },
      alarm: (error) => this.#alarm(error),
    }
  }

  #gone(group: Group, owned: OwnedPartition): void {
    if (group.owned.get(owned.consumerLog) === owned) group.owned.delete(owned.consumerLog)
    this.#suspects.forget(owned.cursor)
    group.blockadeOf(owned.channel).set(owned.cursor.box, 0)
    this.#logs.leave(owned.channel, owned.log)
  }

  async removeChannel(channel: string): Promise<void> {
    this.#open()
    await this.#registry.current(channel)
    await this.#backend.removeChannel(channel)
    await this.#homes.forgetChannel(channel)
    await this.#registry.look()
    this.#dropChannel(channel)
  }

  #dropChannel(channel: string): void {
    this.#groups.drop(channel)
    this.#logs.drop(channel)
    this.#appenders.delete(channel)
  }

  async describe(): Promise<Omit<BrokerDescription, 'capabilities' | 'engine'>> {
    this.#open()
    await this.#homes.look()
    const [channels, consumers] = await Promise.all([
      describeChannels({
        backend: this.#backend,
        entries: this.#registry.shown,
        rate: (channel) => this.#appenders.rate(channel),
      }),
      describeConsumers(this.#homes),
    ])
    return { channels, consumers, alarms: this.alarms.all }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#registry.close()
    this.#endLook()
    await this.#publishing.delaying.end()
    for (const instance of [...this.#instances]) await instance.close().catch(() => undefined)
    await this.#groups.close()
    this.#closed.abort()
    this.#due.close()
    this.#leases.close()
    await this.#appenders.close()
    await this.#backend.close()
  }
}

/** What a consumer log says is of the channel as it was then: of one that was deleted on the servers and made anew, nothing holds. */
function beginAnew(ownership: Ownership, { incarnation }: ChannelEntry): void {
  const written = ownership.get(INCARNATION)
  const now = JSON.stringify({ incarnation })
  if (written !== undefined && Buffer.from(written).toString() === now) return
  if (written !== undefined) for (const [key] of ownership.range('', '\uffff')) ownership.write(key, null)
  ownership.write(INCARNATION, Buffer.from(now))
}

function closed(): MillraceError {
  return new MillraceError('CLOSED', 'the broker is closed: connect again')
}

/**
 * The engine over another broker's servers: the whole contract, made from a log with a conditional write
 * (`log-backend.ts`).
 *
 * It joins the parts: the registry of channels, publishing, the partitions that this process owns, delayed events,
 * reading and describing. It decides nothing about deliveries, which is the work of the room `delivery`. The owner of a
 * partition is decided by the partition's consumer log.
 */

import { randomUUID } from 'node:crypto'
import { type Clock, systemClock } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import { LastingFailures } from '../base/lasting-failures.ts'
import { isWildcard } from '../base/names.ts'
import { AlarmList } from '../broker/alarm-list.ts'
import type { Capabilities } from '../broker/capabilities.ts'
import type { Carriage } from '../broker/carriage.ts'
import { refuseFunctions } from '../broker/consumer-errors.ts'
import type { Consumers } from '../broker/consumers.ts'
import type { Alarm, ChannelState, EngineDescription } from '../broker/description.ts'
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type {
  Bounds,
  ConsumerSpec,
  DeliverySink,
  Engine,
  EngineReadOptions,
  StoredText,
  Subscription,
} from '../broker/engine.ts'
import type { LogFields } from '../broker/logger.ts'
import type { PublishLoad } from '../broker/publish-load.ts'
import type { Receipt } from '../broker/receipt.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { describeConsumers } from '../delivery/consumers/describing.ts'
import { Interventions } from '../delivery/consumers/interventions.ts'
import { Agreement } from '../delivery/dispatch/agreement.ts'
import { KeyTables } from '../delivery/dispatch/consumer-keys.ts'
import { Instance, type InstanceHost } from '../delivery/dispatch/instance.ts'
import { LeaseWatch } from '../delivery/dispatch/lease-watch.ts'
import { LASTING_TIMES } from './backend/alarms.ts'
import { ExternalLogCarriage } from './carrying.ts'
import { ConsumerIndex } from './consumer-index.ts'
import { ExternalLogDelays } from './delay/cancelling.ts'
import { SCHEDULE } from './delay/scheduler.ts'
import { type DescribedChannels, describeChannels, stateOf } from './describing.ts'
import { ExternalLogHomes } from './homes.ts'
import { deadLetterStoreHost } from './letters/dead-letter-store.ts'
import type { ChannelEntry, LogBackend } from './log-backend.ts'
import { PartitionOwner } from './ownership/partition-owner.ts'
import { Pauses } from './pauses.ts'
import { Appenders } from './publish/appending.ts'
import { checkEmissions } from './publish/emitting.ts'
import { Publishing } from './publish/publishing.ts'
import { FollowedLogs } from './read/followed-logs.ts'
import { readChannel } from './read/reading.ts'
import { Registry } from './registry.ts'
import { NO_STATES, refusedState, refusedTables } from './states.ts'

const PARTITIONS_DEFAULT = 16

export interface ExternalLogEngineOptions {
  readonly backend: LogBackend
  /** Partitions of channels that this engine creates. @default 16 */
  readonly partitions?: number
  readonly onAlarm?: ((alarm: Alarm) => void) | undefined
  /** Told of what needs no person, such as the takeover of another member's partitions. */
  readonly notice?: ((message: string, fields: LogFields) => void) | undefined
  readonly clock?: Clock
  /** The name of this process among the members. No two members have the same name. @default a random one */
  readonly member?: string
}

export class ExternalLogEngine implements Engine {
  readonly name: string
  readonly capabilities: Capabilities
  readonly inTransaction: Engine['inTransaction']
  readonly clock: Clock
  readonly alarms: AlarmList
  readonly carriage: Carriage
  readonly consumers: Consumers
  readonly delays: Engine['delays']
  readonly tables: Engine['tables']
  readonly #backend: LogBackend
  readonly #registry: Registry
  readonly #logs: FollowedLogs
  readonly #appenders: Appenders
  readonly #publishing: Publishing
  readonly #pauses: Pauses
  readonly #partitions: PartitionOwner
  readonly #homes: ExternalLogHomes
  readonly #instances = new Set<Instance>()
  readonly #leases: LeaseWatch
  readonly #instanceHost: InstanceHost
  readonly #closed = new AbortController()
  #endLook: () => void = () => undefined
  #closing: Promise<void> | null = null

  private constructor(options: ExternalLogEngineOptions) {
    const { backend, clock = systemClock, member = randomUUID(), partitions = PARTITIONS_DEFAULT } = options
    const alarm = (error: unknown): void => this.#alarm(error)
    const open = (): void => this.#open()
    this.#backend = backend
    this.name = backend.name
    this.capabilities = backend.capabilities
    this.inTransaction = backend.inTransaction
    this.clock = clock
    this.alarms = new AlarmList(() => clock.now(), options.onAlarm)
    const pauses = new Pauses(backend)
    this.#pauses = pauses
    const index = new ConsumerIndex(backend)
    this.#leases = new LeaseWatch(clock, this.#instances)
    const registry = new Registry(backend, clock, partitions, (added, gone) => this.#channelsChanged(added, gone))
    this.#registry = registry
    const logs = new FollowedLogs(backend, alarm)
    this.#logs = logs
    const appenders = new Appenders({
      ...{ backend, clock },
      appended: (channel, partition, next, tail) => logs.advance(channel, partition, next, tail),
      unknown: (channel) => registry.forget(channel),
    })
    this.#appenders = appenders
    const publishing = new Publishing({
      ...{ backend, registry, appenders, clock, alarm },
      subscribe: (spec, sink) => this.#subscribe(spec, sink),
    })
    this.#publishing = publishing
    this.#partitions = this.#owner(member, index, options.notice)
    const { groups, shared, own } = this.#partitions
    const homes = new ExternalLogHomes({
      ...{
        backend,
        registry,
        groups: groups.byId,
        instances: this.#instances,
        pauses,
        index,
        clock,
        shared,
        own,
        open,
      },
      letterStore: this.#partitions.letterStore,
      log: (entry, partition) => this.#partitions.log(entry, partition),
    })
    this.#homes = homes
    const flushed = (): Promise<void> => groups.flushed()
    this.consumers = new Interventions(homes)
    this.carriage = new ExternalLogCarriage(homes, {
      ...{ backend, registry, flushed, nowMs: () => clock.now() },
      append: (channel, items) => appenders.of(channel).append(items, false),
    })
    this.delays = new ExternalLogDelays({ backend, registry, publishing, homes, open, flushed })
    this.tables = refusedTables(this.name)
    this.#instanceHost = this.#makeInstanceHost()
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

  /** This process as a member that owns partitions. */
  #owner(member: string, index: ConsumerIndex, notice: ExternalLogEngineOptions['notice']): PartitionOwner {
    const { clock } = this
    const backend = this.#backend
    const registry = this.#registry
    const alarm = (error: unknown): void => this.#alarm(error)
    const agreement = new Agreement(this.alarms)
    const failures = new LastingFailures(LASTING_TIMES, {
      raise: (message) => this.#raise('RETENTION_FAILED', message),
      end: () => this.alarms.end('RETENTION_FAILED'),
    })
    return new PartitionOwner({
      ...{ backend, member, clock, index, pauses: this.#pauses, logs: this.#logs, failures, alarm },
      letterStore: deadLetterStoreHost(backend, clock, registry, this.#appenders, alarm, failures),
      entries: () => registry.all,
      isClosing: () => this.#closing !== null,
      store: (channel, emissions) => this.#publishing.emit(channel, emissions),
      compare: (consumer, shapes, group) => agreement.check(consumer, shapes, group),
      notice: notice ?? (() => undefined),
    })
  }

  #makeInstanceHost(): InstanceHost {
    return {
      clock: this.clock,
      keys: new KeyTables(),
      states: NO_STATES,
      checkEmissions: (emissions) =>
        checkEmissions(emissions, (channel) => this.#registry.known(channel), this.#backend.limits.entryBytes),
      emit: (emissions, cursor) => this.#partitions.ownedBy(cursor)?.ownership.emit(emissions),
      flushed: (instance) => this.#partitions.groups.settled(instance),
      closed: (instance) => {
        this.#instances.delete(instance)
        return this.#partitions.groups.leave(instance)
      },
    }
  }

  #channelsChanged(added: readonly ChannelEntry[], gone: readonly string[]): void {
    for (const name of gone) this.#dropChannel(name)
    if (gone.includes(SCHEDULE)) this.#publishing.delaying.forget()
    this.#partitions.groups.added(added)
    for (const { spec } of added) {
      if (spec.name === SCHEDULE) void this.#publishing.delaying.attend().catch((error: unknown) => this.#alarm(error))
      if (spec.kind === 'queue') for (const instance of this.#instances) this.#partitions.groups.join(instance, spec)
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

  /** @throws UNKNOWN_CHANNEL */
  async publishLoad(channel: string): Promise<readonly PublishLoad[]> {
    await this.#registry.current(channel)
    return [this.#appenders.of(channel).load]
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

  /** A server stores records, and no blocks of this library's. */
  publishBlocks(): boolean {
    return false
  }

  async *read(channel: string, options: EngineReadOptions): AsyncGenerator<readonly StoredText[]> {
    this.#open()
    const { incarnation } = await this.#registry.current(channel)
    // The signal lives as long as the engine. A read that ends by itself must not leave a listener on it.
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
    if (spec.state !== undefined) throw refusedState(this.name, `the state of consumer "${spec.name}"`)
    refuseFunctions(spec, this.name, { why: 'the channel’s key decides which process has an event', limits: false })
    for (const name of spec.channels) if (!isWildcard(name)) await this.#registry.current(name)
    const instance = await this.#subscribe(spec, sink)
    instance.begin()
    return instance
  }

  async #subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Instance> {
    await Promise.all([this.#registry.look(), this.#pauses.look()])
    const instance = new Instance(spec, sink, this.#instanceHost)
    instance.suspend(this.#pauses.of(spec.name) !== null)
    this.#instances.add(instance)
    await this.#partitions.groups.enter(instance)
    this.#leases.watch()
    return instance
  }

  async removeChannel(channel: string): Promise<void> {
    this.#open()
    await this.#registry.current(channel)
    await this.#backend.removeChannel(channel)
    await this.#homes.forgetChannel(channel)
    await this.#registry.lookAt(channel)
    this.#dropChannel(channel)
  }

  #dropChannel(channel: string): void {
    this.#partitions.groups.drop(channel)
    this.#logs.drop(channel)
    this.#appenders.delete(channel)
  }

  async describeChannel(channel: string): Promise<ChannelState> {
    this.#open()
    return stateOf(await this.#registry.current(channel), this.#described)
  }

  get #described(): Omit<DescribedChannels, 'entries'> {
    return { backend: this.#backend, rate: (channel) => this.#appenders.rate(channel) }
  }

  async describe(): Promise<EngineDescription> {
    this.#open()
    await this.#homes.look()
    const [channels, consumers] = await Promise.all([
      describeChannels({ ...this.#described, entries: this.#registry.shown }),
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
    await this.#partitions.close()
    this.#closed.abort()
    this.#leases.close()
    await this.#appenders.close()
    await this.#backend.close()
  }
}

function closed(): MillraceError {
  return new MillraceError('CLOSED', 'the broker is closed: connect again')
}

/**
 * The embedded engine: `file:` and `memory:`. It connects the parts that do the work: channels, the committer
 * (durability), publishing (deduplication, delay), cursors (deliveries), retention, and reading. The file
 * `delivery/dead/letter-records.ts` stores dead letters.
 */

import type { Clock } from '../../base/clock.ts'
import { DueQueue } from '../../base/due-queue.ts'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { compileWildcard, isWildcard, stateChannelOf } from '../../base/names.ts'
import { realInterval } from '../../base/timers.ts'
import { AlarmList } from '../../broker/alarm-list.ts'
import type { Capabilities } from '../../broker/capabilities.ts'
import type { Carriage } from '../../broker/carriage.ts'
import { sharedQueueKey } from '../../broker/consumer-errors.ts'
import type { Consumers } from '../../broker/consumers.ts'
import type { ChannelState, EngineDescription } from '../../broker/description.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type {
  Bounds,
  ConsumerSpec,
  DeliverySink,
  Engine,
  EngineReadOptions,
  PublishWaiter,
  StoredText,
  Subscription,
} from '../../broker/engine.ts'
import type { Limits } from '../../broker/limits.ts'
import type { PublishLoad } from '../../broker/publish-load.ts'
import type { Receipt } from '../../broker/receipt.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { QUEUE_GROUP } from '../../delivery/consumer-records.ts'
import { describeConsumers } from '../../delivery/consumers/describing.ts'
import { Interventions } from '../../delivery/consumers/interventions.ts'
import { SuspectQueue } from '../../delivery/cursor/suspect-queue.ts'
import type { CursorHost } from '../../delivery/cursor-host.ts'
import { Agreement } from '../../delivery/dispatch/agreement.ts'
import { KeyTables } from '../../delivery/dispatch/consumer-keys.ts'
import { Instance, type InstanceHost } from '../../delivery/dispatch/instance.ts'
import { LeaseWatch } from '../../delivery/dispatch/lease-watch.ts'
import { FlowTables, limitsOf } from '../../delivery/flow/flow-tables.ts'
import type { Block } from '../../event/block.ts'
import { EmbeddedCarriage } from './carrying.ts'
import type { ChannelLog } from './channel-log.ts'
import { Channels } from './channels.ts'
import { Committer } from './committer.ts'
import type { EmbeddedEngineOptions } from './embedded-options.ts'
import { EmbeddedHomes } from './homes.ts'
import { Publishing } from './publishing.ts'
import { readLog } from './reading.ts'
import { Retention } from './retention.ts'
import { EmbeddedStates } from './states.ts'
import type { Store } from './store.ts'

/** How often a reader looks for changes that the owner of its directory has written. */
const REFRESH_MS = 100

export class EmbeddedEngine implements Engine {
  readonly name: string
  readonly capabilities: Capabilities
  readonly clock: Clock
  readonly backup?: NonNullable<Engine['backup']>
  readonly carriage: Carriage
  readonly consumers: Consumers
  readonly delays: Engine['delays']
  readonly tables: EmbeddedStates
  readonly #options: EmbeddedEngineOptions
  readonly #store: Store<Block>
  readonly #committer: Committer
  readonly #agreement: Agreement
  readonly #due: DueQueue
  readonly #channels: Channels
  readonly #homes: EmbeddedHomes
  readonly #instances = new Set<Instance>()
  readonly alarms: AlarmList
  readonly #publishing: Publishing
  readonly #retention: Retention
  readonly #suspects: SuspectQueue
  readonly #leases: LeaseWatch
  readonly #cursorHost: CursorHost
  readonly #flows: FlowTables
  readonly limits: Limits
  readonly #instanceHost: InstanceHost
  #closing: Promise<void> | null = null
  readonly #closed = new AbortController()

  constructor(options: EmbeddedEngineOptions) {
    const { store, clock } = options
    this.#options = options
    this.name = options.name
    this.capabilities = options.capabilities
    this.clock = clock
    if (options.backup !== undefined) this.backup = options.backup
    this.#store = store
    this.alarms = new AlarmList(() => clock.now(), options.onAlarm)
    this.#agreement = new Agreement(this.alarms)
    this.#due = new DueQueue(clock)
    // A reader changes nothing: it has no timers and no retention.
    if (options.refresh !== undefined) this.#due.close()
    this.#committer = new Committer(store, clock, {
      alarm: (error) => (error === null ? this.alarms.end('DISK_FULL', 'TOO_MANY_FILES') : this.#alarm(error)),
      failed: (error) => this.#alarm(error),
    })
    const shared = { store, clock, committer: this.#committer, due: this.#due }
    this.#suspects = new SuspectQueue(() => this.#committer.flushed(), clock)
    const { claimsMs } = options
    if (claimsMs !== undefined) this.#suspects.hold(claimsMs, (delayMs, task) => this.#due.after(delayMs, task))
    this.#cursorHost = this.#makeCursorHost()
    this.#flows = new FlowTables({ ...this.#cursorHost, clock, alarms: this.alarms })
    this.limits = limitsOf(this.#flows, () => this.#committer.flushed())
    this.#instanceHost = this.#makeInstanceHost()
    this.#leases = new LeaseWatch(clock, this.#instances)
    this.#retention = new Retention({
      ...shared,
      queueFloor: (log) => this.#homes.floorOf(QUEUE_GROUP, log) ?? log.first,
      failures: this.alarms.lasting('RETENTION_FAILED', 1),
    })
    this.#channels = new Channels({ store, committer: this.#committer, retention: this.#retention })
    this.#publishing = new Publishing({
      ...shared,
      log: (name) => this.#channels.log(name),
      logById: (id) => this.#channels.byId.get(id),
      alarm: (error) => this.#alarm(error),
      open: () => this.#open(),
    })
    this.delays = this.#publishing.delays
    this.tables = new EmbeddedStates({
      store,
      find: (name) => this.#channels.byName.get(name),
      log: (name) => {
        this.#open()
        return this.#channels.log(name)
      },
    })
    this.#homes = this.#makeHomes()
    this.consumers = new Interventions(this.#homes)
    this.carriage = new EmbeddedCarriage(this.#homes, {
      store,
      committer: this.#committer,
      nowMs: () => clock.now(),
      log: (name) => this.#channels.log(name),
    })
    if (options.refresh !== undefined) this.#refreshEvery(options.refresh)
  }

  #refreshEvery(refresh: () => void): void {
    const timer = realInterval(() => {
      if (this.#closing !== null) clearInterval(timer)
      else {
        refresh()
        this.#channels.refresh()
      }
    }, REFRESH_MS)
    timer.unref()
  }

  #makeCursorHost(): CursorHost {
    const readOnly = this.#options.refresh !== undefined
    return {
      nowMs: () => this.clock.now(),
      elapsedMs: () => this.clock.elapsed(),
      get: (key) => this.#store.get(key),
      range: (from, to, limit) => this.#store.range(from, to, limit),
      write: (key, value) => (readOnly ? undefined : this.#committer.record(key, value)),
      touch: (source) => (readOnly ? undefined : this.#committer.touch(source)),
      flushed: () => this.#committer.flushed(),
      after: (delayMs, task) => this.clock.after(delayMs, task),
      at: (dueMs, task) => this.#due.add(dueMs, task),
      alone: (cursor, offset) => this.#suspects.add(cursor, offset),
      aloneDone: (cursor, offset) => this.#suspects.done(cursor, offset),
      alarm: (error) => this.#alarm(error),
      seek: (log, position) => (this.#channels.byId.get(log.id) as ChannelLog).seek(position),
    }
  }

  #makeHomes(): EmbeddedHomes {
    return new EmbeddedHomes({
      ...{
        store: this.#store,
        committer: this.#committer,
        clock: this.clock,
        logs: this.#channels.byName,
        instances: this.#instances,
      },
      cursorHost: this.#cursorHost,
      made: (cursor, log) => {
        if (cursor.state.interrupted) this.#suspects.restrict(cursor)
        if (cursor.group === QUEUE_GROUP) cursor.state.onFloorMoved(() => this.#retention.note(log))
      },
      log: (name) => this.#channels.log(name),
      open: () => this.#open(),
      states: {
        kept: (consumer) => this.#channels.byName.has(stateChannelOf(consumer)),
        drop: (consumer, again) => this.#dropState(stateChannelOf(consumer), again),
      },
    })
  }

  /** In one turn, so that it is in one commit with other changes of this turn. */
  #dropState(channel: string, again: boolean): void {
    const log = this.#channels.byName.get(channel)
    if (log === undefined) return
    log.removed = true
    this.#homes.removeChannel(log)
    this.#channels.remove(log)
    this.tables.forget(channel)
    if (again) this.#channels.add(log.spec)
  }

  #makeInstanceHost(): InstanceHost {
    return {
      clock: this.clock,
      keys: new KeyTables(),
      flows: this.#flows,
      states: {
        stateOf: (channel, key) => this.tables.stateOf(channel, key),
        emitted: (channel, emissions) => this.tables.emitted(channel, emissions),
      },
      checkEmissions: (emissions) => emissions.forEach(({ channel }) => void this.#channels.log(channel)),
      emit: (emissions) => this.#publishing.emit(emissions),
      flushed: () => this.#committer.flushed(),
      closed: (instance) => {
        this.#instances.delete(instance)
        this.#agreement.compare(instance.spec.name, this.#instances)
        return this.#committer.left()
      },
    }
  }

  #alarm(error: unknown): void {
    // Work that still runs while the engine closes may find the store closed.
    if (this.#closing === null || !isMillraceError(error, 'CLOSED')) this.alarms.raiseFor(error)
  }

  #open(): void {
    if (this.#closing !== null) throw new MillraceError('CLOSED', 'the broker is closed: connect again')
  }

  async declare(spec: ChannelSpec): Promise<void> {
    this.#open()
    const existing = this.#channels.byName.get(spec.name)
    if (existing !== undefined) {
      this.#channels.reconcile(existing, spec)
      await existing.recall(this.clock.now(), this.#cursorHost.alarm)
      return
    }
    const log = this.#channels.add(spec)
    for (const instance of this.#instances) {
      const takes = (name: string): boolean =>
        name === spec.name || (isWildcard(name) && compileWildcard(name)(spec.name))
      if (!instance.spec.channels.some(takes)) continue
      const other = this.#homes.sharesQueue(instance.spec, log)
      if (other === null) this.#homes.attach(instance, log, { at: 'beginning' })
      else this.#alarm(sharedQueueKey(spec.name, instance.spec.name, other))
    }
    await this.#committer.flushed()
  }

  /** @throws UNKNOWN_CHANNEL */
  async publishLoad(channel: string): Promise<readonly PublishLoad[]> {
    this.#channels.log(channel)
    return [this.#committer.load]
  }

  async channel(name: string): Promise<ChannelSpec | undefined> {
    const log = this.#channels.byName.get(name)
    await log?.recall(this.clock.now(), this.#cursorHost.alarm)
    return log?.spec
  }

  async channels(): Promise<readonly ChannelSpec[]> {
    this.#open()
    return [...this.#channels.byName.values()].map(({ spec }) => spec)
  }

  async bounds(channel: string): Promise<Bounds> {
    this.#open()
    const { first, committed } = this.#channels.log(channel)
    return { first, next: committed }
  }

  publish(channel: string, event: EncodedEvent, dueAtMs: number | null): Promise<Receipt> {
    try {
      this.#open()
      const log = this.#channels.log(channel)
      if (dueAtMs === null || dueAtMs <= this.clock.now()) return this.#publishing.publish(log, event)
      return this.#publishing.schedule(log, [event], dueAtMs).then(([receipt]) => receipt as Receipt)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  async publishBatch(channel: string, events: readonly EncodedEvent[], dueAtMs: number | null): Promise<Receipt[]> {
    this.#open()
    const log = this.#channels.log(channel)
    if (dueAtMs === null || dueAtMs <= this.clock.now()) return this.#publishing.publishBatch(log, events)
    return this.#publishing.schedule(log, events, dueAtMs)
  }

  publishBlocks(channel: string, events: readonly EncodedEvent[], waiter: PublishWaiter): boolean {
    this.#open()
    return this.#publishing.publishBlocks(this.#channels.log(channel), events, waiter)
  }

  read(channel: string, options: EngineReadOptions): AsyncIterable<readonly StoredText[]> {
    this.#open()
    const log = this.#channels.log(channel)
    // A read that does not follow adds no listener to the signal, which lives as long as the engine.
    const signal = options.follow ? AbortSignal.any([options.signal, this.#closed.signal]) : options.signal
    const kept = (event: StoredText): boolean => !log.superseded(event.key, event.offset)
    return readLog(
      log,
      log.seek(options.from),
      options.to === null ? null : log.seek(options.to),
      { ...options, signal },
      kept,
    )
  }

  async subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Subscription> {
    this.#open()
    const logs = new Set<ChannelLog>()
    for (const name of spec.channels) {
      const matches = isWildcard(name) ? compileWildcard(name) : null
      if (matches === null) logs.add(this.#channels.log(name))
      else for (const log of this.#channels.byName.values()) if (matches(log.name)) logs.add(log)
    }
    for (const log of logs) {
      const other = this.#homes.sharesQueue(spec, log)
      if (other !== null) throw sharedQueueKey(log.spec.name, spec.name, other)
    }
    if (spec.state !== undefined) await this.declare(spec.state)
    const instance = new Instance(spec, sink, this.#instanceHost)
    // What was in flight before a crash must be known before the first delivery (clause 5).
    for (const log of logs) this.#homes.attach(instance, log, spec.from)
    instance.suspend(this.#homes.pauseOf(spec.name) !== null)
    this.#instances.add(instance)
    this.#agreement.compare(spec.name, this.#instances)
    await this.#committer.flushed()
    instance.begin()
    this.#leases.watch()
    return instance
  }

  async removeChannel(channel: string): Promise<void> {
    this.#open()
    const log = this.#channels.log(channel)
    log.removed = true
    for (const instance of this.#instances) {
      const mine = [...instance.held].filter((delivery) => delivery.cursor.log === log)
      instance.revoke(mine)
    }
    await this.#committer.flushed()
    this.#homes.removeChannel(log)
    this.#channels.remove(log)
    this.tables.forget(channel)
    await this.#committer.flushed()
  }

  async describeChannel(channel: string): Promise<ChannelState> {
    this.#open()
    return this.#channels.log(channel).state(this.clock.elapsed())
  }

  async describe(): Promise<EngineDescription> {
    this.#open()
    const elapsedMs = this.clock.elapsed()
    const channels = [...this.#channels.byName.values()].map((log) => log.describe(elapsedMs))
    return { channels, consumers: await describeConsumers(this.#homes), alarms: this.alarms.all }
  }

  /** Whether something is being stored. */
  get busy(): boolean {
    return this.#committer.busy || this.#publishing.busy
  }

  /** How many deliveries are in flight. */
  get inFlight(): number {
    let count = 0
    for (const { held } of this.#instances) count += held.size
    return count
  }

  /** Run retention now, for tests and tools that do not wait for its timer. */
  async sweep(): Promise<void> {
    await this.#retention.sweep()
    await this.#committer.flushed()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#options.closing?.()
    this.#closed.abort()
    await Promise.allSettled(
      [...this.#instances].filter((instance) => !instance.abandoned).map((instance) => instance.close()),
    )
    for (const cursor of this.#homes.cursors) this.#cursorHost.touch(cursor.state)
    await this.#retention.close()
    try {
      await this.#committer.left()
    } finally {
      this.#due.close()
      this.#leases.close()
      await this.#store.close().finally(() => this.#options.release?.())
    }
  }
}

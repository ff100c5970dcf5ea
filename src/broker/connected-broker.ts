/**
 * The broker over an engine. It checks options, encodes events and converts options to the port's form. The engine does
 * everything else.
 */
import { resolve } from 'node:path'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import type { Channel } from '../channel/channel.ts'
import { refuseStateChannel } from '../channel/state-channel.ts'
import type { Encodable } from '../event/encode.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import { AlarmList } from './alarm-list.ts'
import type { Backup, Broker, Publishable, PublishOptions, ReceiptOf, Startable, Stoppable } from './broker.ts'
import { noFiles } from './call-options.ts'
import { type RelatedEvents, type RelatedOptions, relatedEvents } from './causality/related-events.ts'
import { ConnectedChannel } from './connected-channel.ts'
import { ConnectedConsumer } from './connected-consumer.ts'
import { limitsIn, setLimit } from './connected-limits.ts'
import { ConnectedReads } from './connected-reads.ts'
import { ConnectedTable } from './connected-table.ts'
import type { Alarm, BrokerDescription } from './description.ts'
import { dueAt } from './due-at.ts'
import type { EncodedEvent } from './encoded-event.ts'
import type { Engine } from './engine.ts'
import { type BrokerCore, offerCore } from './engine-of.ts'
import { EventEncoder } from './event-encoder.ts'
import type {
  ChannelHandle,
  ConsumerHandle,
  DeadLetters,
  DelayedEvents,
  PauseOptions,
  RewindOptions,
} from './handles.ts'
import { LaterSchedules, noSchedules, type SchedulesLoader } from './later-schedules.ts'
import type { LimitChange, LimitState } from './limits.ts'
import { Log } from './log.ts'
import type { PublishCall, Published } from './observer.ts'
import type { From } from './position.ts'
import type { Readable, ReadOptions, TailedEvent } from './reading.ts'
import type { Replies, ReplyOf, RequestCounts, RequestManyOptions, RequestOptions } from './request-types.ts'
import { Requests } from './requests.ts'
import type { MakeEvent, ScheduleDescription, Schedules, When } from './schedules.ts'
import type { Table, TableSource, TableValue } from './table.ts'
import type { Telemetry } from './telemetry.ts'

export interface ConnectedBrokerOptions {
  /** The CloudEvents `source` of events without one. */
  readonly source: string
  readonly random: () => number
  /** Gets the alarms of consumers that run here; the engine reports its own. */
  readonly onAlarm?: ((alarm: Alarm) => void) | undefined
  /** The time of events without one. @default the time at which they were made */
  readonly stampMs?: () => number
  /** Where log lines go. @default nowhere */
  readonly log?: Log
  readonly telemetry?: Telemetry | undefined
  /** Loads the room of schedules. */
  readonly schedules?: SchedulesLoader | undefined
}

export class ConnectedBroker implements Broker {
  readonly #engine: Engine
  readonly #core: BrokerCore
  readonly #encoder: EventEncoder
  readonly #reads: ConnectedReads
  readonly #alarms: AlarmList
  readonly #schedules: LaterSchedules
  readonly #requests: Requests
  readonly #log: Log
  readonly #running = new Set<Stoppable>()
  readonly #starting = new Set<Promise<Stoppable>>()
  readonly #unobserve: (() => void) | undefined
  #closing: Promise<void> | null = null

  constructor(engine: Engine, options: ConnectedBrokerOptions) {
    this.#engine = engine
    this.#encoder = new EventEncoder(engine, options.source, options.stampMs ?? null)
    this.#reads = new ConnectedReads(engine, this.#encoder)
    this.#log = options.log ?? new Log(null)
    this.#alarms = new AlarmList(() => engine.clock.now(), options.onAlarm)
    const isClosed = (): boolean => this.#closing !== null
    this.#core = {
      ...{
        engine,
        encoder: this.#encoder,
        random: options.random,
        alarms: this.#alarms,
        log: this.#log,
        observer: null,
      },
      get closed(): boolean {
        return isClosed()
      },
    }
    offerCore(this, this.#core)
    this.#schedules = new LaterSchedules(() => {
      this.#open()
      return (options.schedules ?? noSchedules)(this, this.#core)
    })
    this.#requests = new Requests(this.#core, (channel, event) => this.publish(channel, event as never))
    this.#unobserve = options.telemetry?.observe(this.#core)
  }

  publish<C extends Channel | string, E extends Publishable<C> | readonly Publishable<C>[]>(
    channel: C,
    event: E,
    options?: PublishOptions,
  ): Promise<ReceiptOf<E>> {
    const { observer } = this.#core
    if (observer === null) return this.#published(channel, event as Published, options, null) as Promise<ReceiptOf<E>>
    const call = observer.publishing(nameGiven(channel), event as Published)
    return this.#published(channel, call.events ?? (event as Published), options, call) as Promise<ReceiptOf<E>>
  }

  #published(
    channel: Channel | string,
    event: Published,
    options: PublishOptions | undefined,
    call: PublishCall | null,
  ): Promise<unknown> {
    let dueAtMs: number | null = null
    const publish = (): Promise<unknown> => this.#publish(channel, event, dueAtMs, call)
    const again = (error: unknown): Promise<unknown> => {
      const result = this.#again(channel, error, publish)
      return call === null ? result : result.then(succeeded(call), failed(call))
    }
    try {
      if (this.#closing !== null) throw closed()
      if (options !== undefined) dueAtMs = dueAt(options, this.#engine.clock.now(), 'publish')
      const published = this.#encoder.isReady(channel) ? publish() : this.#encoder.prepare(channel).then(publish)
      return published.then(call === null ? undefined : succeeded(call), again)
    } catch (error) {
      return again(error)
    }
  }

  /**
   * Publish once more if the known declaration is outdated: the channel was removed, or another process declared it
   * again.
   */
  async #again(channel: Channel | string, error: unknown, publish: () => Promise<unknown>): Promise<unknown> {
    const outdated =
      isMillraceError(error, 'UNKNOWN_CHANNEL') ||
      (typeof channel === 'string' && isMillraceError(error, 'TYPE_NOT_CARRIED'))
    if (!outdated || this.#closing !== null) throw error
    await this.#encoder.renew(channel)
    return publish()
  }

  #publish(
    channel: Channel | string,
    event: Published,
    dueAtMs: number | null,
    call: PublishCall | null,
  ): Promise<unknown> {
    const name = typeof channel === 'string' ? channel : channel.name
    refuseStateChannel(name)
    if (Array.isArray(event)) return this.#publishBatch(name, event, dueAtMs, call)
    const encoded = this.#encoder.encode(name, event as Encodable, call?.traces?.[0])
    if (encoded instanceof Promise) return encoded.then((settled) => this.#store(name, settled, dueAtMs, call))
    return this.#store(name, encoded, dueAtMs, call)
  }

  #store(name: string, event: EncodedEvent, dueAtMs: number | null, call: PublishCall | null): Promise<unknown> {
    call?.storing()
    return this.#engine.publish(name, event, dueAtMs)
  }

  async #publishBatch(
    name: string,
    events: readonly Encodable[],
    dueAtMs: number | null,
    call: PublishCall | null,
  ): Promise<unknown> {
    if (events.length > LIMITS.batchEventsMax) {
      throw new MillraceError(
        'INVALID_OPTION',
        `a batch holds at most ${LIMITS.batchEventsMax} events; this one has ${events.length}: publish several`,
        {
          events: events.length,
          batchEventsMax: LIMITS.batchEventsMax,
        },
      )
    }
    const encoded: EncodedEvent[] = []
    let bytes = 0
    for (const [index, event] of events.entries()) {
      const one = this.#encoder.encode(name, event, call?.traces?.[index])
      const settled = one instanceof Promise ? await one : one
      bytes += settled.text.length
      encoded.push(settled)
    }
    const [only] = encoded
    // A single event is limited only by its channel.
    if (only !== undefined && encoded.length === 1) return [await this.#store(name, only, dueAtMs, call)]
    if (bytes > LIMITS.batchBytesMax) {
      throw new MillraceError(
        'EVENT_TOO_LARGE',
        `a batch holds at most ${LIMITS.batchBytesMax} bytes of events; this one has ${bytes}: publish several`,
        {
          bytes,
          bytesMax: LIMITS.batchBytesMax,
        },
      )
    }
    if (encoded.length === 0) return []
    call?.storing()
    return this.#engine.publishBatch(name, encoded, dueAtMs)
  }

  async declare(...channels: readonly Channel[]): Promise<void> {
    this.#open()
    for (const channel of channels) await this.#encoder.declare(channel)
  }

  async start<Running extends Stoppable>(consumer: Startable<Running>): Promise<Running> {
    this.#open()
    if (typeof (consumer as Startable<Running> | null | undefined)?.start !== 'function') {
      throw new MillraceError(
        'INVALID_OPTION',
        `start takes a consumer, made by consumer(); this is ${shown(consumer)}`,
        { option: 'consumer' },
      )
    }
    const starting = this.#start(consumer)
    this.#starting.add(starting)
    const started = (): boolean => this.#starting.delete(starting)
    starting.then(started, started)
    return starting
  }

  async #start<Running extends Stoppable>(consumer: Startable<Running>): Promise<Running> {
    const running = await consumer.start(this.#core)
    this.#running.add(running)
    const gone = (): boolean => this.#running.delete(running)
    running.done.then(gone, gone)
    return running
  }

  read<C extends Channel | string>(channel: C, options: ReadOptions = {}): AsyncIterableIterator<Readable<C>> {
    this.#open()
    return this.#reads.read(channel, options)
  }

  tail(
    channels: Channel | string | readonly (Channel | string)[],
    options: ReadOptions = {},
  ): AsyncIterableIterator<TailedEvent> {
    this.#open()
    return this.#reads.tail(channels, options)
  }

  causes(channel: string | { readonly name: string }, offset: number, options: RelatedOptions = {}): RelatedEvents {
    this.#open()
    return relatedEvents(this.#engine, 'causes', channel, offset, options)
  }

  effects(channel: string | { readonly name: string }, offset: number, options: RelatedOptions = {}): RelatedEvents {
    this.#open()
    return relatedEvents(this.#engine, 'effects', channel, offset, options)
  }

  async describe(): Promise<BrokerDescription> {
    this.#open()
    const description = await this.#engine.describe()
    const alarms = [...description.alarms, ...this.#alarms.all]
    const consumers = description.consumers.map(({ counted: _, ...consumer }) => consumer)
    return { engine: this.#engine.name, capabilities: this.#engine.capabilities, ...description, consumers, alarms }
  }

  async alarms(): Promise<readonly Alarm[]> {
    this.#open()
    return [...(await this.#engine.alarms.ask()), ...this.#alarms.all]
  }

  channel<C extends Channel | string>(channel: C): ChannelHandle<C> {
    return new ConnectedChannel(channel, {
      core: () => this.#opened(),
      read: (named, options) => this.read(named, options),
      forget: (name) => this.#encoder.forget(name),
    })
  }

  consumer(consumer: string | { readonly name: string }): ConsumerHandle {
    return new ConnectedConsumer(consumer, () => this.#opened())
  }

  table<Source extends TableSource>(of: Source): Table<TableValue<Source>> {
    return new ConnectedTable(of, () => this.#opened().engine) as Table<TableValue<Source>>
  }

  async limits(): Promise<readonly LimitState[]> {
    return limitsIn(this.#opened().engine).list()
  }

  async setLimit(name: string, change: LimitChange | null): Promise<LimitState> {
    return setLimit(this.#opened().engine, name, change)
  }

  deadLetters(consumer: string | { readonly name: string }): DeadLetters {
    this.#open()
    return this.consumer(consumer).deadLetters
  }

  delayed(channel: Channel | string): DelayedEvents {
    this.#open()
    return this.channel(channel).delayed
  }

  async rewind(consumer: string | { readonly name: string }, to: From, options?: RewindOptions): Promise<void> {
    await this.consumer(consumer).rewind(to, options)
  }

  async pause(consumer: string | { readonly name: string }, options?: PauseOptions): Promise<void> {
    await this.consumer(consumer).pause(options)
  }

  async resume(consumer: string | { readonly name: string }): Promise<void> {
    await this.consumer(consumer).resume()
  }

  async removeConsumer(consumer: string | { readonly name: string }): Promise<void> {
    await this.consumer(consumer).remove()
  }

  async removeChannel(channel: Channel | string): Promise<void> {
    await this.channel(channel).remove()
  }

  async request<C extends Channel | string, D extends AnyEventDefinition = AnyEventDefinition>(
    channel: C,
    event: Publishable<C>,
    options?: RequestOptions<D>,
  ): Promise<ReplyOf<D>> {
    this.#open()
    return (await this.#requests.request(channel, event as Encodable, options)) as ReplyOf<D>
  }

  async requestMany<C extends Channel | string, D extends AnyEventDefinition = AnyEventDefinition>(
    channel: C,
    event: Publishable<C>,
    options?: RequestManyOptions<D>,
  ): Promise<Replies<ReplyOf<D>>> {
    this.#open()
    return (await this.#requests.requestMany(channel, event as Encodable, options)) as Replies<ReplyOf<D>>
  }

  get requests(): RequestCounts {
    return this.#requests.counts
  }

  get schedules(): Schedules {
    return this.#schedules
  }

  async schedule<C extends Channel | string>(
    name: string,
    when: When,
    channel: C,
    event: Publishable<C> | MakeEvent<C>,
  ): Promise<ScheduleDescription> {
    this.#open()
    return this.#schedules.schedule(name, when, channel, event)
  }

  async backup(directory: string): Promise<Backup> {
    this.#open()
    if (typeof directory !== 'string' || directory === '' || directory.includes('\0'))
      throw new MillraceError('INVALID_OPTION', `backup takes the path of a directory; it got ${shown(directory)}`, {
        option: 'directory',
      })
    if (this.#engine.backup === undefined) throw noFiles(this.#engine.name)
    return this.#engine.backup(resolve(directory))
  }

  close(): Promise<void> {
    const asking = [...this.#running].some((running) => running.calledByHandler === true)
    this.#closing ??= this.#close()
    if (!asking) return this.#closing
    this.#closing.catch(() => undefined)
    return Promise.allSettled([...this.#running].map((running) => running.stop())).then(() => undefined)
  }

  async #close(): Promise<void> {
    // A consumer's handlers may run, and close the broker, before its start() has returned.
    await Promise.allSettled([...this.#starting])
    this.#requests.close()
    const running = [...this.#running]
    for (const each of running) each.stop().catch(() => undefined)
    await Promise.allSettled(running.map((each) => each.done))
    try {
      await this.#engine.close()
    } finally {
      this.#unobserve?.()
      this.#log.close()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #open(): void {
    if (this.#closing !== null) throw closed()
  }

  #opened(): BrokerCore {
    this.#open()
    return this.#core
  }
}

/** The name of what was given as a channel; what is no channel is refused later. */
function nameGiven(channel: Channel | string): string {
  return typeof channel === 'string' ? channel : String((channel as Partial<Channel> | null)?.name)
}

function succeeded<Result>(call: PublishCall): (result: Result) => Result {
  return (result) => {
    call.ended(null)
    return result
  }
}

function failed(call: PublishCall): (error: unknown) => never {
  return (error) => {
    call.ended(error)
    throw error
  }
}

function closed(): MillraceError {
  return new MillraceError('CLOSED', 'the broker is closed: connect again')
}

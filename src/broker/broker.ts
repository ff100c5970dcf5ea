/**
 * The interface of a broker for applications, the same on every engine.
 */

import type { TimeText } from '../base/time-text.ts'
import type { Duration } from '../base/units.ts'
import type { Channel } from '../channel/channel.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import type { AlarmList } from './alarm-list.ts'
import type { RelatedEvents, RelatedOptions } from './causality/related-events.ts'
import type { Alarm, BrokerDescription } from './description.ts'
import type { Engine } from './engine.ts'
import type { EventEncoder } from './event-encoder.ts'
import type {
  ChannelHandle,
  ConsumerHandle,
  DeadLetters,
  DelayedEvents,
  PauseOptions,
  RewindOptions,
} from './handles.ts'
import type { LimitChange, LimitState } from './limits.ts'
import type { Log } from './log.ts'
import type { BrokerObserver } from './observer.ts'
import type { From } from './position.ts'
import type { Publishable } from './publishable.ts'
import type { Readable, ReadOptions, TailedEvent } from './reading.ts'
import type { Receipt } from './receipt.ts'
import type { Replies, ReplyOf, RequestCounts, RequestManyOptions, RequestOptions } from './request-types.ts'
import type { MakeEvent, ScheduleDescription, Schedules, When } from './schedules.ts'
import type { Table, TableSource, TableValue } from './table.ts'

export type { Publishable, UntypedEvent } from './publishable.ts'

/** Delays the event: no reader and no consumer gets it before it is due. Give one of the two, or none for "now". */
export interface PublishOptions {
  /** How long from now, up to ten years. */
  readonly delay?: Duration
  /**
   * The time at which it is due, at most ten years ahead: a Date, RFC 3339 text, or milliseconds since the epoch (as
   * `Date.now()` returns them).
   */
  readonly at?: Date | TimeText | number
}

/** What publishing returns: one receipt for one event; for an array, an array of receipts in the same order. */
export type ReceiptOf<E> = E extends readonly unknown[] ? Receipt[] : Receipt

/** The internals of a broker that running consumers and the gateway use. */
export interface BrokerHost {
  readonly engine: Engine
  readonly encoder: EventEncoder
  /** From 0 to 1, for jitter. */
  readonly random: () => number
  /** Lines of a running consumer for the person on call. */
  readonly alarms: AlarmList
  readonly log: Log
  /** Null while there is no observer. */
  observer: BrokerObserver | null
}

/** What `Broker.start` takes: any kind of consumer. The broker does not know how it runs. */
export interface Startable<Running extends Stoppable> {
  start(host: BrokerHost): Promise<Running>
}

export interface Stoppable {
  /** Does not wait for a handler of its own that calls it. */
  stop(): Promise<unknown>
  /** Settles when no part of it runs. */
  readonly done: Promise<unknown>
  /** Whether the calling code is one of its handlers, or is awaited by one. */
  readonly calledByHandler?: boolean
}

/** A backup that is complete and synced. */
export interface Backup {
  /** Where it is: an absolute path. */
  readonly directory: string
  /** Bytes copied. */
  readonly bytes: number
}

/**
 * A broker, as `connect` returns it: the same interface on every engine.
 *
 * Each method lists the codes of its own. Every method can also fail with the codes of every call, for example CLOSED
 * or UNAVAILABLE: `docs/errors.md` lists them.
 */
export interface Broker extends AsyncDisposable {
  /**
   * Store an event (or several, all or none). Resolves when it is durable: it survives `kill -9` and power loss. If the
   * id was published before within the channel's window, nothing is stored and the receipt says `duplicate`.
   *
   * @throws INVALID_OPTION when an option is wrong, or there are more than 65,536 events · INVALID_EVENT when an event
   * is not a valid CloudEvent, its data cannot be stored as JSON, or it has no key and the channel needs one ·
   * SCHEMA_MISMATCH when its data does not satisfy its schema · EVENT_TOO_LARGE when it is larger than the channel
   * allows, or several are larger than 8 MiB together · TYPE_NOT_CARRIED when the channel does not carry its type ·
   * UNKNOWN_CHANNEL when no channel of the given name is declared · CHANNEL_CONFLICT when the channel is declared in a
   * way that conflicts · INCOMPATIBLE_SCHEMA when a changed schema breaks the stored one · BACKPRESSURE when 64 MiB of
   * events wait for their commit already
   */
  publish<C extends Channel | string, E extends Publishable<C> | readonly Publishable<C>[]>(
    channel: C,
    event: E,
    options?: PublishOptions,
  ): Promise<ReceiptOf<E>>
  /**
   * Create channels before their first use. Publishing and consuming also create them.
   * @throws INVALID_OPTION when an argument is not a channel · CHANNEL_CONFLICT when a channel exists as another kind,
   * or with another `latestByKey` · INCOMPATIBLE_SCHEMA when a changed schema breaks the stored one
   */
  declare(...channels: readonly Channel[]): Promise<void>
  /**
   * Start an instance of a consumer. It runs until it is stopped or the broker closes.
   * @throws INVALID_OPTION when it is not a consumer, or has no handler · UNKNOWN_CHANNEL when no channel of a given
   * name is declared · CHANNEL_CONFLICT when a channel is declared in a way that conflicts · INCOMPATIBLE_SCHEMA when a
   * changed schema breaks the stored one · OFFSET_OUT_OF_RANGE when `from` is an offset beyond the end of a channel
   */
  start<Running extends Stoppable>(consumer: Startable<Running>): Promise<Running>
  /**
   * Read without consuming, in offset order. With the channel's definition, data is decoded by its schema, as a handler
   * gets it. With the channel's name, events come as they are stored.
   *
   * @throws INVALID_OPTION when an option is wrong · INVALID_NAME when the text cannot be the name of a channel ·
   * INVALID_PATTERN when `where` is malformed · UNKNOWN_CHANNEL when no channel of the name is declared ·
   * CHANNEL_CONFLICT when the channel is declared in a way that conflicts · INCOMPATIBLE_SCHEMA when a changed schema
   * breaks the stored one · OFFSET_OUT_OF_RANGE when `from` or `to` is an offset beyond the end · SCHEMA_MISMATCH when
   * a stored event does not satisfy the schema · INVALID_EVENT when a stored event cannot be decoded. The last two have
   * the `offset` in their details, so that reading can continue after it
   */
  read<C extends Channel | string>(channel: C, options?: ReadOptions): AsyncIterableIterator<Readable<C>>
  /**
   * Read several channels at once, by name and wildcard, without consuming. Each event comes with its channel's name:
   * in the order of the events' times, and with `follow` as they arrive, also from channels that a wildcard matches and
   * that are created later.
   *
   * @throws as `read` · INVALID_NAME when a wildcard is malformed
   * @example
   * ```ts no-run
   * import { connect } from 'millrace'
   *
   * const broker = await connect('file:./data')
   * const tail = broker.tail(['orders.*', 'payments'], { from: '1h' })
   * for await (const { channel, event } of tail) console.log(channel, event.type)
   * await broker.close()
   * ```
   */
  tail(
    channels: Channel | string | readonly (Channel | string)[],
    options?: ReadOptions,
  ): AsyncIterableIterator<TailedEvent>
  /**
   * What caused an event, by `causationid`, over all channels: its cause first, then that one's cause. Reads;
   * publishing pays nothing for it. `progress.complete` says at the end whether the beginning of the chain was reached;
   * an event that retention removed, or that a queue has done with, is not found.
   *
   * @throws INVALID_OPTION when an option or the offset is wrong · INVALID_NAME when a name or a wildcard is malformed
   * · UNKNOWN_CHANNEL when no channel of the name is declared · OFFSET_OUT_OF_RANGE when there is no event at the
   * offset
   * @see effects
   */
  causes(channel: string | { readonly name: string }, offset: number, options?: RelatedOptions): RelatedEvents
  /**
   * All that an event caused, over all channels: what handlers and rules emitted for it, what was emitted for that, and
   * copies of these that rules forwarded. An event comes after its cause. The channels are read from the time at which
   * the event was stored, up to `scan` events; `progress` says how many it has looked at, and whether it has seen all.
   *
   * @throws as `causes`
   * @example
   * ```ts
   * import { connect, consumer, stream } from 'millrace'
   *
   * const [orders, mails] = [stream('orders'), stream('mails')]
   * const broker = await connect('memory:')
   * await broker.start(consumer('confirm', orders).onAny((event, ctx) => ctx.emit(mails, { type: 'mail.sent' })))
   * await broker.publish(orders, { type: 'order.placed', id: 'o-1' })
   * for await (const mail of broker.read(mails, { follow: true })) if (mail.causationid === 'o-1') break
   *
   * const effects = broker.effects(orders, 0)
   * for await (const { channel, event, distance } of effects) console.log(channel, event.type, distance)
   * effects.progress.complete // true
   * await broker.close()
   * ```
   */
  effects(channel: string | { readonly name: string }, offset: number, options?: RelatedOptions): RelatedEvents
  /** Channels, consumers, lag, rates, dead letters, alarms. */
  describe(): Promise<BrokerDescription>
  /** The alarms that last: of consumers here, of the engine, and of the server or the process that owns the data. */
  alarms(): Promise<readonly Alarm[]>
  /**
   * One channel: describe, read, delayed events, remove. Asks nothing until a method of the handle is called.
   * @throws INVALID_OPTION when it is not a channel or a name · INVALID_NAME when the text cannot be a name
   */
  channel<C extends Channel | string>(channel: C): ChannelHandle<C>
  /**
   * One consumer: describe, dead letters, rewind, pause, resume, remove. Asks nothing until a method of the handle is
   * called.
   * @throws INVALID_OPTION when it is not a consumer or a name · INVALID_NAME when the text cannot be a name
   */
  consumer(consumer: string | { readonly name: string }): ConsumerHandle
  /**
   * A table: the state that a consumer keeps for each key, or the latest event of each key of a stream with
   * `retain: { latestByKey: true }`. By key, by the beginning of keys, or followed. With the definition of the consumer
   * or of the stream, values are decoded, migrated and typed; with the name of either, they come as they are stored. A
   * name is that of a consumer with state, or else of a stream.
   *
   * @throws INVALID_OPTION when it is neither, or keeps nothing by key · INVALID_NAME when the text cannot be a name
   * @example
   * ```ts no-run
   * import { connect } from 'millrace'
   *
   * const broker = await connect('file:./data')
   * const stock = broker.table('stock')
   * console.log((await stock.get('tea'))?.value)
   * for await (const { key, value } of stock.entries({ prefix: 'tea-' })) console.log(key, value)
   * ```
   */
  table<Source extends TableSource>(of: Source): Table<TableValue<Source>>
  /**
   * The limits (clause 21) of the consumers that have been started since the engine was opened: their sizes, the keys
   * that use them, and the events that wait for them.
   * @throws CLAUSE_REFUSED when the engine has no limits
   */
  limits(): Promise<readonly LimitState[]>
  /**
   * Give a limit another size while its consumers run, or with `null` the one that they declare. It holds at once, is
   * stored, and is kept through restarts. A smaller limit does not stop what has begun.
   *
   * @param name as `limits()` lists it: the `share` of a shared limit
   * @throws INVALID_OPTION when the size is wrong, or of the other kind of limit · UNKNOWN_LIMIT when no consumer with
   * the limit was started · CLAUSE_REFUSED when the engine has no limits
   * @example
   * ```ts
   * import { connect, consumer, stream } from 'millrace'
   *
   * const broker = await connect('memory:')
   * const mails = stream('mails')
   * const sender = consumer('sender', mails, { rate: { events: 10, per: '1s', share: 'smtp' } })
   * await broker.start(sender.onAny(() => undefined))
   * const { max, declared } = await broker.setLimit('smtp', { events: 100, per: '1s' })
   * max // 100
   * declared.max // 10
   * await broker.close()
   * ```
   */
  setLimit(name: string, change: LimitChange | null): Promise<LimitState>
  /** The dead letters of a consumer: the same as `broker.consumer(consumer).deadLetters`. */
  deadLetters(consumer: string | { readonly name: string }): DeadLetters
  /**
   * Copy a data directory to a new one while it is in use. The copy shows one moment, and has everything that was
   * acknowledged before the call. It is a data directory: to restore, open it. Events in flight at that moment have
   * used an attempt there, as after a crash.
   *
   * The process that owns the directory writes the copy. Commits continue meanwhile, until the journal (64 MiB) is
   * full.
   *
   * @throws INVALID_OPTION when the directory is not empty, or this broker keeps no files on this machine · FORBIDDEN
   * when the broker is reached over a network
   * @example
   * ```ts no-run
   * import { connect } from 'millrace'
   *
   * const broker = await connect('file:./data')
   * const { bytes } = await broker.backup('./backups/monday')
   * ```
   */
  backup(directory: string): Promise<Backup>
  /**
   * Publish a request, and wait for the reply of the consumer that handles it: its handler calls `ctx.reply(event)`.
   * The reply is stored with the completion of the request, or not at all. A request is an event like any other: a
   * handler may run more than once, and it runs also if the time is over.
   *
   * @throws REQUEST_TIMEOUT when no reply came in time; one that comes later is dropped · REQUEST_FAILED when the
   * consumer gave up on the request · TYPE_NOT_CARRIED when the reply is not one of `options.reply` · SCHEMA_MISMATCH
   * when its data does not satisfy its schema · INVALID_OPTION when an option is wrong · BACKPRESSURE when 10,000
   * requests wait already · as `publish`
   * @example
   * ```ts
   * import { connect, consumer, event, queue } from 'millrace'
   * import { z } from 'zod'
   *
   * const IsFree = event('seat.is-free', z.object({ seat: z.string() }))
   * const Answer = event('seat.answer', z.object({ free: z.boolean() }))
   * const seats = queue('seats', { events: [IsFree] })
   * const broker = await connect('memory:')
   * const office = consumer('box-office', seats)
   * await broker.start(office.on(IsFree, ({ data }, ctx) => ctx.reply(Answer({ free: data.seat !== 'A1' }))))
   *
   * const { data } = await broker.request(seats, IsFree({ seat: 'B7' }), { reply: Answer, timeout: '2s' })
   * data.free // true
   * await broker.close()
   * ```
   */
  request<C extends Channel | string, D extends AnyEventDefinition = AnyEventDefinition>(
    channel: C,
    event: Publishable<C>,
    options?: RequestOptions<D>,
  ): Promise<ReplyOf<D>>
  /**
   * Publish a request to a stream, and gather the replies of its consumers: until `answers` of them have answered, or
   * the time is over, which is no error here. A consumer that gave up on the request is among `problems`.
   *
   * @throws as `request`
   */
  requestMany<C extends Channel | string, D extends AnyEventDefinition = AnyEventDefinition>(
    channel: C,
    event: Publishable<C>,
    options?: RequestManyOptions<D>,
  ): Promise<Replies<ReplyOf<D>>>
  /** How many requests wait here now, and how many replies came too late since the broker was connected. */
  readonly requests: RequestCounts
  /**
   * Create a schedule, or replace the one of that name, and run it in this process until the broker closes. Each of its
   * times publishes one event to the channel, whatever dies or restarts, and however many processes run the schedule.
   *
   * The event is given as data, or as a function that makes it. As data it is stored with the schedule, so that any
   * process that runs schedules publishes it. A function runs only in processes that have it: each of them makes this
   * call when it starts. While no such process runs, times pass, and `missed` decides about them.
   *
   * The event's id is the name and the time, as in `daily-report/2026-03-01T06:00:00.000Z`. It has the attributes
   * `schedule` and `scheduledtime`.
   *
   * @throws INVALID_OPTION when something is wrong, or no time lies ahead · INVALID_NAME when the name cannot be one ·
   * UNKNOWN_CHANNEL when no channel of the given name is declared · CHANNEL_CONFLICT when the channel is declared in a
   * way that conflicts · as `publish`, when the channel refuses the event
   * @example
   * ```ts
   * import { connect, event, stream } from 'millrace'
   *
   * const ReportDue = event('report.due')
   * const reports = stream('reports', { events: [ReportDue] })
   * const broker = await connect('memory:')
   * const { next } = await broker.schedule(
   *   'daily-report',
   *   { cron: '0 7 * * 1-5', timeZone: 'Europe/Berlin' },
   *   reports,
   *   ({ time }) => ReportDue({ day: time.toISOString().slice(0, 10) }),
   * )
   * console.log(next) // the next working day at seven
   * await broker.close()
   * ```
   * @see schedules
   */
  schedule<C extends Channel | string>(
    name: string,
    when: When,
    channel: C,
    event: Publishable<C> | MakeEvent<C>,
  ): Promise<ScheduleDescription>
  /** The schedules: list, create, pause, resume, run now, remove; and run those that exist, in this process. */
  readonly schedules: Schedules
  /** @deprecated Use `broker.channel(channel).delayed`. */
  delayed(channel: Channel | string): DelayedEvents
  /** @deprecated Use `broker.consumer(consumer).rewind(to, options)`. */
  rewind(consumer: string | { readonly name: string }, to: From, options?: RewindOptions): Promise<void>
  /** @deprecated Use `broker.consumer(consumer).pause(options)`. */
  pause(consumer: string | { readonly name: string }, options?: PauseOptions): Promise<void>
  /** @deprecated Use `broker.consumer(consumer).resume()`. */
  resume(consumer: string | { readonly name: string }): Promise<void>
  /** @deprecated Use `broker.consumer(consumer).remove()`. */
  removeConsumer(consumer: string | { readonly name: string }): Promise<void>
  /** @deprecated Use `broker.channel(channel).remove()`. */
  removeChannel(channel: Channel | string): Promise<void>
  /**
   * Drain running consumers, make everything durable, and release the data. Later calls get CLOSED. If a handler calls
   * it, it does not wait for that handler, and the data is released after the handler.
   */
  close(): Promise<void>
}

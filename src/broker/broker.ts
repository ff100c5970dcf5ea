/**
 * The broker as an application holds it: the same on every engine.
 */

import type { Duration } from '../base/units.ts'
import type { Channel, DefinitionsOf, EventFor } from '../channel/channel.ts'
import type { EventAttributes, StoredEvent } from '../event/cloud-event.ts'
import type { AnyEventDefinition, OutputOf, TypeOf } from '../event/event.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import type { AlarmList } from './alarm-list.ts'
import type { DelayedEvent, DelayedQuery } from './delays.ts'
import type { BrokerDescription, DeadLetter, DeadLetterQuery } from './description.ts'
import type { Engine, Receipt } from './engine.ts'
import type { EventEncoder } from './event-encoder.ts'
import type { Log } from './log.ts'

/** Hold the event back: it is not seen before, and soon after. One of the two; none of them is "now". */
export interface PublishOptions {
  /** From now. */
  readonly delay?: Duration
  /** Until then. */
  readonly at?: Date | number
}

/** Where to read from: a word, an offset, a time, or an age (`'1h'` is "an hour ago"). */
export type From = 'beginning' | 'end' | number | Date | Exclude<Duration, number>

export interface ReadOptions {
  /** @default 'beginning' */
  readonly from?: From
  /** Stop before it. @default the end, as it is when reading starts; with `follow`, never */
  readonly to?: From
  /** Only events that match, in the event-pattern language, over the whole CloudEvent. */
  readonly where?: PatternJson
  /** Go on with new events until the loop is left or the broker closes. @default false */
  readonly follow?: boolean
  /** Ends the reading. */
  readonly signal?: AbortSignal
}

/** An event of one of several channels. */
export interface TailedEvent {
  readonly channel: string
  readonly event: StoredEvent
}

export interface RewindOptions {
  /** In this channel only. @default every stream that it consumes */
  readonly channel?: string | { readonly name: string }
}

/** An event as `publish` takes it for a channel known only by name, or one that carries anything. */
export interface LooseEvent extends Omit<EventAttributes, 'id' | 'time'> {
  readonly specversion?: '1.0'
  readonly id?: string
  readonly type: string
  /** When it happened; `null` for an event that does not say. @default now */
  readonly time?: string | Date | null
  readonly data?: unknown
  readonly data_base64?: string
}

/** The events that a channel takes. */
export type Publishable<C> = C extends Channel ? ([AnyEventDefinition] extends [DefinitionsOf<C>] ? LooseEvent : EventFor<DefinitionsOf<C>>) : LooseEvent

/** What publishing answers: a receipt, or for several events one each. */
export type ReceiptOf<E> = E extends readonly unknown[] ? Receipt[] : Receipt

/** The events that a channel gives back. */
export type Readable<C> = C extends Channel
  ? [AnyEventDefinition] extends [DefinitionsOf<C>]
    ? StoredEvent
    : DefinitionsOf<C> extends infer Definition
      ? Definition extends AnyEventDefinition
        ? StoredEvent<TypeOf<Definition>, OutputOf<Definition>>
        : never
      : never
  : StoredEvent

/** What a consumer gets of the broker that runs it. */
export interface BrokerHost {
  readonly engine: Engine
  readonly encoder: EventEncoder
  /** From 0 to 1, for jitter. */
  readonly random: () => number
  /** What a consumer that runs here has to say to the person on call. */
  readonly alarms: AlarmList
  readonly log: Log
}

/** What can be started on a broker: a consumer. The seam by which the broker need not know how consumers run. */
export interface Startable<Running extends Stoppable> {
  start(host: BrokerHost): Promise<Running>
}

export interface Stoppable {
  /** Called by one of its own handlers, it does not wait for that one. */
  stop(): Promise<unknown>
  /** Settles when nothing of it runs any more. */
  readonly done: Promise<unknown>
  /** Whether the code that asks is one of its handlers, or is awaited by one. */
  readonly calledByHandler?: boolean
}

/** The dead letters of one consumer. */
export interface DeadLetters {
  /** Oldest first. At most 1,000 unless `limit` says otherwise. */
  list(query?: DeadLetterQuery): Promise<DeadLetter[]>
  /** Give them back to that consumer alone, in order; answers how many. */
  redrive(query?: DeadLetterQuery): Promise<number>
  /** Delete them; events that waited behind them go on. Answers how many. */
  drop(query?: DeadLetterQuery): Promise<number>
}

/** The events of one channel that wait for their time. */
export interface DelayedEvents {
  /** The soonest first. At most 1,000 unless `limit` (up to 10,000) says otherwise; the next page is `after` the last event of this one. */
  list(query?: DelayedQuery): Promise<DelayedEvent[]>
  /**
   * Take back the event with this id. `true`, when that is durable: it waited, and will never be stored. `false`: it does not wait; it is stored already, was
   * cancelled before, or was never there. The id of a cancelled event is new again: publishing it stores an event. A publish that was not answered when its
   * event was cancelled may be sent again by its process, and is a new one then.
   *
   * @throws INVALID_OPTION when it is no id · UNKNOWN_CHANNEL · DISK_FULL · STORE_FAILED · UNAVAILABLE (it may have been done) · CLOSED
   */
  cancel(id: string): Promise<boolean>
}

/** A backup that is complete and synced. */
export interface Backup {
  /** Where it is: an absolute path. */
  readonly directory: string
  /** Bytes copied. */
  readonly bytes: number
}

export interface Broker extends AsyncDisposable {
  /**
   * Store an event (or several, all or none). Resolves when it is durable: it survives `kill -9` and power loss. Publishing an id
   * again within the channel's window stores nothing and says `duplicate`.
   *
   * @throws SCHEMA_MISMATCH · INVALID_EVENT · EVENT_TOO_LARGE · TYPE_NOT_CARRIED · UNKNOWN_CHANNEL · CHANNEL_CONFLICT · BACKPRESSURE · DISK_FULL · STORE_FAILED · CLOSED
   */
  publish<C extends Channel | string, E extends Publishable<C> | readonly Publishable<C>[]>(
    channel: C,
    event: E,
    options?: PublishOptions,
  ): Promise<ReceiptOf<E>>
  /** Create channels ahead of their first use. Publishing and consuming do it by themselves. @throws CHANNEL_CONFLICT */
  declare(...channels: readonly Channel[]): Promise<void>
  /** Start a consumer, which then runs until it is stopped or the broker closes. */
  start<Running extends Stoppable>(consumer: Startable<Running>): Promise<Running>
  /**
   * Read without consuming, in offset order. Data is decoded by the schema of the channel's definition, as a handler gets it; by the channel's name alone, events
   * are given as they are stored.
   *
   * @throws UNKNOWN_CHANNEL · INVALID_OPTION · INVALID_PATTERN · OFFSET_OUT_OF_RANGE · SCHEMA_MISMATCH · INVALID_EVENT; the last two name the `offset` in their
   * details, so that reading can go on behind it
   */
  read<C extends Channel | string>(channel: C, options?: ReadOptions): AsyncIterableIterator<Readable<C>>
  /**
   * Read several channels at once, and all that a wildcard matches, without consuming. Each event comes with its channel's name: in the order of the events'
   * times, and with `follow` as they come, also from channels that are created meanwhile and that a wildcard matches.
   *
   * @throws as `read`, and INVALID_NAME when a wildcard is malformed
   * @example
   * ```ts no-run
   * import { connect } from 'millrace'
   *
   * const broker = await connect('file:./data')
   * for await (const { channel, event } of broker.tail(['orders.*', 'payments'], { from: '1h' })) console.log(channel, event.type)
   * await broker.close()
   * ```
   */
  tail(channels: Channel | string | readonly (Channel | string)[], options?: ReadOptions): AsyncIterableIterator<TailedEvent>
  /** Channels, consumers, lag, rates, dead letters, alarms. */
  describe(): Promise<BrokerDescription>
  deadLetters(consumer: string | { readonly name: string }): DeadLetters
  /**
   * The events of a channel that were published with `delay` or `at`, or emitted so, and are not due yet: list them, and cancel one by its id. An event is stored
   * or cancelled, and never both, whoever else cancels it and whatever dies meanwhile. To replace an event, cancel it, and publish the other.
   *
   * @example
   * ```ts no-run
   * import { connect } from 'millrace'
   *
   * const broker = await connect('file:./data')
   * const [next] = await broker.delayed('reminders').list({ key: 'cart-7', limit: 1 })
   * if (next !== undefined) await broker.delayed('reminders').cancel(next.id)
   * ```
   */
  delayed(channel: string | { readonly name: string }): DelayedEvents
  /**
   * Move a consumer to another place, running or not, in all of its streams or in one. What it had in hand is delivered again from there.
   *
   * @throws UNKNOWN_CONSUMER · UNKNOWN_CHANNEL · OFFSET_OUT_OF_RANGE · INVALID_OPTION when it is not a consumer of that channel, or the channel is a queue, which
   * forgets what is done
   */
  rewind(consumer: string | { readonly name: string }, to: From, options?: RewindOptions): Promise<void>
  /**
   * Pause a consumer as a whole: no instance of it, in any process, is given an event until `resume`. What handlers have in hand goes on to its end.
   * The pause is durable: it outlives restarts, and `describe()` shows it with its reason.
   *
   * @throws UNKNOWN_CONSUMER when no consumer of the name was ever started · CLOSED
   * @example
   * ```ts no-run
   * import { connect } from 'millrace'
   *
   * const broker = await connect('file:./data')
   * await broker.pause('billing', { reason: 'the bank is down' })
   * await broker.resume('billing')
   * ```
   */
  pause(consumer: string | { readonly name: string }, options?: { readonly reason?: string }): Promise<void>
  /** Let a paused consumer go on where it was. @throws UNKNOWN_CONSUMER · CLOSED */
  resume(consumer: string | { readonly name: string }): Promise<void>
  /**
   * Copy a data directory that is in use to a new one, while everything goes on: a copy of one moment, with all that was acknowledged before the call. The copy
   * is a data directory: restoring is opening it. Events in handlers' hands at that moment have used an attempt there, as after a crash.
   *
   * The process that owns the directory writes the copy. Commits go on meanwhile, until the journal (64 MiB) is full.
   *
   * @throws INVALID_OPTION when the directory is not empty, or this broker keeps no files on this machine · FORBIDDEN over a network · DISK_FULL · CLOSED
   * @example
   * ```ts no-run
   * import { connect } from 'millrace'
   *
   * const broker = await connect('file:./data')
   * const { bytes } = await broker.backup('./backups/monday')
   * ```
   */
  backup(directory: string): Promise<Backup>
  /** Forget a stopped consumer: its position, retries and dead letters. */
  removeConsumer(consumer: string | { readonly name: string }): Promise<void>
  /** Delete a channel and its events. */
  removeChannel(channel: string | { readonly name: string }): Promise<void>
  /**
   * Drain running consumers, make everything durable, let go of the data. Calls after it get CLOSED. A handler may call it: then it does not wait for that
   * handler, and the data is let go of after it.
   */
  close(): Promise<void>
}

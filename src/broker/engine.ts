/**
 * The port: what an engine must do so that the contract (docs/contract.md) holds on it.
 *
 * An engine stores and delivers encoded events. It has no schemas, handlers or retry policies. It guarantees
 * durability,
 * order by key across all instances, leases, attempts, dead letters, delay, deduplication and emit-once; the broker
 * above it validates and encodes, the consumer's runner above it calls handlers and decides when to try again.
 */
import type { Clock } from '../base/clock.ts'
import type { MillraceError } from '../base/errors.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import type { EventInBlock } from '../event/event-in-block.ts'
import type { TypeVersion } from '../event/event-version.ts'
import type { Capabilities } from './capabilities.ts'
import type { Carriage } from './carriage.ts'
import type { Consumers } from './consumers.ts'
import type { Delays } from './delays.ts'
import type { Alarm, ChannelState, EngineDescription } from './description.ts'
import type { EncodedEvent } from './encoded-event.ts'
import type { Failure } from './failure.ts'
import type { LimitSize, Limits } from './limits.ts'
import type { Position } from './position.ts'
import type { PublishLoad } from './publish-load.ts'
import type { Receipt } from './receipt.ts'
import type { Want } from './want.ts'

/** A stored event as an engine reads it. */
export interface StoredText extends EncodedEvent {
  readonly offset: number
  /** When it was stored, in milliseconds since the epoch. */
  readonly timeMs: number
}

export interface Bounds {
  /** Offset of the oldest event kept, or `next` when there is none. */
  readonly first: number
  /** Offset that the next event will have: above the offset of every event. */
  readonly next: number
}

export interface EngineReadOptions {
  readonly from: Position
  /** Stop before this position; `null` is "at the end as it is when reading starts". */
  readonly to: Position | null
  /** Continue with new events until the signal aborts. */
  readonly follow: boolean
  readonly signal: AbortSignal
}

/** What happens to a key after its event was dead-lettered: clause 6. */
export type OnDead = 'park' | 'skip' | 'block'

/** An event for which a consumer's own key function failed: it becomes a dead letter. */
export interface Unkeyed {
  readonly failed: Failure
}

/** A consumer's own key of an event of a channel; null where it has none. Never throws. */
export type OwnKey = (event: StoredText, channel: string) => string | null | Unkeyed

/** A limit of a consumer (clause 21). */
export interface FlowLimit extends LimitSize {
  readonly kind: 'concurrency' | 'rate'
  /** Consumers that name the same limit share it. */
  readonly name: string
  /** What is limited apart from each other; null: the event is not limited. Absent: all events together. */
  readonly keyOf?: OwnKey
}

export interface ConsumerSpec {
  readonly name: string
  /** Channel names and wildcards; channels created later that match are taken too. */
  readonly channels: readonly string[]
  /** An event is delivered if it matches any of these. */
  readonly wants: readonly Want[]
  /** Where the consumer begins in a channel that is new to it. Not used afterwards. */
  readonly from: Position
  /**
   * What happens to later events behind a dead letter; `null` is `park` for events with a key and `skip` for those
   * without.
   */
  readonly onDead: OnDead | null
  /**
   * The key that orders the consumer's events, in place of the keys of their channels (clause 4). A function, so an
   * engine that decides in another process refuses it. Absent: the channels' keys.
   */
  readonly keyOf?: OwnKey
  /** The limits under which its events begin (clause 21). Absent: none. */
  readonly limits?: readonly FlowLimit[]
  /** Deliveries this instance takes at once. */
  readonly credit: number
  /** Deliveries of one key that this instance may have in flight at once, in order: 1, or a handler batch's size. */
  readonly perKey: number
  /** The instance's deliveries go to others if it has not called `renew` for this time. */
  readonly leaseMs: number
  /** Attempts after which an event whose worker keeps dying is dead-lettered. */
  readonly attemptsMax: number
  /** The newest version that this instance knows, by type. It takes every version of the other types. */
  readonly versions?: Readonly<Record<string, number>>
  /** Reported as stalled when it has work and makes no progress for this time. */
  readonly stallMs: number
  /**
   * The consumer keeps state for each key (clause 19), in this channel, which the engine declares. A completion sets
   * the state of its event's key by an emission into the channel.
   */
  readonly state?: ChannelSpec
}

/** One event that is in flight in one instance, until it is settled. `key` is the key that orders it (`keyOf`). */
export interface Delivery extends StoredText {
  readonly channel: string
  /** 1 for the first. Stored with the event: survives restarts and moves between workers. */
  readonly attempt: number
  /** It comes from the dead letters. */
  readonly redriven: boolean
  /** For the sink's own use. An engine does not read it. */
  attachment: unknown
}

/** Which event, and its attempt. */
export type EventAttempt = Pick<Delivery, 'channel' | 'offset' | 'key' | 'id' | 'type' | 'attempt'>

/** The consumer's side of a subscription. */
export interface DeliverySink {
  /**
   * Whether it sends deliveries to another process. Such a sink gets its deliveries before the sinks whose handlers run
   * in this process, so that the other process works meanwhile.
   */
  readonly passesOn: boolean
  /**
   * New deliveries, at most as many as there is credit for. Not called before `subscribe` has resolved. Must not throw.
   */
  deliver(deliveries: readonly Delivery[]): void
  /** These deliveries are taken from this instance: it can no longer settle them. */
  revoked(deliveries: readonly Delivery[]): void
  /**
   * The engine moved an event to the consumer's dead letters instead of delivering it to this instance: its workers
   * died with it, up to its last attempt. It is not to be settled.
   */
  buried?(event: EventAttempt, failure: Failure): void
  /**
   * A completion for which the verb returned `true` was refused later: the delivery is in flight in this instance again
   * and must be settled once more. `emissions` are those of the completion. Only remote engines call this.
   */
  refused?(delivery: Delivery, emissions: readonly Emission[], error: MillraceError): void
}

/** Gets the result of a publish: the offset of its first event, or the error. */
export interface PublishWaiter {
  done(firstOffset: number): void
  fail(error: Error): void
}

/** An event that a handler emitted: stored with the completion of the delivery, or not at all. */
export interface Emission {
  readonly channel: string
  readonly event: EncodedEvent
  /** Milliseconds since the epoch; `null` is "now". */
  readonly dueAtMs: number | null
}

/** A delivery that an instance got from a former engine. */
export interface HeldClaim {
  readonly channel: string
  readonly offset: number
  readonly attempt: number
}

export type ClaimOutcome = 'kept' | 'done' | 'lost'

/**
 * An instance's subscription. Every delivery is settled once, by one of the five verbs. Settling is asynchronous and
 * coalesced; `flushed` resolves when all that was settled before is durable. A verb answers `false`, and does nothing,
 * when the delivery is no longer this instance's (its lease expired, its consumer was rewound): its emissions are
 * dropped with it.
 */
export interface Subscription {
  complete(delivery: Delivery, emissions: readonly Emission[] | null): boolean
  /** The attempt failed: deliver again after `delayMs`; events of its key wait. */
  retry(delivery: Delivery, delayMs: number, failure: Failure): boolean
  /** Give up: to the consumer's dead letters. */
  deadLetter(delivery: Delivery, failure: Failure): boolean
  /** Hand the delivery back unhandled: it does not count as an attempt. */
  release(delivery: Delivery): boolean
  /**
   * Hand the delivery back because this instance does not know the version of its event. It does not count as an
   * attempt. The event waits, and with it the later events of its key, until an instance that may know the version is
   * attached.
   */
  hold(delivery: Delivery, needs: TypeVersion): boolean
  /**
   * The state of the delivery's key, as the last completion of an event of this key left it, durable or not; null if
   * there is none. Only with `state` in the spec, and with a delivery that has a key and is in flight here.
   */
  stateOf(delivery: Delivery): EncodedEvent | null | Promise<EncodedEvent | null>
  /** Renews the instance's lease. The runner calls it several times in each `leaseMs`. */
  renew(): void
  /**
   * No new deliveries until `resume`; deliveries in flight may be settled. `why` is shown to people: the instance's
   * circuit breaker is open.
   */
  pause(why?: string): void
  resume(): void
  flushed(): Promise<void>
  /**
   * Why the consumer has work and has made no progress for its `stallMs`, as far as this process knows. Null when it
   * has no work, or makes progress.
   */
  stalled(): string | null
  /** The deliveries in flight in this instance. */
  readonly held: Iterable<Delivery>
  /**
   * Asked once, at the beginning, of an engine over data that another engine owned before. The claims are deliveries
   * that this instance got from that engine and still works on. `kept` ones are delivered once more, with the same
   * attempt, to this instance only. `done` ones were settled durably. `lost` ones belong to other instances, or the
   * engine cannot keep them.
   */
  claim(claims: readonly HeldClaim[]): ClaimOutcome[]
  /**
   * The engine is about to close, and the instance continues under the next owner of the data. Deliveries in flight are
   * neither released nor failed: the instance claims them there. Returns false if there is no next owner: the
   * caller then uses `close`.
   */
  abandon(): boolean
  /**
   * Releases the deliveries in flight, waits until everything that was settled is durable, and ends the subscription.
   */
  close(): Promise<void>
}

export interface TableScan {
  /** The keys begin with this text. */
  readonly prefix: string
  /** Begin after this key; null: at the first one. */
  readonly after: string | null
  readonly limit: number
}

/** Reads the latest event of a key, in streams that keep only this one. */
export interface Tables {
  /**
   * The latest durable event of a key; null if there is none.
   * @throws UNKNOWN_CHANNEL when there is no such channel · INVALID_OPTION when the stream keeps all events ·
   * CLAUSE_REFUSED when the engine has no tables
   */
  get(channel: string, key: string): Promise<StoredText | null>
  /** The latest durable event of each key, in the order of the keys' code points. @throws as `get` */
  scan(channel: string, query: TableScan): Promise<readonly StoredText[]>
}

/** The alarms that have begun and have not ended. */
export interface LastingAlarms {
  /** The alarms that this process knows, from memory: no server and no disk is asked. */
  readonly all: readonly Alarm[]
  /** These alarms, and those of the server or of the process that owns the data, which is asked. */
  ask(): Promise<readonly Alarm[]>
}

/**
 * How a statement publishes in a transaction of the application's own database, which is the engine's database, too.
 */
export interface InTransaction {
  readonly dialect: 'postgres'
  /** `$1`: the channel. `$2`: a JSON array of objects with `event`, a CloudEvent as JSON text, and `key`. */
  readonly statement: string
}

export interface Engine {
  /** Absent if the engine's data are not in a database that applications use. */
  readonly inTransaction?: InTransaction | undefined
  /** `memory`, `file`, `nats` … */
  readonly name: string
  readonly capabilities: Capabilities
  /** The clock by which this engine decides what is due. */
  readonly clock: Clock
  /** Whether a server records the actions of its clients in `$audit`, with the reasons that they give. */
  readonly recordsActions?: boolean
  /** Reads everything that the engine holds, and writes it unchanged. */
  readonly carriage: Carriage
  /** Describes and changes consumers, whether or not they run. */
  readonly consumers: Consumers
  /** Lists and cancels delayed events. */
  readonly delays: Delays
  /** Lists and changes the limits of consumers (clause 21). Absent where the engine refuses them. */
  readonly limits?: Limits
  /** Reads the latest event of a key. */
  readonly tables: Tables
  /**
   * Store events that are in encoded blocks, all or none, in order, next to each other. Their bytes are stored as they
   * are. `waiter` gets the result before any consumer gets an event, so that a server can send the receipt first.
   * Returns false, and does nothing, when an id may be known already or the engine cannot do this: use `publishBatch`.
   */
  publishBlocks(channel: string, events: readonly EventInBlock[], waiter: PublishWaiter): boolean
  /**
   * Create the channel, or merge the declaration into the stored one. @throws CHANNEL_CONFLICT when it cannot be merged
   */
  declare(spec: ChannelSpec): Promise<void>
  /** The spec of a declared channel, if there is one. */
  channel(name: string): Promise<ChannelSpec | undefined>
  /** All channels except internal ones. */
  channels(): Promise<readonly ChannelSpec[]>
  /**
   * Where a channel begins and ends. The cost does not depend on other channels, or on consumers.
   * @throws UNKNOWN_CHANNEL when there is no such channel
   */
  bounds(channel: string): Promise<Bounds>
  /**
   * Store one event; resolves when it is durable. The channel is declared. `dueAtMs` holds it back until then.
   * @throws UNKNOWN_CHANNEL when there is no such channel · BACKPRESSURE when too much waits for its commit · DISK_FULL
   * when there is no space · STORE_FAILED when the store failed · CLOSED when the engine is closed
   */
  publish(channel: string, event: EncodedEvent, dueAtMs: number | null): Promise<Receipt>
  /**
   * What publishing to a channel waits for now, the nearest first: in this process, and in the server that it publishes
   * to. A server of an earlier version does not say.
   */
  publishLoad(channel: string): Promise<readonly PublishLoad[]>
  /** Store several, all or none, in order, next to each other. */
  publishBatch(channel: string, events: readonly EncodedEvent[], dueAtMs: number | null): Promise<Receipt[]>
  /** Read without consuming. Yields batches in offset order; memory holds one batch at a time. */
  read(channel: string, options: EngineReadOptions): AsyncIterable<readonly StoredText[]>
  /**
   * Begin a subscription. The sink is not called before the promise has resolved and the functions that wait for it
   * have run: a subscriber needs no buffer for deliveries that come before it has its subscription.
   */
  subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Subscription>
  /** Delete a channel with its events. Its consumers continue without it. */
  removeChannel(channel: string, reason?: string): Promise<void>
  /**
   * Copy everything that is durable now to a directory of this machine, while work continues. Returns the number of
   * bytes. Absent on engines without files on this machine.
   * @throws INVALID_OPTION when the directory is not empty · DISK_FULL when there is no space
   */
  backup?(directory: string): Promise<{ readonly directory: string; readonly bytes: number }>
  /**
   * One channel. The cost does not depend on other channels, or on consumers.
   * @throws UNKNOWN_CHANNEL when there is no such channel
   */
  describeChannel(channel: string): Promise<ChannelState>
  /** Everything, for callers that want all of it. */
  describe(): Promise<EngineDescription>
  readonly alarms: LastingAlarms
  close(): Promise<void>
}

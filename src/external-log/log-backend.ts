/**
 * The port of engines over servers: what a backend for NATS, Kafka or Redis provides, so that `ExternalLogEngine` can
 * hold the contract.
 *
 * A backend is a log with a conditional write. It knows nothing of consumers. The engine keeps the owner of a
 * partition, and what is settled, retried, dead or emitted, in **consumer logs**. The conditional append to a consumer
 * log is the lease, the fence, the completion and the emission at once.
 *
 * Obligations, all tested by the conformance suite:
 * - What `append` and `appendConsumerLog` have answered survives the death of the servers (clause 1).
 * - Offsets are safe integers, unique in a channel, and grow within a partition. Some may be missing. An event becomes
 *   readable at its offset before or when `append` answers, and never later below an offset that `bounds` has answered
 *   as `next`.
 * - Reads and bounds come from the leader, not from a replica that is behind.
 * - A call that fails rejects with a `MillraceError`. Without a connection it waits and tries again for a bounded time,
 *   and then rejects with `UNAVAILABLE`.
 */
import type { Capabilities } from '../broker/capabilities.ts'
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { InTransaction } from '../broker/engine.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import type { BlockEvent } from '../event/block.ts'

/** The registration of a channel. Its format and its number of partitions never change. */
export interface ChannelEntry {
  /**
   * How events, consumer logs and dead letters of the channel are stored, and which function gives a key its partition:
   * the `CHANNEL_FORMAT` of the version that created the channel.
   */
  readonly format: number
  /** Different each time a channel of this name is created. */
  readonly incarnation: string
  readonly spec: ChannelSpec
  readonly partitions: number
}

/** An event on its way into a channel. */
export interface AppendItem {
  readonly partition: number
  readonly event: EncodedEvent
  /**
   * The event is stored once for this id within the channel's window. For emissions to channels without a window, that
   * is at least two minutes. Null: the event is not deduplicated.
   */
  readonly dedupeId: string | null
  /**
   * When the event was stored for the first time, elsewhere. A backend with `limits.keepsTimes` answers this time as
   * the record's `timeMs`, finds the event by it and applies retention to it. Other backends ignore it.
   */
  readonly timeMs?: number
}

export interface Appended {
  /** For a duplicate, the offset of the first event. */
  readonly offset: number
  readonly duplicate: boolean
  /**
   * Where the event's partition ended before it, if the backend knows that nothing stands between. With `timeMs`, the
   * time of storing, the owners of the partition need not read the event.
   */
  readonly before?: number
  readonly timeMs?: number
}

/**
 * A stored event. A record that is not a CloudEvent has an empty `type`, no key, and its bytes as text; it becomes a
 * dead letter.
 */
export interface StoredRecord {
  readonly offset: number
  /** When the event was stored, by the server's clock, in milliseconds since the epoch. */
  readonly timeMs: number
  readonly event: BlockEvent
}

/**
 * Events that were just appended to a partition. Nothing stands from `before`, where the partition ended, to the first
 * of them.
 */
export interface Tail {
  readonly before: number
  readonly records: readonly StoredRecord[]
}

/** A function that a backend calls after an append. */
export type OnAppend = (partition: number | null, next?: number, tail?: Tail) => void

export interface ReadLimit {
  readonly count: number
  readonly bytes: number
}

export interface Bounds {
  /** The offset of the oldest event, or `next` if there is none. */
  readonly first: number
  /** An offset above that of every event. */
  readonly next: number
}

/**
 * The content of a consumer log: small entries, from one writer at a time. The version grows with each entry; 0 is an
 * empty log.
 */
export interface ConsumerLogContent {
  readonly entries: readonly Uint8Array[]
  /** The version of the last entry. */
  readonly version: number
}

/** The consumer log has a later entry than the writer expected: another member owns the partition now. */
export class Fenced extends Error {
  override readonly name = 'Fenced'
}

/** Is told about the state of a backend's servers. */
export interface BackendListener {
  /**
   * A problem that a person should see, such as a lost connection or a setting that is too weak. One alarm for each
   * code.
   */
  alarm(code: string, message: string): void
  /** The problem is over. */
  cleared(code: string): void
}

export interface LogBackend {
  /** The name of the engine: `nats`, `kafka`, `redis`. */
  readonly name: string
  /** What this connection can do, as it was checked when it was made. */
  readonly capabilities: Capabilities
  /** The largest number of events in one atomic `append`, and the largest size of one event or consumer log entry. */
  readonly limits: {
    readonly batchEvents: number
    readonly entryBytes: number
    readonly keepsTimes?: boolean
    /**
     * How many appends to one channel may be under way at once. They are stored in the order in which they began.
     * @default 1
     */
    readonly appendsInFlight?: number
  }

  /** How a statement in an application's own transaction publishes, if the servers are a database. */
  readonly inTransaction?: InTransaction
  /** Called once by the engine. Problems that exist already are told at once. */
  listen?(listener: BackendListener): void

  /** All channels. */
  channels(): Promise<readonly ChannelEntry[]>
  /** One channel; null if there is none of this name. The cost does not depend on the other channels. */
  channel(name: string): Promise<ChannelEntry | null>
  /** Create a channel. A channel that exists stays as it is. */
  createChannel(entry: ChannelEntry): Promise<void>
  /**
   * Change retention, window, limits and types, if the channel is still registered as it was when it was read. Answers
   * whether it was; if not, nothing is changed.
   */
  updateChannel(entry: ChannelEntry, before: ChannelEntry): Promise<boolean>
  removeChannel(name: string): Promise<void>

  /**
   * Store events, in order within a partition. `atomic`: all or none, and at most `limits.batchEvents`. A duplicate is
   * not stored, and the other events are.
   * @throws UNKNOWN_CHANNEL · UNAVAILABLE · EVENT_TOO_LARGE · BACKPRESSURE
   */
  append(channel: string, items: readonly AppendItem[], atomic: boolean): Promise<readonly Appended[]>
  /**
   * Those of the ids that are within the channel's window, with the offsets of their events. Asked for delayed events
   * only. Calls for one channel are answered in their order: events of one time are stored in it.
   */
  known(channel: string, ids: readonly string[]): Promise<ReadonlyMap<string, number>>
  /**
   * Events at and after an offset, in offset order, of one partition or (null) of all. Fewer events or bytes than the
   * limit are answered only at the end of the log.
   */
  read(channel: string, partition: number | null, from: number, limit: ReadLimit): Promise<readonly StoredRecord[]>
  bounds(channel: string, partition: number | null): Promise<Bounds>
  /** The offset of the first event that was stored at or after a time, or `next`. */
  seek(channel: string, partition: number | null, timeMs: number): Promise<number>
  /** The number of events of a partition at and after an offset. */
  pendingFrom(channel: string, partition: number, offset: number): Promise<number>
  /** Delete events below an offset, soon and with best effort. */
  trim(channel: string, partition: number, before: number): Promise<void>
  /** The approximate size of a channel's events in bytes; null if this account may not ask. */
  bytes(channel: string): Promise<number | null>
  /**
   * Call `onAppend` soon after any process has appended to the channel, with the partition, or null if it is not known.
   * With `next`, an offset that `bounds` could answer as such, the engine does not ask for the partition's bounds. With
   * `tail`, the engine does not read the new events either.
   */
  watch(channel: string, onAppend: OnAppend): Promise<() => void>

  readConsumerLog(id: string): Promise<ConsumerLogContent>
  /**
   * Append an entry if the version of the consumer log is still `expected`. Answers the new version.
   * @throws Fenced when it is not. After any other failure the entry may be stored: the engine reads the consumer log
   * to find out.
   */
  appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number>
  /** Delete entries before a version, with best effort. The version itself stays. */
  trimConsumerLog(id: string, before: number): Promise<void>
  /** The ids of all consumer logs. */
  consumerLogs(): Promise<readonly string[]>
  removeConsumerLog(id: string): Promise<void>

  /** A heartbeat of a member of a group. `text` is different in each call. The servers may forget it after `ttlMs`. */
  beat(group: string, member: string, text: string, ttlMs: number): Promise<void>
  leave(group: string, member: string): Promise<void>
  /** The last heartbeat of each member of a group. */
  members(group: string): Promise<ReadonlyMap<string, string>>

  close(): Promise<void>
}

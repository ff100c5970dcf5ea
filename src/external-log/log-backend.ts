/**
 * The port of engines over other people's brokers: what NATS, Kafka or Redis must bring so that `ExternalLogEngine` holds the contract on it.
 *
 * A backend is a log with a conditional write. It knows nothing of consumers: who owns a partition, what is settled, retried, dead or emitted is
 * kept by the engine in **consumer logs**, and a consumer log's conditional append is at once the lease, the fence, the completion and the emission.
 *
 * Obligations, all of them tested by the conformance suite:
 * - What `append` and `appendConsumerLog` have answered survives the servers' death (clause 1).
 * - Offsets are safe integers, unique in a channel, and grow within a partition; they need not be dense. An event becomes readable at its offset
 *   before or when `append` answers, and never afterwards below an offset that `bounds` has called `next`.
 * - Reads and bounds are of the leader, not of a lagging copy.
 * - A call that fails rejects with a `MillraceError`; where the connection is down it waits and tries again for a bounded time, then rejects with `UNAVAILABLE`.
 */
import type { Capabilities } from '../broker/capabilities.ts'
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import type { BlockEvent } from '../event/block.ts'

/** A channel as it is registered. Its format and its number of partitions never change. */
export interface ChannelEntry {
  /** How events, consumer logs and dead letters of the channel are stored, and by which function keys have partitions: `CHANNEL_FORMAT` of who created it. */
  readonly format: number
  /** Another one each time a channel of this name is created. */
  readonly incarnation: string
  readonly spec: ChannelSpec
  readonly partitions: number
}

/** An event on its way into a channel. */
export interface AppendItem {
  readonly partition: number
  readonly event: EncodedEvent
  /** Stored once for this id within the channel's window (of at least two minutes for emissions to channels without one); null: not deduplicated. */
  readonly dedupeId: string | null
  /** When it was stored first, elsewhere. A backend with `limits.keepsTimes` answers it as the record's `timeMs`, finds it by it and lets retention go by it; others leave it. */
  readonly timeMs?: number
}

export interface Appended {
  /** Of a duplicate, the first one's. */
  readonly offset: number
  readonly duplicate: boolean
  /** Where its partition ended before it, if the backend knows that nothing stands between; with `timeMs`, when it was stored. Spares those who work on it the reading. */
  readonly before?: number
  readonly timeMs?: number
}

/** A stored event. What cannot be read as a CloudEvent has an empty `type`, no key, and its bytes as text: it goes to dead letters. */
export interface StoredRecord {
  readonly offset: number
  /** When it was stored, in milliseconds since the epoch, by the server's clock. */
  readonly timeMs: number
  readonly event: BlockEvent
}

/** Events that were just appended to a partition, with an offset from which on there is nothing before them: where it ended. */
export interface Tail {
  readonly before: number
  readonly records: readonly StoredRecord[]
}

/** Told of an append. */
export type OnAppend = (partition: number | null, next?: number, tail?: Tail) => void

export interface ReadLimit {
  readonly count: number
  readonly bytes: number
}

export interface Bounds {
  /** Offset of the oldest event, or `next` when there is none. */
  readonly first: number
  /** An offset above every event's. */
  readonly next: number
}

/** A consumer log: small entries of one writer at a time. Versions grow with each entry; 0 is "empty". */
export interface ConsumerLogContent {
  readonly entries: readonly Uint8Array[]
  /** Of the last entry. */
  readonly version: number
}

/** The consumer log has a later entry than the one that was expected: somebody else owns it now. */
export class Fenced extends Error {
  override readonly name = 'Fenced'
}

/** Who is told of the state of a backend's servers. */
export interface BackendListener {
  /** Something needs a person, or may soon: no connection, a setting that is weaker than it should be. One alarm for each code. */
  alarm(code: string, message: string): void
  /** It is over. */
  cleared(code: string): void
}

export interface LogBackend {
  /** As in the URL: `nats`, `kafka`, `redis`. */
  readonly name: string
  /** Of this connection, as checked when it was made. */
  readonly capabilities: Capabilities
  /** Most events of one atomic `append`, and most bytes of one event or consumer log entry. */
  readonly limits: {
    readonly batchEvents: number
    readonly entryBytes: number
    readonly keepsTimes?: boolean
    /** Appends to one channel that may be under way at once, stored in the order in which they were begun. @default 1 */
    readonly appendsInFlight?: number
  }

  /** Called once, by the engine that works on this backend: what is already wrong is told at once. */
  listen?(listener: BackendListener): void

  /** All channels. */
  channels(): Promise<readonly ChannelEntry[]>
  /** Create a channel; one that exists already stays as it is. */
  createChannel(entry: ChannelEntry): Promise<void>
  /** Change retention, window, limits and types, if the channel is still registered as it was when it was read. Answers whether it was: otherwise nothing changed. */
  updateChannel(entry: ChannelEntry, before: ChannelEntry): Promise<boolean>
  removeChannel(name: string): Promise<void>

  /**
   * Store events, in order within a partition. `atomic`: all or none, and at most `limits.batchEvents`. Duplicates are not stored and do not fail the others.
   * @throws UNKNOWN_CHANNEL · UNAVAILABLE · EVENT_TOO_LARGE · BACKPRESSURE
   */
  append(channel: string, items: readonly AppendItem[], atomic: boolean): Promise<readonly Appended[]>
  /** Of these ids those that are within the channel's window, with the offset of their event. Asked of delayed events only. */
  known(channel: string, ids: readonly string[]): Promise<ReadonlyMap<string, number>>
  /** Events at and after an offset, in offset order, of one partition or (null) of all; fewer than the limit's count or bytes only at the end. */
  read(channel: string, partition: number | null, from: number, limit: ReadLimit): Promise<readonly StoredRecord[]>
  bounds(channel: string, partition: number | null): Promise<Bounds>
  /** Offset of the first event stored at or after a time, or `next`. */
  seek(channel: string, partition: number | null, timeMs: number): Promise<number>
  /** How many events a partition has at and after an offset. */
  pendingFrom(channel: string, partition: number, offset: number): Promise<number>
  /** Delete events below an offset. Best effort, soon. */
  trim(channel: string, partition: number, before: number): Promise<void>
  /** Bytes of a channel's events, about; null where this account may not ask. */
  bytes(channel: string): Promise<number | null>
  /**
   * Be told soon after something was appended to the channel, by anyone: of which partition, or null where that is not known. With `next`, an
   * offset that `bounds` would answer as such, the partition is not asked for it again; with `tail`, what stands there is not read again either.
   */
  watch(channel: string, onAppend: OnAppend): Promise<() => void>

  readConsumerLog(id: string): Promise<ConsumerLogContent>
  /**
   * Append an entry if the consumer log's version is still `expected`, and answer the new version.
   * @throws Fenced when it is not. Any other failure leaves open whether the entry is there: the engine reads the consumer log to find out.
   */
  appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number>
  /** Delete entries before a version, which stays. Best effort. */
  trimConsumerLog(id: string, before: number): Promise<void>
  /** Ids of consumer logs that begin with a text. */
  consumerLogs(prefix: string): Promise<readonly string[]>
  removeConsumerLog(id: string): Promise<void>

  /** Say that a member of a group lives. `text` differs at each call; it may be forgotten `ttlMs` later. */
  beat(group: string, member: string, text: string, ttlMs: number): Promise<void>
  leave(group: string, member: string): Promise<void>
  /** What each member of a group said last. */
  members(group: string): Promise<ReadonlyMap<string, string>>

  close(): Promise<void>
}

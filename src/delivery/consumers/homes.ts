/**
 * The port between an engine and what people do to a consumer from outside, which this folder implements for all
 * engines.
 *
 * A **home** holds the state of a consumer in one log. The embedded engine has one log for each channel; an engine
 * over servers has one for each partition of a channel. The workers of a queue share a home, whatever the names of
 * their consumers.
 *
 * The state of a home is read from its cursor, if the consumer runs in this process, and otherwise from its records.
 * It is changed through a cursor: the running one, or one that is opened for the change. How a cursor is opened, and
 * what happens to an owner in another process, is up to the engine.
 */
import type { Clock } from '../../base/clock.ts'
import type { ConsumerPause, InstanceCounts } from '../../broker/description.ts'
import type { Bounds } from '../../broker/engine.ts'
import type { Position } from '../../broker/position.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import type { Cursor } from '../cursor/cursor.ts'
import type { LetterReader } from '../dead/letter-records.ts'
import type { Instance } from '../dispatch/instance.ts'
import type { Records } from './carried-state.ts'

export interface Home {
  /** The group in the keys of its records: the consumer's name, or `QUEUE_GROUP`. */
  readonly group: string
  readonly channel: Pick<ChannelSpec, 'name' | 'kind'>
  /** The log's number in the keys of its records. */
  readonly logId: number
}

/** The present state of a home, for reading. */
export interface HomeState {
  readonly records: Records
  /** Reads the texts of dead letters, where the records do not have them. */
  readonly letters?: LetterReader
  /** The cursor, if the consumer runs in this process. */
  readonly cursor: Cursor | null
  /** The consumers that have worked on the queue; empty for a stream. */
  readonly workers: readonly string[]
  /** How many emissions of settled events are not in their channels yet. */
  readonly unsent: number
  /** How many events of the log have this offset or a higher one. */
  pending(from: number): Promise<number>
  /** When the first event at or after an offset was stored; null where there is no such event. */
  storedAtMs(from: number): Promise<number | null>
}

/** A home, open for a change. */
export interface OpenHome {
  readonly cursor: Cursor
  /** Resolves when the change is durable. */
  flushed(): Promise<void>
  /** Remove a consumer from the workers of the queue. */
  forgetWorker(consumer: string): void
}

/** What an instance has counted, and the consumer that it is of. */
export interface CountedInstance extends InstanceCounts {
  readonly consumer: string
}

/** The instances of a consumer in another process, as that process reported them last. */
export interface Elsewhere {
  readonly instances: number
  readonly inFlight: number
  readonly rate: number
  readonly paused: boolean
  /** What its instances have counted. Processes of earlier versions do not say. */
  readonly counted?: readonly CountedInstance[]
}

export interface Homes<H extends Home = Home> {
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  /** Read what other processes have changed. Called before every other method, except after `of`. @throws CLOSED */
  look(): Promise<void>
  /** The names of all declared channels. */
  readonly declared: readonly string[]
  /**
   * The homes of a consumer: its own in streams, and those of the queues that it has worked on. Reads what other
   * processes have changed in them, and the pauses. @throws CLOSED
   */
  of(consumer: string): Promise<readonly H[]>
  /** The homes of all consumers. */
  list(): Promise<readonly H[]>
  read(home: H): Promise<HomeState>
  /** Resolves when `read` sees everything that this process has settled there. */
  flushed(home: H): Promise<void>
  /**
   * Open the home for a change. If another process takes it meanwhile, `change` is called again. @throws UNAVAILABLE
   */
  change(home: H, change: (open: OpenHome) => Promise<void>): Promise<void>
  /** Delete everything that a consumer has in a stream. Resolves when that is durable. */
  remove(home: H): Promise<void>
  /** All that the consumer had is deleted. */
  removed(consumer: string): Promise<void>
  /** Whether the consumer keeps state (clause 19). */
  keepsState(consumer: string): Promise<boolean>
  /** Delete all states of the consumer. They are gone with the changes that are made in this turn. */
  resetState(consumer: string): void
  /** The offset that a position names in the home's log. @throws OFFSET_OUT_OF_RANGE */
  seek(home: H, position: Position): Promise<number>
  /** The log of a channel that has the event at an offset. */
  logAt(channel: string, offset: number): Promise<number>
  /** The bounds of the whole channel. */
  bounds(channel: string): Promise<Bounds>
  /** The instances of a consumer in this process. */
  here(consumer: string): readonly Instance[]
  /** The instances of a consumer in other processes. */
  elsewhere(consumer: string, homes: readonly H[]): Promise<readonly Elsewhere[]>
  pauseOf(consumer: string): ConsumerPause | null
  /** The names of all paused consumers, also of those without a channel. */
  readonly paused: readonly string[]
  /** Resolves when the change is durable and running instances know it. */
  setPause(consumer: string, pause: ConsumerPause | null, homes: readonly H[]): Promise<void>
}

/** Homes in the order in which descriptions show them: by channel, then by partition. */
export function inOrder<H extends Home>(homes: readonly H[]): H[] {
  return [...homes].sort((a, b) =>
    a.channel.name === b.channel.name ? a.logId - b.logId : a.channel.name < b.channel.name ? -1 : 1,
  )
}

/**
 * The port between what people do to a consumer (written once, in this folder) and an engine.
 *
 * A **home** is where the state of a consumer in one log is kept. The embedded engine has one log for each channel; an engine over servers has one for each
 * partition of a channel. The workers of a queue share a home, whatever the names of their consumers.
 *
 * The state of a home is looked at where it is: in the cursor, where the consumer works in this process, and otherwise in its records. It is changed
 * through a cursor: the one that works here, or one that is opened for the time of the change. How an engine opens it, and what becomes of an owner
 * elsewhere, is its own affair.
 */
import type { Clock } from '../../base/clock.ts'
import type { ConsumerPause } from '../../broker/description.ts'
import type { Bounds } from '../../broker/engine.ts'
import type { Position } from '../../broker/position.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import type { Cursor } from '../cursor/cursor.ts'
import type { LetterReader } from '../dead/letter-records.ts'
import type { Instance } from '../dispatch/instance.ts'
import type { Records } from './carried-state.ts'

export interface Home {
  /** What its records begin with: the consumer's name, or that of all workers of queues. */
  readonly group: string
  readonly channel: Pick<ChannelSpec, 'name' | 'kind'>
  /** The log's number, as records have it. */
  readonly logId: number
}

/** A home as it is now, to look at. */
export interface HomeState {
  readonly records: Records
  /** Where the texts of dead letters are, if the records do not have them. */
  readonly letters?: LetterReader
  /** The cursor, where the consumer works in this process. */
  readonly cursor: Cursor | null
  /** Consumers that have worked here, if it is a queue. */
  readonly workers: readonly string[]
  /** Emissions of settled events that are not yet in their channels. */
  readonly unsent: number
  /** How many events the log has at and after an offset. */
  pending(from: number): Promise<number>
  /** When the first event at or after an offset was stored; null where there is none. */
  storedAtMs(from: number): Promise<number | null>
}

/** A home that is open for a change. */
export interface OpenHome {
  readonly cursor: Cursor
  /** Resolves when the change is durable. */
  flushed(): Promise<void>
  /** A consumer no longer counts as one that has worked here. */
  forgetWorker(consumer: string): void
}

/** What runs of a consumer in another process, as that process said last. */
export interface Elsewhere {
  readonly instances: number
  readonly inFlight: number
  readonly rate: number
  readonly paused: boolean
}

export interface Homes<H extends Home = Home> {
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  /** Learn what other processes have changed. Called before anything else. @throws CLOSED */
  look(): Promise<void>
  /** Names of the channels that people see. */
  readonly declared: readonly string[]
  /** Where a group has records; null: every group. */
  list(group: string | null): Promise<readonly H[]>
  read(home: H): Promise<HomeState>
  /** Resolves when what this process has settled there can be read. */
  flushed(home: H): Promise<void>
  /** Open the home for a change. Where another process takes it meanwhile, `change` is called again. @throws UNAVAILABLE */
  change(home: H, change: (open: OpenHome) => Promise<void>): Promise<void>
  /** Forget all that is kept of a consumer in a stream. Resolves when that is durable. */
  remove(home: H): Promise<void>
  /** The offset that a position names there. @throws OFFSET_OUT_OF_RANGE */
  seek(home: H, position: Position): Promise<number>
  /** Of the whole channel. */
  bounds(channel: string): Promise<Bounds>
  /** Instances of a consumer in this process. */
  here(consumer: string): readonly Instance[]
  /** What runs of it in other processes. */
  elsewhere(consumer: string, homes: readonly H[]): Promise<readonly Elsewhere[]>
  pauseOf(consumer: string): ConsumerPause | null
  /** The consumers that have a pause, also those without a channel. */
  readonly paused: readonly string[]
  /** Resolves when it is durable, and those that run have been told. */
  setPause(consumer: string, pause: ConsumerPause | null, homes: readonly H[]): Promise<void>
}

/** In the order in which people see them: by channel, and within a channel by partition. */
export function inOrder<H extends Home>(homes: readonly H[]): H[] {
  return [...homes].sort((a, b) =>
    a.channel.name === b.channel.name ? a.logId - b.logId : a.channel.name < b.channel.name ? -1 : 1,
  )
}

/** What `describe()` and the dead-letter calls return: plain data, the same on every engine. */
import type { ChannelKind } from '../channel/channel.ts'
import type { Capabilities } from './capabilities.ts'
import type { Failure } from './failure.ts'

/** One channel, as `broker.channel(name).describe()` answers. */
export interface ChannelState {
  readonly name: string
  readonly kind: ChannelKind
  /** Types carried; `null` for any. */
  readonly types: readonly string[] | null
  /** Offset of the oldest event kept. */
  readonly first: number
  /** Offset that the next event will have. */
  readonly next: number
  /** An estimate; null if this account may not ask the server for it. */
  readonly bytes: number | null
  /** Events a second stored, over the last ten seconds or so. */
  readonly rate: number
}

/** One channel of all, as `broker.describe()` lists them. */
export interface ChannelDescription extends ChannelState {
  /** Delayed events: published, and not due yet. Engines over servers can count them only for all channels together. */
  readonly scheduled: number
}

/** A consumer's position in one channel. */
export interface ConsumerPosition {
  readonly channel: string
  /** Where the consumer began, or was moved to last. Null: an earlier version did not record it. */
  readonly began: number | null
  /** Every event below it is settled. */
  readonly floor: number
  /** Events not yet settled: not delivered, in flight, waiting or retrying. Dead letters are settled. */
  readonly lag: number
  /** Age of the oldest event not yet settled, in milliseconds; 0 when there is none. */
  readonly lagMs: number
}

/** Since when a consumer is paused as a whole, by whom, and why. */
export interface ConsumerPause {
  /** Milliseconds since the epoch. */
  readonly sinceMs: number
  /** The reason that was given with the pause. */
  readonly reason: string | null
  /** Who paused it: the name of the caller's credentials, or the one that was given. Null if it is not known. */
  readonly by: string | null
}

/**
 * What an instance of a consumer has counted since it began. Spans are counted in the buckets of
 * `base/span-buckets.ts`.
 */
export interface InstanceCounts {
  /** Names the instance, in every process. */
  readonly instance: string
  readonly delivered: number
  readonly completed: number
  readonly retried: number
  readonly deadLettered: number
  /** From the publish to the completion. */
  readonly latency: readonly number[]
  /** From the delivery to the settlement. */
  readonly duration: readonly number[]
}

/** A consumer as an engine describes it. Applications do not get the counts; the metrics history is made from them. */
export interface CountedConsumer extends ConsumerDescription {
  /** Of the instances that run, in all processes. Processes of earlier versions give none. */
  readonly counted?: readonly InstanceCounts[]
}

export interface ConsumerDescription {
  readonly name: string
  readonly channels: readonly ConsumerPosition[]
  /** Instances running now. */
  readonly instances: number
  /** Deliveries in flight. */
  readonly inFlight: number
  /** Events waiting for their next attempt. */
  readonly retrying: number
  readonly deadLetters: number
  /** Events waiting behind a dead letter of their key. */
  readonly parked: number
  /** Events a second completed, over the last ten seconds or so. */
  readonly rate: number
  /** No events are delivered to it: it is paused as a whole, or each of its instances is paused. */
  readonly paused: boolean
  /** It is paused as a whole, in every process, until it is resumed. */
  readonly pause: ConsumerPause | null
  /** It has work and makes no progress. */
  readonly stalled: { readonly sinceMs: number; readonly reason: string } | null
}

/** A condition that needs a person: a dead letter that could not be written, a full disk, a failed store. */
export interface Alarm {
  readonly code: string
  readonly message: string
  readonly sinceMs: number
}

export interface BrokerDescription {
  readonly engine: string
  readonly capabilities: Capabilities
  readonly channels: readonly ChannelDescription[]
  readonly consumers: readonly ConsumerDescription[]
  readonly alarms: readonly Alarm[]
}

/** What an engine describes. */
export interface EngineDescription extends Omit<BrokerDescription, 'capabilities' | 'engine'> {
  readonly consumers: readonly CountedConsumer[]
}

/** An event that a consumer gave up on. */
export interface DeadLetter {
  readonly consumer: string
  readonly channel: string
  readonly offset: number
  readonly key: string | null
  readonly id: string
  readonly type: string
  /** The CloudEvent's JSON text, as it was stored. */
  readonly text: string
  readonly attempts: number
  readonly failure: Failure
  /** When the consumer gave up, in milliseconds since the epoch. */
  readonly deadAtMs: number
  /** Events of its key that wait behind it. */
  readonly waiting: number
}

/** Where an event is stored. */
export type EventPlace = Pick<DeadLetter, 'channel' | 'offset'>

/**
 * Where a dead letter is. `deadAtMs` also names the death: a letter that was redriven and is dead again has another
 * one.
 */
export interface LetterPlace extends EventPlace {
  readonly deadAtMs?: number
}

/** Selects dead letters: all members that are given must match. An empty query selects all. */
export interface DeadLetterQuery {
  readonly channel?: string
  readonly offset?: number
  readonly id?: string
  readonly key?: string
  /** At these places only; up to 1,000. */
  readonly places?: readonly LetterPlace[]
  /**
   * One page after the other: only letters after this place, in the order of channel names and offsets. `null` begins
   * with the first. A page may be shorter than `limit`, because its events have a limit of bytes; an empty page is the
   * end.
   */
  readonly after?: EventPlace | null
  /** At most this many, the oldest first. */
  readonly limit?: number
}

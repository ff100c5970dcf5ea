/** The types of a process: its transitions, and what they answer. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Duration } from '../base/units.ts'
import type { PublishOptions } from '../broker/broker.ts'
import type { Channel } from '../channel/channel.ts'
import type { ConsumerOptions } from '../consumer/consumer-types.ts'
import type { EarlierState } from '../consumer/state/state-types.ts'

/** An event that a transition emits, and the channel for it: made by `to`. */
export interface Outgoing {
  readonly channel: Channel | string
  readonly event: object
  readonly options: PublishOptions
}

/**
 * The answer of a transition. All of it takes effect in one commit with the completion of the event, or nothing.
 * Nothing (`undefined`) leaves the instance as it is.
 */
export interface Step<State> {
  /** The new state. @default the state before */
  readonly state?: State
  /** Events to publish, made by `to`. */
  readonly emit?: readonly Outgoing[]
  /** Timers to set, by name. A timer that is set already is replaced. */
  readonly after?: Readonly<Record<string, Duration>>
  /** Timers to cancel, by name. */
  readonly cancel?: readonly string[]
  /** The instance has ended: its state and its timers are deleted. @default false */
  readonly done?: boolean
}

/** The beginning of an instance: it needs a state, unless it ends at once. */
export type FirstStep<State> = (Step<State> & { readonly state: State }) | (Step<State> & { readonly done: true })

/** What happens to an event whose id has no instance. */
export type Missing = 'ignore' | 'dead-letter'

/** Which instance an event is for. `undefined`: for none. */
export interface Correlation<Event> {
  readonly id: (event: Event) => string | undefined
}

/** The options of a process: its state, and those of the consumer that makes its steps. */
export interface ProcessOptions<Schema extends StandardSchemaV1>
  extends Pick<ConsumerOptions, 'concurrency' | 'retry' | 'timeout' | 'lease' | 'drain' | 'stall' | 'on'> {
  /** The state of one instance, with any Standard Schema library. */
  readonly state: Schema
  /** The version of the state, from 1. It is stored with each instance. @default 1 */
  readonly version?: number
  /** By earlier version: makes the state of the next version, as for the state of a consumer. @default none */
  readonly migrate?: Readonly<Record<number, (state: EarlierState) => unknown>>
}

/** A timer of an instance. */
export interface InstanceTimer {
  readonly name: string
  readonly dueAt: Date
}

/** One instance of a process, as it is stored. */
export interface ProcessInstance<State = unknown> {
  readonly id: string
  readonly state: State
  readonly timers: readonly InstanceTimer[]
  /** When its last step was stored. */
  readonly updatedAt: Date
}

/** An event to emit from a transition. */
export function to<C extends Channel | string>(
  channel: C,
  event: C extends Channel ? import('../broker/broker.ts').Publishable<C> : object,
  options: PublishOptions = {},
): Outgoing {
  return { channel, event: event as object, options }
}

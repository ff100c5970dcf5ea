/**
 * Where the delivery of one event to one consumer stands, and what the consumer's instances do. For people who ask why
 * an event is not handled.
 *
 * An engine keeps no record of each completion. A settled event was completed, or skipped because no handler matches
 * it, or is before the position from which the consumer began or to which it was moved.
 */
import type { EventPlace } from './description.ts'
import type { Failure } from './failure.ts'
import type { Position } from './position.ts'
import type { Want } from './want.ts'

/** A stored event, with the key that decides its order. */
export interface InspectedEvent extends EventPlace {
  readonly key: string | null
}

/** What holds back the later events of a key. */
export type HeldBackBy = 'dead letter' | 'retry' | 'delivery' | 'event'

export type DeliveryState =
  /** The consumer has no position in the channel. */
  | { readonly state: 'not begun' }
  /** `began`: where the consumer began in the channel, or was moved to last; null where that was not recorded. */
  | { readonly state: 'settled'; readonly began: number | null }
  /** An instance has it. `attempt` is null where another process has it. */
  | { readonly state: 'in flight'; readonly attempt: number | null }
  /** It waits for its next attempt. */
  | { readonly state: 'retrying'; readonly attempts: number; readonly dueAtMs: number; readonly failure: Failure }
  | {
      readonly state: 'dead letter'
      readonly attempts: number
      readonly deadAtMs: number
      readonly failure: Failure
    }
  /** An earlier event of its key comes first. */
  | {
      readonly state: 'behind'
      readonly by: HeldBackBy
      /** The earlier event; null if the caller may not know it. */
      readonly event: EventPlace | null
      /** The attempts that the earlier event has used, where they are known. */
      readonly attempts: number | null
      readonly dueAtMs: number | null
      readonly failure: Failure | null
    }
  /** Dead letters stop the consumer in this channel (`onDead: block`). */
  | { readonly state: 'blocked'; readonly letters: number }
  /** The event is in a queue, and no running instance matches it. */
  | { readonly state: 'unmatched' }
  /** No instance so far knows this version of the type: it waits for one that does. */
  | { readonly state: 'newer version'; readonly type: string; readonly version: number }
  /** It was in flight when a process died. It is tried when no other event is in flight. */
  | { readonly state: 'alone' }
  /** A limit of the consumer holds it back (clause 21). `dueAtMs` is null where that depends on handlers. */
  | ({ readonly state: 'limited' } & LimitedBy)
  /** Given back from the dead letters, and not delivered yet. */
  | { readonly state: 'redriven' }
  /** It was not delivered yet. */
  | {
      readonly state: 'waiting'
      /** How many events before it are not settled. */
      readonly ahead: number
      /** Earlier events that wait for their next attempt; some of them may have the key. Only where `live` is false. */
      readonly retries: readonly RetryingEvent[]
    }

/** A limit that holds back events. */
export interface LimitedBy {
  readonly limit: string
  readonly kind: 'concurrency' | 'rate'
  readonly dueAtMs: number | null
}

export interface RetryingEvent extends EventPlace {
  readonly attempts: number
  readonly dueAtMs: number
  readonly failure: Failure
}

/** One running instance of a consumer, in the process that was asked. */
export interface InstanceState {
  /** Channels and wildcards. */
  readonly channels: readonly string[]
  /** It gets an event that matches any of these. */
  readonly wants: readonly Want[]
  /** Where it begins in a channel that is new to its consumer. */
  readonly from: Position
  /** How many events it takes at once. */
  readonly credit: number
  readonly inFlight: number
  readonly paused: boolean
  /** Why its circuit breaker is open; null where it is closed. Servers of earlier versions do not say it. */
  readonly circuit?: string | null
  /** A limit that holds back events of its consumer. Servers of earlier versions do not say it. */
  readonly limited?: LimitedBy | null
  /** It did not renew its lease in time. It gets nothing until it does. */
  readonly hung: boolean
  /** Milliseconds since it renewed its lease. */
  readonly silentMs: number
  readonly leaseMs: number
}

export interface Inspection {
  /** Null where no event was asked about. */
  readonly delivery: DeliveryState | null
  /** The answer comes from the running consumer. Otherwise from its records, which do not name what waits. */
  readonly live: boolean
  /** The instances in the process that was asked; on servers others may run elsewhere. */
  readonly instances: readonly InstanceState[]
}

/** The same without events of channels that the caller may not read, and what is said about them. */
export function withoutPlaces(inspection: Inspection, mayRead: (channel: string) => boolean): Inspection {
  const { delivery } = inspection
  if (delivery?.state === 'waiting') {
    const retries = delivery.retries.filter(({ channel }) => mayRead(channel))
    return { ...inspection, delivery: { ...delivery, retries } }
  }
  if (delivery?.state !== 'behind' || delivery.event === null || mayRead(delivery.event.channel)) return inspection
  return { ...inspection, delivery: { ...delivery, event: null, failure: null } }
}

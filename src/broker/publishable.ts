/** The events that an application publishes to a channel: typed by the channel, or untyped. */
import type { Channel, DefinitionsOf, EventFor } from '../channel/channel.ts'
import type { EventAttributes } from '../event/cloud-event.ts'
import type { AnyEventDefinition } from '../event/event.ts'

/** An event to publish to a channel that is given by name, or that carries any event. */
export interface UntypedEvent extends Omit<EventAttributes, 'id' | 'time'> {
  readonly specversion?: '1.0'
  readonly id?: string
  readonly type: string
  /** When it happened; `null` for an event without a time. @default now */
  readonly time?: string | Date | null
  readonly data?: unknown
  readonly data_base64?: string
}

/**
 * The type of the events that `publish` accepts for a channel. For a channel given by name, or one that carries any
 * event: `UntypedEvent`.
 */
export type Publishable<C> = C extends Channel
  ? [AnyEventDefinition] extends [DefinitionsOf<C>]
    ? UntypedEvent
    : EventFor<DefinitionsOf<C>>
  : UntypedEvent

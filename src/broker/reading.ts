/** How a channel is read without consuming: the options, and what comes. */
import type { Channel, DefinitionsOf } from '../channel/channel.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { AnyEventDefinition, OutputOf, TypeOf } from '../event/event.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import type { From } from './position.ts'

export interface ReadOptions {
  /** @default 'beginning' */
  readonly from?: From
  /** Stop before this position. @default the end of the channel when reading starts; with `follow`, never */
  readonly to?: From
  /** Only events that match, in the event-pattern language, over the whole CloudEvent. */
  readonly where?: PatternJson
  /** Continue with new events until the loop is left or the broker closes. @default false */
  readonly follow?: boolean
  /** Ends the reading. */
  readonly signal?: AbortSignal
}

/** An event of one of several channels. */
export interface TailedEvent {
  readonly channel: string
  readonly event: StoredEvent
}

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

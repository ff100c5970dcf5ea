/** A process as data. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Channel } from '../channel/channel.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import type { Missing, ProcessOptions } from './process-types.ts'

/** What a process does with events of one type. */
export interface EventTransitions {
  readonly definition: AnyEventDefinition
  readonly id: (event: never) => unknown
  readonly start: ((event: never) => unknown) | null
  readonly step: ((state: never, event: never) => unknown) | null
  readonly missing: Missing | null
}

/** A process, after all checks. */
export interface ProcessPlan {
  readonly name: string
  readonly channels: readonly (Channel | string)[]
  readonly options: ProcessOptions<StandardSchemaV1>
  readonly byType: ReadonlyMap<string, EventTransitions>
  readonly timers: ReadonlyMap<string, (state: never, timer: never) => unknown>
}

/** The timer that has fired, as its transition gets it. */
export interface FiredTimer {
  readonly name: string
  /** The id of the instance. */
  readonly id: string
}

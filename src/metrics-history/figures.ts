/**
 * What is kept of channels and consumers, and in which steps: 10 s for a day, 5 min for a month.
 *
 * A `sum` counts what happened in a slot; a longer slot has the sum. A `most` is measured at the end of a slot; a
 * longer slot has the largest.
 */
import { LIMITS } from '../base/limits.ts'

export type ObjectKind = 'channel' | 'consumer'
export type Joining = 'sum' | 'most'

export type ChannelFigure = 'published' | 'bytes' | 'scheduled'

export type ConsumerFigure =
  | 'completed'
  | 'retried'
  | 'deadLettered'
  | 'delivered'
  | 'lag'
  | 'lagMs'
  | 'inFlight'
  | 'retrying'
  | 'deadLetters'
  | 'instances'
  | 'latencyP50'
  | 'latencyP95'
  | 'latencyP99'
  | 'durationP50'
  | 'durationP95'
  | 'durationP99'

/**
 * The figures of each kind of object, with how they are joined. The order is that of the values in a saved slot, so a
 * new figure is added at the end.
 */
export const FIGURES: {
  readonly channel: Readonly<Record<ChannelFigure, Joining>>
  readonly consumer: Readonly<Record<ConsumerFigure, Joining>>
} = {
  channel: { published: 'sum', bytes: 'most', scheduled: 'most' },
  consumer: {
    completed: 'sum',
    retried: 'sum',
    deadLettered: 'sum',
    delivered: 'sum',
    lag: 'most',
    lagMs: 'most',
    inFlight: 'most',
    retrying: 'most',
    deadLetters: 'most',
    instances: 'most',
    latencyP50: 'most',
    latencyP95: 'most',
    latencyP99: 'most',
    durationP50: 'most',
    durationP95: 'most',
    durationP99: 'most',
  },
}

export function figuresOf(kind: ObjectKind): readonly (readonly [name: string, joining: Joining])[] {
  return Object.entries(FIGURES[kind])
}

/** One object in one slot: its figures in the order of `FIGURES`. */
export interface Row {
  readonly kind: ObjectKind
  readonly name: string
  readonly values: readonly number[]
}

export type StepName = 'day' | 'month'

export const STEPS: Readonly<Record<StepName, { readonly stepMs: number; readonly slots: number }>> = {
  day: { stepMs: LIMITS.historyDayStepMs, slots: LIMITS.historyDaySlots },
  month: { stepMs: LIMITS.historyMonthStepMs, slots: LIMITS.historyMonthSlots },
}

/** The anomalies that a history can show, with their usual names. A broker must not cause any of them. */
import type { Operation } from './operation.ts'

export const ANOMALIES = {
  'lost-write-prefix': 'acknowledged and never seen, before everything that was seen of the channel',
  'lost-write-middle': 'acknowledged and never seen, between what was seen of the channel',
  'lost-write-postfix': 'acknowledged and not seen by a full drain, after everything that was seen of the channel',
  unseen:
    'acknowledged and not seen by a full drain that saw nothing of the channel, or was acknowledged without an offset',
  duplicate: 'one value at two offsets',
  'inconsistent-offsets': 'two values at one offset',
  'aborted-read': 'a refused send, or the emission of an attempt that failed, was seen',
  'precommitted-read': 'seen before it was sent, or an emission before its handler had finished',
  'phantom-read': 'seen and never sent',
  skip: 'a reader went past an event that was there',
  'non-monotonic-poll': 'a reader was given an offset that is not beyond the one before',
  'non-monotonic-send': 'one producer’s later send, begun after the earlier one was acknowledged, has the lower offset',
  'order-by-key': 'an event was handed out before the earlier ones of its key were done',
  overlap: 'two events of one key, or one event twice, were in flight at once',
  'done-again': 'an event was handed out after it was done',
  'emission-doubled': 'what one event’s handling emits was stored twice',
  'emission-lost': 'an event was done, and what it emitted is not there after a full drain',
} as const

export type AnomalyName = keyof typeof ANOMALIES

export interface Anomaly {
  readonly name: AnomalyName
  /** The observed facts, with values and offsets. */
  readonly message: string
  readonly operations: readonly Operation[]
}

/** What a history is checked against. Repeated deliveries are allowed ("at least once") unless `doneOnce` is set. */
export interface Guarantees {
  /** Events of one key are handled one at a time, in order. @default true */
  readonly orderByKey?: boolean
  /** A completed event is never delivered again, because no process in the history was killed. @default false */
  readonly doneOnce?: boolean
}

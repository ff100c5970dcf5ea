/** The limits of consumers (clause 21) as people see and change them at run time. */

import { MillraceError } from '../base/errors.ts'
import type { Duration } from '../base/units.ts'

/** How much a limit lets through. */
export interface LimitSize {
  /** Handlers that run at once; or events in each `perMs`. */
  readonly max: number
  /** 0 for a limit of concurrency. */
  readonly perMs: number
  /** Events of one key that may begin at once after a pause. 0 for a limit of concurrency. */
  readonly burst: number
}

/** Another size for a limit, as its consumer would declare it. */
export type LimitChange =
  | {
      /** Handlers that run at once, 1 to 1,000,000. */
      readonly concurrency: number
    }
  | {
      /** Events in each `per`, 1 to 1,000,000. */
      readonly events: number
      readonly per: Duration
      /** Events that may begin at once after a pause, 1 to `events`. */
      readonly burst?: number
    }

/** Timers are not exact to less than this: a rate lets the events of that time begin together. */
const TIMER_MS = 10

/** The burst of a rate that names none. */
export function burstOf(max: number, perMs: number): number {
  return Math.max(1, Math.ceil((max * TIMER_MS) / perMs))
}

export interface LimitState extends LimitSize {
  readonly name: string
  readonly kind: 'concurrency' | 'rate'
  /** What the consumer that was started last declares. */
  readonly declared: LimitSize
  /** How many keys use it. */
  readonly keys: number
  /** Events that wait for it, those that are not read yet left out. */
  readonly waiting: number
  /** The consumers that have it. */
  readonly consumers: readonly string[]
}

export function unknownLimit(name: string): MillraceError {
  const message = `no consumer with limit "${name}" has been started on this broker`
  return new MillraceError('UNKNOWN_LIMIT', message, { limit: name })
}

/** The limits of an engine. */
export interface Limits {
  /** The limits that consumers have named since the engine was opened. */
  list(): Promise<readonly LimitState[]>
  /**
   * Give a limit another size, or the declared one for null. Resolves when that is durable.
   * @throws UNKNOWN_LIMIT when no consumer has named it
   */
  set(name: string, size: LimitSize | null): Promise<LimitState>
}

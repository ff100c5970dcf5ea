/** A relay that runs. */
import type { Stoppable } from '../../broker/broker.ts'

/** How many events a relay has published since it started, and how many it has given up on. */
export interface RelaySummary {
  readonly published: number
  readonly deadLettered: number
}

/** A running relay. `await using` stops it. */
export interface RunningRelay extends Stoppable, AsyncDisposable {
  /** Whether this relay publishes now. Otherwise another process has the lease, and this one waits. */
  readonly active: boolean
  /** Stop, and give the lease to a relay of another process. */
  stop(): Promise<RelaySummary>
  /** Resolves when the relay has stopped, by `stop` or with its broker. */
  readonly done: Promise<RelaySummary>
}

/** The port between a cursor and its engine: records that are committed together, time, suspects and alarms. */
import type { Clock } from '../base/clock.ts'
import type { Position } from '../broker/position.ts'
import type { Suspected } from './cursor/suspect-queue.ts'
import type { Blockade } from './dead/blockade.ts'
import type { LetterReader } from './dead/letter-records.ts'
import type { DeliveryLog } from './delivery-log.ts'

export type RecordChange = readonly [key: string, value: Uint8Array | null]

/** State in memory that adds its records to a commit. */
export interface RecordSource {
  /** Add the records that changed since the last call. */
  collect(into: RecordChange[]): void
}

export interface CursorHost {
  readonly nowMs: () => number
  /** A time that never goes back, to measure spans. */
  readonly elapsedMs: () => number
  get(key: string): Uint8Array | undefined
  range(from: string, to: string, limit?: number): [string, Uint8Array][]
  write(key: string, value: Uint8Array | null): void
  /** The source has changed: the next commit collects its records. */
  touch(source: RecordSource): void
  /** Resolves when everything that was written is durable. */
  flushed(): Promise<void>
  /** Run a task after a span. */
  readonly after: Clock['after']
  /** Run a task at a time. Returns a function that cancels it. */
  at(dueMs: number, task: () => void): () => void
  /** The event is a suspect: call `runAlone` of the cursor when it may run (clause 5). */
  alone(cursor: Suspected, offset: number): void
  /** The suspect is settled, or does not run any more. */
  aloneDone(cursor: Suspected, offset: number): void
  /** Raise an alarm, as after a failed read. */
  alarm(error: unknown): void
  /** The offset that a position names. */
  seek(log: DeliveryLog, position: Position): number
  /** The blockade that the logs of a channel share (`block`). Without it, the cursor has its own. */
  readonly blockade?: Blockade
  /** Reads the texts of dead letters, where `get` does not have them at once. */
  readonly letters?: LetterReader
}

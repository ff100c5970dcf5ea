/** What a cursor needs of the engine it belongs to: records that are committed together, time, and a word when something is wrong. */
import type { Clock } from '../base/clock.ts'
import type { Position } from '../broker/position.ts'
import type { Suspected } from './cursor/suspect-queue.ts'
import type { Blockade } from './dead/blockade.ts'
import type { LetterReader } from './dead/letter-records.ts'
import type { DeliveryLog } from './delivery-log.ts'

export type RecordChange = readonly [key: string, value: Uint8Array | null]

/** State in memory that writes its records when a commit is built. */
export interface RecordSource {
  /** Add the records that changed since the last call. */
  collect(into: RecordChange[]): void
}

export interface CursorHost {
  readonly nowMs: () => number
  /** Measures spans: it never goes back. */
  readonly elapsedMs: () => number
  get(key: string): Uint8Array | undefined
  range(from: string, to: string, limit?: number): [string, Uint8Array][]
  write(key: string, value: Uint8Array | null): void
  touch(source: RecordSource): void
  flushed(): Promise<void>
  /** Run a task when a span has passed. */
  readonly after: Clock['after']
  /** Run a task at a time. */
  at(dueMs: number, task: () => void): () => void
  /** The event must run alone: call back when it may (clause 5). */
  alone(cursor: Suspected, offset: number): void
  /** The suspect was settled. */
  aloneDone(cursor: Suspected, offset: number): void
  /** Reading the channel failed. */
  alarm(error: unknown): void
  seek(log: DeliveryLog, position: Position): number
  /** What stops the consumer in the whole channel (`block`), where the channel has several logs; each log has its own without. */
  readonly blockade?: Blockade
  /** Where the texts of dead letters are, if `get` has them not at once. */
  readonly letters?: LetterReader
}

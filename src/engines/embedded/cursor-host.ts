/** What a cursor needs of the engine it belongs to. */
import type { Position } from '../../broker/engine.ts'
import type { ChannelLog } from './channel-log.ts'
import type { RecordSource } from './committer.ts'
import type { Suspected } from './in-flight.ts'

export interface CursorHost {
  readonly nowMs: () => number
  get(key: string): Uint8Array | undefined
  range(from: string, to: string, limit?: number): [string, Uint8Array][]
  write(key: string, value: Uint8Array | null): void
  touch(source: RecordSource): void
  flushed(): Promise<void>
  /** Run a task at a time. */
  at(dueMs: number, task: () => void): () => void
  /** The event must run alone: call back when it may (clause 5). */
  alone(cursor: Suspected, offset: number): void
  /** The suspect was settled. */
  aloneDone(cursor: Suspected, offset: number): void
  /** Reading the channel failed. */
  alarm(error: unknown): void
  seek(log: ChannelLog, position: Position): number
}

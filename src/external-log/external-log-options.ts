/** What an engine over a backend is made of. */
import type { Clock } from '../base/clock.ts'
import type { Alarm } from '../broker/description.ts'
import type { LogFields } from '../broker/logger.ts'
import type { LogBackend } from './log-backend.ts'

export interface ExternalLogEngineOptions {
  readonly backend: LogBackend
  /** Partitions of channels that this engine creates. @default 16 */
  readonly partitions?: number
  readonly onAlarm?: ((alarm: Alarm) => void) | undefined
  /** Told of what needs no person: partitions that were another's were taken over. */
  readonly notice?: ((message: string, fields: LogFields) => void) | undefined
  readonly clock?: Clock
  /** What this process is called among those that share the work; no two have one name. @default a random one */
  readonly member?: string
}

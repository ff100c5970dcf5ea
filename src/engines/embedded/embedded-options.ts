/** The parts that an embedded engine is built from. */
import type { Clock } from '../../base/clock.ts'
import type { Capabilities } from '../../broker/capabilities.ts'
import type { Alarm } from '../../broker/description.ts'
import type { Engine } from '../../broker/engine.ts'
import type { Block } from '../../event/block.ts'
import type { Store } from './store.ts'

export interface EmbeddedEngineOptions {
  readonly name: 'memory' | 'file'
  readonly capabilities: Capabilities
  readonly store: Store<Block>
  readonly clock: Clock
  /** Called when a problem needs a person. */
  readonly onAlarm?: ((alarm: Alarm) => void) | undefined
  /** Copies the directory while it is in use. */
  readonly backup?: NonNullable<Engine['backup']>
  /** Called first when the engine closes, to end the sessions that other processes have on it. */
  readonly closing?: (() => void) | undefined
  /** Called last when the engine closes, to release the data directory. */
  readonly release?: (() => Promise<void>) | undefined
  /**
   * How long deliveries that were in flight under the previous owner of the data wait for their workers to claim them,
   * in milliseconds.
   * @default undefined: they do not wait
   */
  readonly claimsMs?: number | undefined
  /** For a store that only reads: called every 100 ms, to see what the owner has written. */
  readonly refresh?: (() => void) | undefined
}

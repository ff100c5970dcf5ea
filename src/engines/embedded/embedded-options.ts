/** What the embedded engine is made of. */
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
  /** Called when something needs a person. */
  readonly onAlarm?: ((alarm: Alarm) => void) | undefined
  /** Copy the directory while it is in use. */
  readonly backup?: NonNullable<Engine['backup']>
  /** Let go of the data directory. */
  readonly release?: (() => Promise<void>) | undefined
  /** What was in hand under an owner that is gone waits for so long to be claimed by who has it. @default nothing waits */
  readonly claimsMs?: number | undefined
  /** For a store that only reads: called now and then to see what its owner has written. */
  readonly refresh?: (() => void) | undefined
}

/** An instance of a consumer in a history. Its process may pause, hang, stop, and outlive the engine. */
import type { ConsumerSpec, Delivery } from '../../../src/broker/engine.ts'
import type { Instance } from '../../../src/delivery/dispatch/instance.ts'

export class Worker {
  readonly spec: ConsumerSpec
  readonly name: string
  /** Null between a crash and the next subscription. */
  instance: Instance | null = null
  begun = false
  paused = false
  /** It does not renew its lease. */
  hung = false
  /** Its lease has ended. */
  lapsed = false
  closed = false
  readonly held: Set<Delivery> = new Set()
  /** Its deliveries of partitions that its process no longer owns. */
  readonly stale: Set<Delivery> = new Set()

  constructor(spec: ConsumerSpec, name: string) {
    this.spec = spec
    this.name = name
  }

  wants({ type }: { readonly type: string }): boolean {
    return this.spec.wants.some((want) => want.type === null || want.type === type)
  }
}

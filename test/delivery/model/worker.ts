/** An instance of a consumer as the history plays it: a process that may pause, hang, stop, and outlive the engine. */
import type { ConsumerSpec, Delivery } from '../../../src/broker/engine.ts'
import type { Instance } from '../../../src/delivery/dispatch/instance.ts'

export class Worker {
  readonly spec: ConsumerSpec
  readonly name: string
  /** Null between a crash and the next subscription. */
  instance: Instance | null = null
  begun = false
  paused = false
  /** It is not heard of. */
  hung = false
  /** It was not heard of for its lease. */
  lapsed = false
  closed = false
  readonly held: Set<Delivery> = new Set()
  /** What it has in hand of partitions that are not its process's any more. */
  readonly stale: Set<Delivery> = new Set()

  constructor(spec: ConsumerSpec, name: string) {
    this.spec = spec
    this.name = name
  }

  wants({ type }: { readonly type: string }): boolean {
    return this.spec.wants.some((want) => want.type === null || want.type === type)
  }
}

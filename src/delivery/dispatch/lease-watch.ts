/**
 * Clause 11: an instance that does not renew its lease loses its deliveries to other instances.
 *
 * One timer watches all instances. If the timer itself is late, the process was held up, and not a single instance: all
 * leases are renewed, so that a blocked event loop does not make its own handlers run twice. An instance that has lost
 * its deliveries already is not renewed.
 */
import type { Clock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { DeliveringCursor, HeldDelivery } from './held-delivery.ts'
import type { Instance } from './instance.ts'

export class LeaseWatch {
  readonly #clock: Clock
  readonly #instances: ReadonlySet<Instance>
  #cancel: (() => void) | null = null
  #closed = false

  constructor(clock: Clock, instances: ReadonlySet<Instance>) {
    this.#clock = clock
    this.#instances = instances
  }

  /** Watch as long as there are instances. Call it after each new one. */
  watch(): void {
    if (this.#cancel !== null || this.#closed || this.#instances.size === 0) return
    let leaseMs = Number.POSITIVE_INFINITY
    for (const instance of this.#instances) leaseMs = Math.min(leaseMs, instance.spec.leaseMs)
    const waitMs = Math.max(LIMITS.leaseMsMin / 4, leaseMs / 4)
    const dueMs = this.#clock.elapsed() + waitMs
    const look = (): void => {
      this.#cancel = null
      const lateMs = this.#clock.elapsed() - dueMs
      for (const instance of this.#instances) this.#check(instance, lateMs > waitMs)
      this.watch()
    }
    this.#cancel = this.#clock.after(waitMs, look, 'beat')
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  #check(instance: Instance, heldUp: boolean): void {
    if (heldUp && !instance.lapsed) instance.renew()
    else if (instance.held.size > 0 && instance.expired) this.#expire(instance)
  }

  #expire(instance: Instance): void {
    const lost = instance.lapse()
    for (const [cursor, deliveries] of byCursor(lost)) cursor.expire(deliveries, lost.length === 1)
  }
}

function byCursor(deliveries: readonly HeldDelivery[]): Map<DeliveringCursor, HeldDelivery[]> {
  const groups = new Map<DeliveringCursor, HeldDelivery[]>()
  for (const delivery of deliveries) {
    const group = groups.get(delivery.cursor)
    if (group === undefined) groups.set(delivery.cursor, [delivery])
    else group.push(delivery)
  }
  return groups
}

/**
 * Clause 11: an instance that was not heard of for its lease loses its deliveries to others.
 *
 * One timer for all instances. When the timer itself was late, the process was held up, not the instance: everyone gets a
 * new lease, so that a blocked event loop does not make its own handlers run twice.
 */

import type { Clock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { HeldDelivery } from './held-delivery.ts'
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

  watch(): void {
    if (this.#cancel !== null || this.#closed || this.#instances.size === 0) return
    let lease = Number.POSITIVE_INFINITY
    for (const instance of this.#instances) lease = Math.min(lease, instance.spec.leaseMs)
    const waitMs = Math.max(LIMITS.leaseMsMin / 4, lease / 4)
    const dueMs = this.#clock.elapsed() + waitMs
    const look = (): void => {
      this.#cancel = null
      const late = this.#clock.elapsed() - dueMs
      for (const instance of this.#instances) this.#check(instance, late > waitMs)
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
    const lost = [...instance.held]
    instance.lapsed = true
    instance.revoke(lost)
    for (const [cursor, deliveries] of groupByCursor(lost)) cursor.expire(deliveries, lost.length === 1)
  }
}

function groupByCursor(deliveries: readonly HeldDelivery[]): Map<HeldDelivery['cursor'], HeldDelivery[]> {
  const groups = new Map<HeldDelivery['cursor'], HeldDelivery[]>()
  for (const delivery of deliveries) {
    const group = groups.get(delivery.cursor)
    if (group === undefined) groups.set(delivery.cursor, [delivery])
    else group.push(delivery)
  }
  return groups
}

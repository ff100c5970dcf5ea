/** Filling a directory with events quickly: arrays of a thousand, a few in flight. */
import { cartItem, ItemAdded } from '../events.ts'
import type { MillraceSystem } from '../millrace.ts'

const BATCH = 1000
const BATCHES_IN_FLIGHT = 8

export async function fill(system: MillraceSystem, begin: number, end: number): Promise<void> {
  let next = begin
  const slot = async (): Promise<void> => {
    while (next < end) {
      const from = next
      next = Math.min(end, from + BATCH)
      await system.broker.publish(
        system.carts,
        Array.from({ length: next - from }, (_, at) => ItemAdded(cartItem(from + at))),
      )
    }
  }
  await Promise.all(Array.from({ length: BATCHES_IN_FLIGHT }, slot))
}

/**
 * Completions that a client has to settle again, where it may have several events of a key in flight (clauses 4, 12 and
 * 19). Until then, the client may settle later events of the key, whose handlers saw a state without that completion.
 *
 * Invariant: an event that the client had, or got, while an earlier event of its key was given back is not completed.
 * It is released, and handled again after that event.
 */
import type { Delivery } from '../../broker/engine.ts'

export class GivenBack {
  /** By key, the deliveries that were given back and are not settled again. */
  readonly #open = new Map<string, Set<Delivery>>()
  readonly #behind = new Set<Delivery>()

  /** `held`: all deliveries of the client. */
  add(delivery: Delivery, held: Iterable<Delivery>): void {
    const { key, channel, offset } = delivery
    if (key === null) return
    const open = this.#open.get(key)
    if (open === undefined) this.#open.set(key, new Set([delivery]))
    else open.add(delivery)
    for (const other of held)
      if (other.key === key && other !== delivery && (other.channel !== channel || other.offset > offset))
        this.#behind.add(other)
  }

  /** The client gets these deliveries. */
  given(deliveries: readonly Delivery[]): void {
    if (this.#open.size === 0) return
    for (const delivery of deliveries)
      if (delivery.key !== null && this.#open.has(delivery.key)) this.#behind.add(delivery)
  }

  /** A delivery is settled, or was revoked. Answers whether it must not be completed. */
  take(delivery: Delivery): boolean {
    const { key } = delivery
    const open = key === null ? undefined : this.#open.get(key)
    if (open?.delete(delivery) === true && open.size === 0) this.#open.delete(key as string)
    return this.#behind.delete(delivery)
  }

  get isEmpty(): boolean {
    return this.#open.size === 0 && this.#behind.size === 0
  }
}

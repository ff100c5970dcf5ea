/**
 * Handlers that still run after their event was taken away, by a lost lease or a rewind. In this process, the next
 * handler of their key (or of their event, if it has no key) begins when they have ended, because they may still write
 * to what it reads.
 *
 * All instances of a consumer on one engine share this object. Another process does not know of these handlers, and
 * begins the next attempt at once.
 */
import type { Delivery, Engine } from '../broker/engine.ts'

const byEngine = new WeakMap<Engine, Map<string, HandlersLeftOver>>()

export class HandlersLeftOver {
  /** How many run, by the key or event that they delay. */
  readonly #running = new Map<string, number>()
  readonly #waiting = new Map<string, (() => void)[]>()

  static of(engine: Engine, consumer: string): HandlersLeftOver {
    let consumers = byEngine.get(engine)
    if (consumers === undefined) {
      consumers = new Map()
      byEngine.set(engine, consumers)
    }
    let found = consumers.get(consumer)
    if (found === undefined) {
      found = new HandlersLeftOver()
      consumers.set(consumer, found)
    }
    return found
  }

  /** The handler of a delivery that was taken away has not ended. */
  add(delivery: Delivery, ended: Promise<unknown>): void {
    const kept = keptBy(delivery)
    this.#running.set(kept, (this.#running.get(kept) ?? 0) + 1)
    const end = (): void => this.#ended(kept)
    ended.then(end, end)
  }

  /** Whether a delivery must wait. Then `begin` is called when it may start, in order for deliveries of one key. */
  delays(delivery: Delivery, begin: () => void): boolean {
    if (this.#running.size === 0) return false
    const kept = keptBy(delivery)
    if (!this.#running.has(kept)) return false
    const waiting = this.#waiting.get(kept)
    if (waiting === undefined) this.#waiting.set(kept, [begin])
    else waiting.push(begin)
    return true
  }

  #ended(kept: string): void {
    const left = (this.#running.get(kept) ?? 0) - 1
    if (left > 0) return void this.#running.set(kept, left)
    this.#running.delete(kept)
    const waiting = this.#waiting.get(kept) ?? []
    this.#waiting.delete(kept)
    for (const begin of waiting) begin()
  }
}

function keptBy({ channel, offset, key }: Delivery): string {
  return key === null ? `${offset} ${channel}` : `key ${key}`
}

/**
 * Handlers that go on after their event was taken away from them, by a lost lease or a rewind. In this process, the next handler of their key, or of their
 * event where it has none, begins when they have ended: they may still write to what it reads.
 *
 * The instances of a consumer that run on one engine share them. Another process cannot know of them: there, the next attempt begins at once.
 */
import type { Delivery, Engine } from '../broker/engine.ts'

const byEngine = new WeakMap<Engine, Map<string, HandlersLeftOver>>()

export class HandlersLeftOver {
  /** How many run, by what they keep from the next. */
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

  /** Whether a delivery must wait. If so, `begin` is called when it may go on; those of one key in their order. */
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

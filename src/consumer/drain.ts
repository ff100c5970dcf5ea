/**
 * The end of a consumer waits until no handler runs. A handler that waits for the end itself, by `stop` or `close`,
 * waits only for the other handlers.
 */
import type { Clock } from '../base/clock.ts'

/** A caller that waits for the end. */
interface Waiting {
  readonly ofHandler: boolean
  readonly done: () => void
}

export class Drain<Event> {
  readonly #clock: Clock
  readonly #drainMs: number
  readonly #active: () => number
  readonly #waiting = new Set<Waiting>()
  /** The events whose handlers wait for the end. */
  readonly #asking = new Set<Event>()

  /** `active`: the number of events in flight. `drainMs`: the longest wait. */
  constructor(clock: Clock, drainMs: number, active: () => number) {
    this.#clock = clock
    this.#drainMs = drainMs
    this.#active = active
  }

  /** Resolves when nothing is in flight, at the latest after the time for it. */
  whole(): Promise<void> {
    return this.#drained(false)
  }

  /** The same for handlers that ask for the end. Resolves when only events are in flight whose handlers ask for it. */
  askedBy(events: Iterable<Event>): Promise<void> {
    for (const event of events) this.#asking.add(event)
    this.#look()
    return this.#drained(true)
  }

  /** An event is not in flight any more. */
  ended(event: Event): void {
    this.#asking.delete(event)
    if (this.#waiting.size > 0) this.#look()
  }

  #isDrained(ofHandler: boolean): boolean {
    return this.#active() <= (ofHandler ? this.#asking.size : 0)
  }

  #look(): void {
    for (const { ofHandler, done } of this.#waiting) if (this.#isDrained(ofHandler)) done()
  }

  #drained(ofHandler: boolean): Promise<void> {
    if (this.#isDrained(ofHandler)) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        cancel()
        this.#waiting.delete(waiting)
        resolve()
      }
      const waiting: Waiting = { ofHandler, done }
      const cancel = this.#clock.after(this.#drainMs, done)
      this.#waiting.add(waiting)
    })
  }
}

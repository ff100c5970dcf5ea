/**
 * Ends an answer whose client takes nothing for a time. Otherwise some clients that stopped reading would keep all the
 * searches and walks that may run at once.
 */
import { TIMER_MS_MAX } from '../base/timers.ts'

export class StallGuard {
  readonly #stallMs: number
  readonly #end: () => void
  #timer: NodeJS.Timeout | undefined

  constructor(stallMs: number, end: () => void) {
    this.#stallMs = Math.min(stallMs, TIMER_MS_MAX)
    this.#end = end
  }

  /** A piece waits for the client. */
  offered(): void {
    this.taken()
    this.#timer = setTimeout(this.#end, this.#stallMs)
    this.#timer.unref()
  }

  /** The client took what was offered, or the answer is over. */
  taken(): void {
    clearTimeout(this.#timer)
  }
}

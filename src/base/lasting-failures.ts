/**
 * Failures of work that is done behind everything else and tried again by itself, such as retention: one that lasts is
 * told, with what it was about and the reason, and ends when the work succeeds. A failure that passes is nobody's concern.
 */
export interface LastingHooks {
  raise(message: string): void
  end(): void
}

export class LastingFailures {
  readonly #hooks: LastingHooks
  readonly #timesMin: number
  readonly #times = new Map<string, number>()

  /** A failure lasts when the work has failed so many times one after the other. */
  constructor(timesMin: number, hooks: LastingHooks) {
    this.#timesMin = timesMin
    this.#hooks = hooks
  }

  /** `of` says what the work is about, as the message has it: `channel "orders"`. Work of two kinds on one channel is told apart by it. */
  failed(of: string, error: unknown): void {
    const times = (this.#times.get(of) ?? 0) + 1
    this.#times.set(of, times)
    if (times < this.#timesMin) return
    const reason = error instanceof Error ? error.message : String(error)
    this.#hooks.raise(`old events of ${of} cannot be deleted, and take up space until they can: ${reason}`)
  }

  succeeded(of: string): void {
    const times = this.#times.get(of) ?? 0
    this.#times.delete(of)
    if (times >= this.#timesMin && ![...this.#times.values()].some((each) => each >= this.#timesMin)) this.#hooks.end()
  }
}

/**
 * Failures of background work that is tried again by itself, such as retention. A failure that lasts is reported, with
 * its subject and its reason, and ends when the work succeeds. A failure that passes is not reported.
 */
export interface LastingHooks {
  raise(message: string): void
  end(): void
}

export class LastingFailures {
  readonly #hooks: LastingHooks
  readonly #timesMin: number
  readonly #times = new Map<string, number>()

  /** A failure lasts when the work has failed this many times in succession. */
  constructor(timesMin: number, hooks: LastingHooks) {
    this.#timesMin = timesMin
    this.#hooks = hooks
  }

  /**
   * `of` is the subject in the message, such as `channel "orders"`. It also distinguishes two kinds of work on one
   * channel.
   */
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

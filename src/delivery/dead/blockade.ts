/** Clause 6, `block`: whose dead letters stop a consumer in a channel. Where the channel has several logs, their boxes share one. */
export class Blockade {
  readonly #letters = new Map<unknown, number>()
  readonly #lifted: () => void

  /** `lifted`: nothing stops the channel any more. */
  constructor(lifted: () => void = () => undefined) {
    this.#lifted = lifted
  }

  /** Dead letters that stop everything. */
  get size(): number {
    let size = 0
    for (const letters of this.#letters.values()) size += letters
    return size
  }

  get stands(): boolean {
    return this.#letters.size > 0
  }

  /** Somebody has so many of these letters. */
  set(whose: unknown, letters: number): void {
    if (letters > 0) this.#letters.set(whose, letters)
    else if (this.#letters.delete(whose) && !this.stands) this.#lifted()
  }

  /** Whether anybody but one has such letters. */
  standsWithout(whose: unknown): boolean {
    return this.#letters.size > (this.#letters.has(whose) ? 1 : 0)
  }
}

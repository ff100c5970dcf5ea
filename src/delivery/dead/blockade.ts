/**
 * Clause 6, `block`: the dead letters that stop a consumer in a channel. Where the channel has several logs, the
 * boxes of these logs share one blockade.
 */
export class Blockade {
  /** By box: how many of its letters stop the consumer. */
  readonly #letters = new Map<unknown, number>()
  readonly #lifted: () => void

  /** `lifted` is called when the last such letter is gone. */
  constructor(lifted: () => void = () => undefined) {
    this.#lifted = lifted
  }

  /** How many letters stop the consumer. */
  get size(): number {
    let size = 0
    for (const letters of this.#letters.values()) size += letters
    return size
  }

  get stands(): boolean {
    return this.#letters.size > 0
  }

  /** Set how many such letters a box has. */
  set(box: unknown, letters: number): void {
    if (letters > 0) this.#letters.set(box, letters)
    else if (this.#letters.delete(box) && !this.stands) this.#lifted()
  }

  /** Whether any other box has such letters. */
  standsWithout(box: unknown): boolean {
    return this.#letters.size > (this.#letters.has(box) ? 1 : 0)
  }
}

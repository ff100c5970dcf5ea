/** Lets callers wait until something is so, without asking again and again. */
export class Condition {
  readonly #holds: () => boolean
  readonly #waiting: (() => void)[] = []

  constructor(holds: () => boolean) {
    this.#holds = holds
  }

  /** Resolves when the condition holds: at once, or with the first `check` that finds it so. */
  reached(): Promise<void> {
    if (this.#holds()) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Called after each change of what the condition depends on. */
  check(): void {
    if (this.#waiting.length > 0 && this.#holds()) for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

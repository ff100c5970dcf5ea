/**
 * Work that runs once at a time, such as a sweep or a read of new data.
 *
 * A request during a run gets another run after it, which all requests of that time share. So no request is forgotten,
 * and each one's run begins after the request.
 */
export class OneAtATime {
  readonly #work: () => Promise<void>
  #current: Promise<void> | null = null
  #next: Promise<void> | null = null

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  /** Whether a run is under way. */
  get running(): boolean {
    return this.#current !== null
  }

  /** Ends when a run that began after this call has ended, and as that run ended. */
  ask(): Promise<void> {
    // The next run may be about to begin: it serves this request, too.
    if (this.#next !== null) return this.#next
    if (this.#current === null) return this.#start()
    const start = (): Promise<void> => this.#start()
    this.#next = this.#current.then(start, start)
    return this.#next
  }

  #start(): Promise<void> {
    this.#next = null
    const run = this.#work().finally(() => {
      if (this.#current === run) this.#current = null
    })
    this.#current = run
    return run
  }
}

/** A promise that knows whether it was used: awaited, or given a callback. */
export class WatchedPromise<T> extends Promise<T> {
  /** The promise was used: the code that used it handles its failure. */
  watched = false

  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  static watch<T>(promise: Promise<T>): WatchedPromise<T> {
    return new WatchedPromise((resolve, reject) => {
      promise.then(resolve, reject)
    })
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise, and its `then` notes that it was used
  override then<A = T, B = never>(
    onDone?: ((value: T) => A | PromiseLike<A>) | null,
    onFailed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.watched = true
    return super.then(onDone, onFailed)
  }

  /** The outcome, without counting as a use. */
  outcome(): Promise<PromiseSettledResult<T>> {
    return super.then(
      (value) => ({ status: 'fulfilled', value }),
      (reason: unknown) => ({ status: 'rejected', reason }),
    )
  }
}

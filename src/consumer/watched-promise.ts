/** A promise that knows whether anybody asked for its outcome. */
export class WatchedPromise<T> extends Promise<T> {
  /** Somebody awaits it, or has: its failure is theirs to see. */
  watched = false

  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  static watch<T>(promise: Promise<T>): WatchedPromise<T> {
    return new WatchedPromise((resolve, reject) => {
      promise.then(resolve, reject)
    })
  }

  // biome-ignore lint/suspicious/noThenProperty: a promise it is, and its then is what tells
  override then<A = T, B = never>(
    onDone?: ((value: T) => A | PromiseLike<A>) | null,
    onFailed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.watched = true
    return super.then(onDone, onFailed)
  }

  /** Its outcome, asked for without counting as somebody. */
  outcome(): Promise<PromiseSettledResult<T>> {
    return super.then(
      (value) => ({ status: 'fulfilled', value }),
      (reason: unknown) => ({ status: 'rejected', reason }),
    )
  }
}

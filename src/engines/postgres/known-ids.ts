/**
 * Looking for ids, in the order of the calls: the connections of a pool would answer two calls in any order, and
 * delayed events are stored in the order in which their ids were looked for. Calls for one channel that are made while
 * an earlier one is under way go out together.
 */
interface Waiting {
  readonly ids: readonly string[]
  readonly resolve: (found: ReadonlyMap<string, number>) => void
  readonly reject: (error: unknown) => void
}

type Look = (channel: string, ids: readonly string[]) => Promise<ReadonlyMap<string, number>>

export class KnownIds {
  readonly #look: Look
  readonly #waiting = new Map<string, Waiting[]>()

  constructor(look: Look) {
    this.#look = look
  }

  of(channel: string, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(channel)
      if (waiting !== undefined) return void waiting.push({ ids, resolve, reject })
      this.#waiting.set(channel, [{ ids, resolve, reject }])
      process.nextTick(() => void this.#run(channel))
    })
  }

  /** Never rejects: every caller is answered. */
  async #run(channel: string): Promise<void> {
    for (;;) {
      const together = this.#waiting.get(channel) ?? []
      if (together.length === 0) return void this.#waiting.delete(channel)
      this.#waiting.set(channel, [])
      try {
        const found = await this.#look(channel, [...new Set(together.flatMap(({ ids }) => ids))])
        for (const { ids, resolve } of together)
          resolve(new Map(ids.flatMap((id) => (found.has(id) ? [[id, found.get(id) as number] as const] : []))))
      } catch (error) {
        for (const { reject } of together) reject(error)
      }
    }
  }
}

/**
 * Where partitions begin and end. The engine asks for each partition it works on, once a second: calls of one turn go
 * out together, and what has not changed is not looked up again. A channel's mark changes with each append and with
 * each raised floor.
 */
import type { Bounds } from '../../external-log/log-backend.ts'

interface Waiting {
  readonly channel: string
  readonly partition: number | null
  readonly resolve: (bounds: Bounds) => void
  readonly reject: (error: unknown) => void
}

interface Marked {
  readonly mark: string
  readonly bounds: Map<number | null, Bounds>
}

export interface BoundsSource {
  /** The marks of those of the channels that exist. */
  marks(channels: readonly string[]): Promise<ReadonlyMap<string, string>>
  /** @throws UNKNOWN_CHANNEL */
  bounds(channel: string, partitions: readonly number[]): Promise<ReadonlyMap<number, Bounds>>
  /** @throws UNKNOWN_CHANNEL */
  boundsOfAll(channel: string): Promise<Bounds>
}

export class PartitionBounds {
  readonly #source: BoundsSource
  readonly #known = new Map<string, Marked>()
  #waiting: Waiting[] = []

  constructor(source: BoundsSource) {
    this.#source = source
  }

  of(channel: string, partition: number | null): Promise<Bounds> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ channel, partition, resolve, reject })
      if (this.#waiting.length === 1) process.nextTick(() => void this.#ask())
    })
  }

  /** Never rejects: every caller is answered. */
  async #ask(): Promise<void> {
    const together = new Map<string, Waiting[]>()
    for (const waiting of this.#waiting.splice(0)) {
      const others = together.get(waiting.channel)
      if (others === undefined) together.set(waiting.channel, [waiting])
      else others.push(waiting)
    }
    try {
      const marks = await this.#source.marks([...together.keys()])
      await Promise.all([...together].map(([channel, waiting]) => this.#answer(channel, marks.get(channel), waiting)))
    } catch (error) {
      for (const waiting of together.values()) for (const { reject } of waiting) reject(error)
    }
  }

  async #answer(channel: string, mark: string | undefined, waiting: readonly Waiting[]): Promise<void> {
    try {
      let known = this.#known.get(channel)
      if (known === undefined || known.mark !== mark) {
        known = { mark: mark ?? '', bounds: new Map() }
        // Without a mark there is no such channel: the question below says so.
        if (mark === undefined) this.#known.delete(channel)
        else this.#known.set(channel, known)
      }
      const { bounds } = known
      const wanted = [...new Set(waiting.map(({ partition }) => partition))].filter((each) => !bounds.has(each))
      if (wanted.includes(null)) bounds.set(null, await this.#source.boundsOfAll(channel))
      const partitions = wanted.filter((each) => each !== null)
      if (partitions.length > 0)
        for (const [partition, found] of await this.#source.bounds(channel, partitions)) bounds.set(partition, found)
      for (const { partition, resolve } of waiting) resolve(bounds.get(partition) as Bounds)
    } catch (error) {
      for (const { reject } of waiting) reject(error)
    }
  }
}

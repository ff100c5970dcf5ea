/**
 * Up to where queues are settled, on its way to the registry, by which every process knows what may be deleted.
 *
 * A floor stays here until the registry has it: a write that fails is made again, with what has been settled since, and one that fails for long is an alarm.
 */
import type { LastingFailures } from '../../base/lasting-failures.ts'

/** Floors are made known so often. */
const FLOORS_MS = 500

export interface FloorsHost {
  /** Write the floors of a channel, by partition. */
  raise(incarnation: string, floors: readonly number[]): Promise<void>
  /** The registry has them. */
  raised(incarnation: string): void
}

interface Floors {
  readonly channel: string
  readonly byPartition: number[]
  /** Something in it is not in the registry yet. */
  fresh: boolean
}

export class QueueFloors {
  readonly #host: FloorsHost
  readonly #failures: LastingFailures
  /** By incarnation. */
  readonly #channels = new Map<string, Floors>()
  #timer: NodeJS.Timeout | null = null
  #closed = false

  constructor(host: FloorsHost, failures: LastingFailures) {
    this.#host = host
    this.#failures = failures
  }

  /** What is below an offset of a partition is settled. */
  settled(
    entry: { readonly spec: { readonly name: string }; readonly incarnation: string; readonly partitions: number },
    partition: number,
    before: number,
  ): void {
    const { incarnation, partitions, spec } = entry
    const floors = this.#channels.get(incarnation) ?? {
      channel: spec.name,
      byPartition: Array.from({ length: partitions }, () => 0),
      fresh: false,
    }
    floors.byPartition[partition] = Math.max(floors.byPartition[partition] ?? 0, before)
    floors.fresh = true
    this.#channels.set(incarnation, floors)
    this.#soon()
  }

  /** The channel was removed. */
  forget(incarnation: string): void {
    this.#channels.delete(incarnation)
  }

  #soon(): void {
    if (this.#closed) return
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      void this.#write()
    }, FLOORS_MS).unref()
  }

  /** Never rejects. */
  async #write(): Promise<void> {
    await Promise.all(
      [...this.#channels]
        .filter(([, { fresh }]) => fresh)
        .map(([incarnation, floors]) => this.#writeOne(incarnation, floors)),
    )
  }

  async #writeOne(incarnation: string, floors: Floors): Promise<void> {
    const of = `queue "${floors.channel}"`
    floors.fresh = false
    try {
      await this.#host.raise(incarnation, [...floors.byPartition])
    } catch (error) {
      floors.fresh = true
      if (this.#closed || this.#channels.get(incarnation) !== floors) return
      this.#failures.failed(of, error)
      this.#soon()
      return
    }
    this.#failures.succeeded(of)
    this.#host.raised(incarnation)
  }

  /** Write what is to be written, once: what fails now is written by the next process that settles more. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    await this.#write()
  }
}

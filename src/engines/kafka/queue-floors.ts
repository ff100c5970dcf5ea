/**
 * The offsets below which queues are settled, on their way to the registry. From the registry, every process knows
 * which events may be deleted.
 *
 * A floor stays here until the registry has it. A write that fails is repeated, with what was settled meanwhile. A
 * failure that lasts is an alarm.
 */
import type { LastingFailures } from '../../base/lasting-failures.ts'

/** The interval at which floors are written. */
const FLOORS_MS = 500

export interface FloorsHost {
  /** Write the floors of a channel, by partition. */
  raise(incarnation: string, floors: readonly number[]): Promise<void>
  /** The registry has the floors. */
  raised(incarnation: string): void
}

interface Floors {
  readonly channel: string
  readonly byPartition: number[]
  /** Whether the registry lacks a floor of it. */
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

  /** The events of a partition below an offset are settled. */
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

  /** Write the floors once. If that fails, the next process that settles more writes them. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    await this.#write()
  }
}

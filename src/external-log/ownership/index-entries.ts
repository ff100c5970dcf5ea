/**
 * What a group of this member has written to the index of consumers. An entry is written between a heartbeat and the
 * first claim in the channel, and again after other members may have taken this member for dead, because then the
 * consumer may have been removed.
 */
import type { ConsumerIndex } from '../consumer-index.ts'
import type { ChannelEntry } from '../log-backend.ts'

export class IndexEntries {
  readonly #index: ConsumerIndex
  /** The incarnations of the channels, by consumer. */
  readonly #written = new Map<string, Set<string>>()

  constructor(index: ConsumerIndex) {
    this.#index = index
  }

  /** Resolves when all of these are in the index. A channel that was removed and made again is written again. */
  async write(entries: readonly (readonly [consumer: string, entry: ChannelEntry])[]): Promise<void> {
    const missing = entries.filter(
      ([consumer, { spec, incarnation }]) =>
        !spec.name.startsWith('~') && this.#written.get(consumer)?.has(incarnation) !== true,
    )
    if (missing.length === 0) return
    await this.#index.add(missing.map(([consumer, { spec }]) => [consumer, spec.name]))
    for (const [consumer, { incarnation }] of missing)
      this.#written.set(consumer, (this.#written.get(consumer) ?? new Set()).add(incarnation))
  }

  /** Write everything again. */
  forget(): void {
    this.#written.clear()
  }
}

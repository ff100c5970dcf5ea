/**
 * Clause 4 over several channels: at any time, the deliveries of one key that a consumer's instances hold are of one
 * channel.
 *
 * Within a channel the lanes take care of that, so a consumer of one channel keeps no table. A cursor that finds a
 * key held by another channel leaves its lane as it is, and is woken when those deliveries have ended. Only
 * deliveries in flight count: an event that waits for its next attempt, and a dead letter, hold back their own
 * channel only.
 */

/** A cursor, as the table of keys sees it. */
export interface KeyCursor {
  readonly log: { readonly name: string }
  /** Look again at the lanes of these keys. */
  wake(keys: Iterable<string>): void
}

/** An instance, as the table of keys sees it. */
export interface KeyInstance {
  readonly cursors: Iterable<KeyCursor>
  readonly held: Iterable<{ readonly key: string | null; readonly cursor: KeyCursor }>
}

/** The deliveries of one key. */
interface Holding {
  readonly cursor: KeyCursor
  count: number
  /** Cursors of other channels that have events of the key. */
  waiting: Set<KeyCursor> | null
}

export class ConsumerKeys {
  readonly #instances = new Set<KeyInstance>()
  /** By key; null as long as the consumer has one channel. */
  #holdings: Map<string, Holding> | null = null

  join(instance: KeyInstance): void {
    this.#instances.add(instance)
  }

  leave(instance: KeyInstance): void {
    this.#instances.delete(instance)
  }

  /** Whether no instance is left. */
  get idle(): boolean {
    return this.#instances.size === 0
  }

  /**
   * A cursor was attached to an instance. When the consumer has its second channel, the table is created and filled
   * with the keys that the instances hold.
   */
  attended(): void {
    if (this.#holdings !== null) return
    const channels = new Set<string>()
    for (const { cursors } of this.#instances) for (const { log } of cursors) channels.add(log.name)
    if (channels.size < 2) return
    this.#holdings = new Map()
    for (const { held } of this.#instances) for (const { key, cursor } of held) this.take(key, cursor)
  }

  /** Whether the cursor may deliver an event of the key now. If not, the cursor is woken when it may. */
  mayTake(key: string, cursor: KeyCursor): boolean {
    const holding = this.#holdings?.get(key)
    if (holding === undefined || holding.cursor === cursor) return true
    holding.waiting ??= new Set()
    holding.waiting.add(cursor)
    return false
  }

  /** The cursor has delivered an event of the key. */
  take(key: string | null, cursor: KeyCursor): void {
    if (this.#holdings === null || key === null) return
    const holding = this.#holdings.get(key)
    if (holding === undefined) this.#holdings.set(key, { cursor, count: 1, waiting: null })
    else if (holding.cursor === cursor) holding.count++
  }

  /** A delivery of the key has ended. */
  give(key: string | null, cursor: KeyCursor): void {
    const holding = this.#holdings === null || key === null ? undefined : this.#holdings.get(key)
    if (holding?.cursor !== cursor || --holding.count > 0) return
    this.#holdings?.delete(key as string)
    for (const other of holding.waiting ?? []) other.wake([key as string])
  }
}

/** The tables of all consumers that run in an engine. */
export class KeyTables {
  readonly #byConsumer = new Map<string, ConsumerKeys>()

  of(consumer: string): ConsumerKeys {
    let keys = this.#byConsumer.get(consumer)
    if (keys === undefined) {
      keys = new ConsumerKeys()
      this.#byConsumer.set(consumer, keys)
    }
    return keys
  }

  /** An instance of the consumer has ended: forget the table if that was the last one. */
  left(consumer: string): void {
    if (this.#byConsumer.get(consumer)?.idle === true) this.#byConsumer.delete(consumer)
  }
}

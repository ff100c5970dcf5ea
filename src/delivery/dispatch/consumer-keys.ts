/**
 * Clause 4 over a consumer's channels: of one key, events of one channel at a time are in the hands of its instances.
 *
 * Within a channel the lanes see to that, so a consumer of one channel keeps no table. A cursor that finds a key in the hands of another channel's events
 * leaves its lane as it is, and is woken when they are settled. Only what is in hands counts: a retry that waits, or a dead letter, holds back its own channel.
 */
import type { Cursor } from '../cursor/cursor.ts'
import type { Instance } from './instance.ts'

interface Holding {
  /** Whose events are in hands. */
  readonly cursor: Cursor
  count: number
  /** Cursors with events of the key that could not be handed out. */
  waiting: Set<Cursor> | null
}

export class ConsumerKeys {
  readonly #instances = new Set<Instance>()
  /** The keys in hands; null as long as the consumer has one channel. */
  #holdings: Map<string, Holding> | null = null

  join(instance: Instance): void {
    this.#instances.add(instance)
  }

  leave(instance: Instance): void {
    this.#instances.delete(instance)
  }

  get idle(): boolean {
    return this.#instances.size === 0
  }

  /** An instance takes one more channel: with the second one, what is in hands of the first is noted. */
  attended(): void {
    if (this.#holdings !== null) return
    const channels = new Set<string>()
    for (const { cursors } of this.#instances) for (const { log } of cursors) channels.add(log.name)
    if (channels.size < 2) return
    this.#holdings = new Map()
    for (const { held } of this.#instances) for (const { key, cursor } of held) this.take(key, cursor)
  }

  /** Whether an event of the key may be handed out now. If not, the cursor is woken when it may. */
  mayTake(key: string, cursor: Cursor): boolean {
    const holding = this.#holdings?.get(key)
    if (holding === undefined || holding.cursor === cursor) return true
    holding.waiting ??= new Set()
    holding.waiting.add(cursor)
    return false
  }

  /** An event is in hands. */
  take(key: string | null, cursor: Cursor): void {
    if (this.#holdings === null || key === null) return
    const holding = this.#holdings.get(key)
    if (holding === undefined) this.#holdings.set(key, { cursor, count: 1, waiting: null })
    else if (holding.cursor === cursor) holding.count++
  }

  /** It is in hands no more. */
  give(key: string | null, cursor: Cursor): void {
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

  /** An instance is gone. */
  left(consumer: string): void {
    if (this.#byConsumer.get(consumer)?.idle === true) this.#byConsumer.delete(consumer)
  }
}

/**
 * Delayed events (clause 7) from outside: the part of the port that lists and cancels them, and the evaluation of a
 * query.
 */
import { LIMITS } from '../base/limits.ts'

/** A delayed event. */
export interface DelayedEvent {
  readonly channel: string
  readonly id: string
  readonly type: string
  readonly key: string | null
  /** When it is due, in milliseconds since the epoch. */
  readonly dueAtMs: number
}

/** Selects delayed events of a channel: all members that are given must match. An empty query selects all. */
export interface DelayedQuery {
  readonly id?: string
  readonly key?: string
  /** Only events after this one: the last event of the previous page. */
  readonly after?: Pick<DelayedEvent, 'dueAtMs' | 'id'>
  /** At most this many, the soonest first. @default 1000 */
  readonly limit?: number
}

/** The part of the port that lists and cancels delayed events. */
export interface Delays {
  /**
   * The soonest first; events with the same due time in the order of their ids.
   * @throws UNKNOWN_CHANNEL when there is no such channel
   */
  list(channel: string, query: DelayedQuery): Promise<DelayedEvent[]>
  /**
   * Cancel the event with this id. Resolves when that is durable. True: the event waited, will never be stored, and its
   * id is new again. False: no event with this id waits.
   * @throws as `list`
   */
  cancel(channel: string, id: string, reason?: string): Promise<boolean>
}

/** Collects the page of a query from all delayed events. It holds at most two pages. */
export class Soonest {
  readonly #channel: string
  readonly #query: DelayedQuery
  readonly #limit: number
  #kept: DelayedEvent[] = []

  constructor(channel: string, query: DelayedQuery) {
    this.#channel = channel
    this.#query = query
    this.#limit = query.limit ?? LIMITS.delayedListDefault
  }

  add({ id, type, key }: Omit<DelayedEvent, 'channel' | 'dueAtMs'>, dueAtMs: number): void {
    const { id: onlyId, key: onlyKey, after } = this.#query
    if ((onlyId !== undefined && id !== onlyId) || (onlyKey !== undefined && key !== onlyKey)) return
    const found = { channel: this.#channel, id, type, key, dueAtMs }
    if (after !== undefined && inOrder(found, after) <= 0) return
    this.#kept.push(found)
    if (this.#kept.length >= 2 * this.#limit) this.#cut()
  }

  /**
   * Whether events that are due at this time or later cannot belong to the page. For callers that add events by due
   * time.
   */
  isBehind(dueAtMs: number): boolean {
    const last = this.#kept[this.#limit - 1]
    return last !== undefined && last.dueAtMs < dueAtMs
  }

  page(): DelayedEvent[] {
    this.#cut()
    return this.#kept
  }

  #cut(): void {
    this.#kept = this.#kept.sort(inOrder).slice(0, this.#limit)
  }
}

type Place = Pick<DelayedEvent, 'dueAtMs' | 'id'>

function inOrder(a: Place, b: Place): number {
  if (a.dueAtMs !== b.dueAtMs) return a.dueAtMs - b.dueAtMs
  return a.id < b.id ? -1 : Number(a.id > b.id)
}

/**
 * The ids that were stored in a channel lately (clause 8): those of the last so many events that are no older than so much.
 *
 * Kafka knows none. Whoever writes follows the tail, having read back the window when it began, and so knows what everybody has written.
 */

import type { TailFold } from './channel-log.ts'
import type { KeptEvent } from './chunk-cache.ts'

interface Known {
  readonly offset: number
  readonly timeMs: number
}

export interface WindowSize {
  readonly ageMs: number
  readonly count: number
}

/** For emissions to channels that do not deduplicate: they are sent again at most so long. */
export const EMISSION_WINDOW: WindowSize = { ageMs: 120_000, count: 100_000 }

export class IdWindow implements TailFold {
  size: WindowSize
  readonly #ids = new Map<string, Known>()

  constructor(size: WindowSize) {
    this.size = size
  }

  add({ offset, timeMs, event }: KeptEvent): void {
    if (event.id === '') return
    // In the order of storing: the oldest is the first to be forgotten.
    this.#ids.delete(event.id)
    this.#ids.set(event.id, { offset, timeMs })
    if (this.#ids.size <= this.size.count) return
    for (const id of this.#ids.keys()) {
      this.#ids.delete(id)
      if (this.#ids.size <= this.size.count) break
    }
  }

  /** Where an id was stored within the window. */
  find(id: string, nowMs: number): number | undefined {
    const known = this.#ids.get(id)
    return known === undefined || nowMs - known.timeMs > this.size.ageMs ? undefined : known.offset
  }

  /** Where it was stored last, whatever the window. */
  offsetOf(id: string): number | undefined {
    return this.#ids.get(id)?.offset
  }

  /** Forget what is too old. */
  expire(nowMs: number): void {
    for (const [id, { timeMs }] of this.#ids) {
      if (nowMs - timeMs <= this.size.ageMs) return
      this.#ids.delete(id)
    }
  }
}

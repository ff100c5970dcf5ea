/**
 * The part of a channel's log that is still there for readers (clause 13), and the part that may be deleted.
 *
 * Kafka deletes whole segments, late. So readers are not shown events beyond a limit, and such events are deleted
 * record by record. Limits by age and count follow from times and offsets. Limits by bytes and by key are folds of the
 * whole log.
 */
import type { TailFold } from './channel-topic.ts'
import type { KeptEvent } from './chunk-cache.ts'

/** The offset of the oldest of the newest events that fit into the limit of bytes. */
export class SizeIndex implements TailFold {
  #events: { readonly offset: number; readonly bytes: number }[] = []
  #at = 0
  #bytes = 0
  readonly #bytesMax: () => number

  constructor(bytesMax: () => number) {
    this.#bytesMax = bytesMax
  }

  add(events: readonly KeptEvent[]): void {
    for (const event of events) this.#add(event)
  }

  #add({ offset, event }: KeptEvent): void {
    const bytes = Buffer.byteLength(event.text)
    this.#events.push({ offset, bytes })
    this.#bytes += bytes
    const max = this.#bytesMax()
    while (this.#bytes > max && this.#at < this.#events.length - 1) this.#bytes -= this.#events[this.#at++]?.bytes ?? 0
    if (this.#at > 10_000 && this.#at > this.#events.length / 2) {
      this.#events = this.#events.slice(this.#at)
      this.#at = 0
    }
  }

  get floor(): number {
    return this.#events[this.#at]?.offset ?? 0
  }
}

/** The latest event of each key. */
export class KeyIndex implements TailFold {
  readonly #latest = new Map<string, number>()

  add(events: readonly KeptEvent[]): void {
    for (const { offset, event } of events) if (event.key !== null) this.#latest.set(event.key, offset)
  }

  shows({ offset, event }: KeptEvent): boolean {
    // A record without an event: its key is gone.
    return event.key === null || (event.type !== '' && this.#latest.get(event.key) === offset)
  }
}

/**
 * What of a channel's log is still there for readers (clause 13), and what of it may be deleted.
 *
 * Kafka deletes whole segments, late. So readers are not shown what is beyond a limit, and what nobody may see is deleted record by record before
 * Kafka does it. By age and by count follow from times and offsets; by bytes and by key are folds of the whole log.
 */
import type { TailFold } from './channel-topic.ts'
import type { KeptEvent } from './chunk-cache.ts'

/** Where the newest events begin that have together no more bytes than the limit. */
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
    // A key without an event is gone.
    return event.key === null || (event.type !== '' && this.#latest.get(event.key) === offset)
  }
}

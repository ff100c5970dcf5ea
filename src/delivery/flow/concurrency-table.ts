/** A limit of handlers that run at once, for each key. It counts the deliveries of the process that owns the data. */
import type { LimitSize } from '../../broker/limits.ts'
import { type Held, type LimitTable, Waiting, type Wake, wakeAll } from './limit-table.ts'

/** Unused keys are looked for after the table has grown by this number. */
const SWEEP_EACH = 1000

interface Entry {
  running: number
  readonly waiting: Waiting
}

export class ConcurrencyTable implements LimitTable {
  readonly kind = 'concurrency'
  readonly name: string
  #size: LimitSize
  readonly #byKey = new Map<string, Entry>()
  #sweepAt = SWEEP_EACH

  constructor(name: string, size: LimitSize) {
    this.name = name
    this.#size = size
  }

  get size(): LimitSize {
    return this.#size
  }

  get keys(): number {
    return this.#byKey.size
  }

  get waiting(): number {
    let count = 0
    for (const { waiting } of this.#byKey.values()) count += waiting.size
    return count
  }

  resize(size: LimitSize): void {
    this.#size = size
    for (const entry of this.#byKey.values()) wakeAll(entry.waiting, () => this.#room(entry))
  }

  #room(entry: Entry): number {
    return this.#size.max - entry.running
  }

  #entry(key: string): Entry {
    let entry = this.#byKey.get(key)
    if (entry === undefined) {
      if (this.#byKey.size >= this.#sweepAt) this.#sweep()
      entry = { running: 0, waiting: new Waiting() }
      this.#byKey.set(key, entry)
    }
    return entry
  }

  /** Remove keys that nothing uses. What was woken for them has not asked again. */
  #sweep(): void {
    for (const [key, { running, waiting }] of this.#byKey)
      if (running <= 0 && waiting.size === 0) this.#byKey.delete(key)
    this.#sweepAt = this.#byKey.size + SWEEP_EACH
  }

  hasRoom(key: string): boolean {
    return (this.#byKey.get(key)?.running ?? 0) < this.#size.max
  }

  wait(key: string, place: string, wake: Wake): void {
    this.#entry(key).waiting.add(place, wake)
  }

  begin(key: string, place: string): void {
    const entry = this.#entry(key)
    entry.running++
    entry.waiting.served(place)
  }

  end(key: string): void {
    const entry = this.#entry(key)
    entry.running--
    wakeAll(entry.waiting, () => this.#room(entry))
    if (entry.running <= 0 && entry.waiting.idle) this.#byKey.delete(key)
  }

  held(): Held {
    return { limit: this.name, kind: 'concurrency', dueAtMs: null }
  }

  heldBy(place: string): Held | null {
    for (const { waiting } of this.#byKey.values()) if (waiting.has(place)) return this.held()
    return null
  }
}

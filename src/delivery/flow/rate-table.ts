/**
 * A limit of events in a span, for each key: the generic cell rate algorithm (GCRA). A key has one number, the time at
 * which it would be idle. In any span of `w` ms, at most `burst + w · max / perMs` events of a key begin.
 *
 * The numbers are stored with the consumer's other records, so that a restart or a takeover gives no key a second
 * burst.
 * A number whose time is over says nothing and is removed.
 */
import type { Clock } from '../../base/clock.ts'
import type { LimitSize } from '../../broker/limits.ts'
import { fromFloat, toFloat, under } from '../consumer-records.ts'
import type { CursorHost } from '../cursor-host.ts'
import { type Held, type LimitTable, Waiting, type Wake, wakeAll } from './limit-table.ts'

export interface RateHost extends Pick<CursorHost, 'range' | 'write'> {
  readonly clock: Pick<Clock, 'now' | 'elapsed' | 'after'>
}

interface Entry {
  /** When the key would be idle, by the clock's `elapsed`. */
  idleAtMs: number
  readonly waiting: Waiting
  cancel: (() => void) | null
}

/** Idle keys are looked for after the table has grown by this number. */
const SWEEP_EACH = 1000

export const rateRecords = {
  table: (limit: string): string => `l/${limit}/`,
  key: (limit: string, key: string): string => `l/${limit}/${key}`,
}

export class RateTable implements LimitTable {
  readonly kind = 'rate'
  readonly name: string
  readonly #host: RateHost
  #size: LimitSize
  readonly #byKey = new Map<string, Entry>()
  #sweepAt = SWEEP_EACH

  constructor(name: string, size: LimitSize, host: RateHost) {
    this.name = name
    this.#size = size
    this.#host = host
    const prefix = rateRecords.table(name)
    for (const [record, bytes] of host.range(...under(prefix))) {
      const aheadMs = fromFloat(bytes) - host.clock.now()
      if (aheadMs <= 0) host.write(record, null)
      // A wall clock that was moved back must not stop a key for longer than a full burst.
      else this.#entry(record.slice(prefix.length)).idleAtMs = host.clock.elapsed() + Math.min(aheadMs, this.#fullMs)
    }
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

  /** The time between two events. */
  get #eachMs(): number {
    return this.#size.perMs / this.#size.max
  }

  /** How far ahead the number of a key can be. */
  get #fullMs(): number {
    return this.#size.burst * this.#eachMs
  }

  #entry(key: string): Entry {
    let entry = this.#byKey.get(key)
    if (entry === undefined) {
      if (this.#byKey.size >= this.#sweepAt) this.#sweep()
      entry = { idleAtMs: Number.NEGATIVE_INFINITY, waiting: new Waiting(), cancel: null }
      this.#byKey.set(key, entry)
    }
    return entry
  }

  /** Remove the keys that are idle. */
  #sweep(): void {
    const now = this.#host.clock.elapsed()
    for (const [key, { idleAtMs, waiting }] of this.#byKey) {
      if (idleAtMs > now || waiting.size > 0) continue
      this.#byKey.delete(key)
      this.#host.write(rateRecords.key(this.name, key), null)
    }
    this.#sweepAt = this.#byKey.size + SWEEP_EACH
  }

  resize(size: LimitSize): void {
    this.#size = size
    const now = this.#host.clock.elapsed()
    for (const entry of this.#byKey.values()) {
      entry.idleAtMs = Math.min(entry.idleAtMs, now + this.#fullMs)
      this.#arm(entry)
    }
  }

  /** When the next event of a key may begin, by the clock's `elapsed`. */
  #opensAt({ idleAtMs }: Entry): number {
    return idleAtMs - (this.#size.burst - 1) * this.#eachMs
  }

  #room(entry: Entry): number {
    const aheadMs = Math.max(0, entry.idleAtMs - this.#host.clock.elapsed())
    return Math.floor((this.#fullMs - aheadMs) / this.#eachMs + 1e-6)
  }

  hasRoom(key: string): boolean {
    const entry = this.#byKey.get(key)
    return entry === undefined || this.#room(entry) >= 1
  }

  wait(key: string, place: string, wake: Wake): void {
    const entry = this.#entry(key)
    entry.waiting.add(place, wake)
    this.#arm(entry)
  }

  #arm(entry: Entry): void {
    entry.cancel?.()
    entry.cancel = null
    if (entry.waiting.size === 0) return
    const waitMs = Math.max(0, this.#opensAt(entry) - this.#host.clock.elapsed())
    entry.cancel = this.#host.clock.after(Math.ceil(waitMs), () => {
      entry.cancel = null
      wakeAll(entry.waiting, () => this.#room(entry))
      this.#arm(entry)
    })
  }

  begin(key: string, place: string, counted: boolean): void {
    if (counted) return
    const entry = this.#entry(key)
    entry.waiting.served(place)
    const { clock, write } = this.#host
    const now = clock.elapsed()
    entry.idleAtMs = Math.max(entry.idleAtMs, now) + this.#eachMs
    write(rateRecords.key(this.name, key), toFloat(clock.now() + entry.idleAtMs - now))
  }

  /** An attempt that began counts, however it ends. */
  end(): void {}

  held(key: string): Held {
    const { clock } = this.#host
    const dueAtMs = clock.now() + Math.max(0, this.#opensAt(this.#entry(key)) - clock.elapsed())
    return { limit: this.name, kind: 'rate', dueAtMs }
  }

  heldBy(place: string): Held | null {
    for (const [key, { waiting }] of this.#byKey) if (waiting.has(place)) return this.held(key)
    return null
  }
}

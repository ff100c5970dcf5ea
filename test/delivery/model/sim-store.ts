/**
 * The records of consumers: the durable ones, those in the commit under way, and those for the next commit.
 *
 * There are two forms. As on the embedded engine, a record can be read when it is durable. As on servers (`near`), a
 * record can be read at once, but the text of a letter only until it is stored, and again after it was fetched.
 */
import { consumerKeys, type DeadRecord, fromJson, lastNumber } from '../../../src/delivery/consumer-records.ts'
import type { RecordChange, RecordSource } from '../../../src/delivery/cursor-host.ts'

type Overlay = Map<string, Uint8Array | null>

/** How many letters may wait to be stored, at most, before no more may join. */
const CROWDED = 3

export class SimStore {
  readonly near: boolean
  readonly durable: Map<string, Uint8Array>
  #pending: Overlay = new Map()
  #committing: Overlay | null = null
  readonly #sources = new Set<RecordSource>()
  #waiters: (() => void)[] = []
  #toTell: (() => void)[] = []
  /** The texts that were fetched. */
  readonly #texts = new Set<string>()
  /** The fetches that are under way. */
  fetches: (() => void)[] = []
  onStored: () => void = () => undefined
  /** Grows with every write. */
  version = 0

  constructor(near: boolean, durable: Map<string, Uint8Array>) {
    this.near = near
    this.durable = durable
  }

  get busy(): boolean {
    return this.#committing !== null || this.#pending.size > 0 || this.#sources.size > 0 || this.#waiters.length > 0
  }

  get committing(): boolean {
    return this.#committing !== null
  }

  write(key: string, value: Uint8Array | null): void {
    this.version++
    this.#pending.set(key, value)
    this.#texts.delete(key)
  }

  touch(source: RecordSource): void {
    this.#sources.add(source)
  }

  flushed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push(resolve)
    })
  }

  /** A record as it will be when everything is durable. */
  latest(key: string): Uint8Array | undefined {
    for (const overlay of [this.#pending, this.#committing]) {
      const found = overlay?.get(key)
      if (found !== undefined) return found ?? undefined
    }
    return this.durable.get(key)
  }

  get(key: string): Uint8Array | undefined {
    if (!this.near) return this.durable.get(key)
    const stored = key.startsWith('d/') && !this.#pending.has(key) && this.#committing?.has(key) !== true
    return stored && !this.#texts.has(key) ? undefined : this.latest(key)
  }

  range(from: string, to: string, limit: number = Number.POSITIVE_INFINITY): [string, Uint8Array][] {
    return this.#range(from, to, this.near).slice(0, limit)
  }

  /** All records of a table as they will be when everything is durable. */
  latestIn([from, to]: readonly [from: string, to: string]): [string, Uint8Array][] {
    return this.#range(from, to, true)
  }

  #range(from: string, to: string, latest: boolean): [string, Uint8Array][] {
    const found = new Map<string, Uint8Array | null>()
    for (const overlay of latest ? [this.durable, this.#committing, this.#pending] : [this.durable]) {
      for (const [key, value] of overlay ?? []) if (key >= from && key < to) found.set(key, value)
    }
    const there = [...found].filter((entry): entry is [string, Uint8Array] => entry[1] !== null)
    return there.sort(([a], [b]) => (a < b ? -1 : 1))
  }

  beginCommit(): void {
    const changes: RecordChange[] = [...this.#pending]
    for (const source of this.#sources) source.collect(changes)
    this.#sources.clear()
    this.#committing = new Map(changes)
    this.#pending = new Map()
    this.#toTell = this.#waiters
    this.#waiters = []
  }

  endCommit(): void {
    for (const [key, value] of this.#committing ?? []) {
      if (value === null) this.durable.delete(key)
      else this.durable.set(key, value)
    }
    this.#committing = null
    for (const tell of this.#toTell.splice(0)) tell()
    if (this.near) this.onStored()
  }

  get crowded(): boolean {
    let count = 0
    for (const overlay of [this.#pending, this.#committing])
      for (const [key, value] of overlay ?? []) if (key.startsWith('d/') && value !== null) count++
    return count >= CROWDED
  }

  /** Forget the texts that were fetched. */
  evict(): void {
    this.#texts.clear()
  }

  /** The letters of a consumer in a log, as on servers. */
  letters(group: string, channelId: number): SimLetters {
    const keyOf = (offset: number): string => consumerKeys.dead(group, channelId, offset)
    return new SimLetters(this, (offset) => this.#fetch(keyOf(offset)), keyOf)
  }

  #fetch(key: string): Promise<boolean> {
    return new Promise((resolve) => {
      this.fetches.push(() => {
        this.#texts.add(key)
        resolve(this.latest(key) !== undefined)
      })
    })
  }
}

export class SimLetters {
  readonly fetch: (offset: number) => Promise<boolean>
  readonly #store: SimStore
  readonly #keyOf: (offset: number) => string

  constructor(store: SimStore, fetch: (offset: number) => Promise<boolean>, keyOf: (offset: number) => string) {
    this.#store = store
    this.fetch = fetch
    this.#keyOf = keyOf
  }

  get crowded(): boolean {
    return this.#store.crowded
  }

  async *load(offsets: readonly number[]): AsyncGenerator<readonly [offset: number, record: DeadRecord]> {
    for (const offset of offsets) {
      if (this.#store.get(this.#keyOf(offset)) === undefined) await this.fetch(offset)
      const bytes = this.#store.get(this.#keyOf(offset))
      if (bytes !== undefined) yield [lastNumber(this.#keyOf(offset)), fromJson<DeadRecord>(bytes)]
    }
  }
}

/**
 * The dead letters of a partition at its owner's, and what waits behind them: their texts are on the servers, in memory are their places.
 *
 * Invariants:
 * - A text is stored before the entry of the consumer log that settles its event and says where it is. What is stored and in no consumer log is nobody's.
 * - Until that entry is written a letter is in memory: so many, and so many bytes, then nothing more joins (`crowded`).
 * - What nothing in the consumer log points to is deleted from the front, and when most of what is left is such, the others are stored anew behind it.
 */
import { type Clock, pause } from '../../base/clock.ts'
import { isMillraceError } from '../../base/errors.ts'
import type { LastingFailures } from '../../base/lasting-failures.ts'
import { LIMITS } from '../../base/limits.ts'
import { consumerKeys, type DeadRecord, fromJson, lastNumber, toJson } from '../../delivery/consumer-records.ts'
import type { RecordChange } from '../../delivery/cursor-host.ts'
import type { LetterReader } from '../../delivery/dead/letter-records.ts'
import { type Place, placeBytes, placeIn } from '../consumer-log/consumer-log-records.ts'
import { type Appended, type AppendItem, Fenced, type LogBackend } from '../log-backend.ts'
import type { Aside, Ownership } from '../ownership/ownership.ts'
import type { Appenders } from '../publish/appending.ts'
import type { Registry } from '../registry.ts'
import { LetterPages, letterChannel, letterEvents, letterSpec } from './letter-pages.ts'

/** What waits to be written, at most: with their chains they must fit into an entry of the consumer log. */
const WAITING_MAX = 250
const RETRY_MS = 200
const TIDY_MS = 200
/** So many letters may be stored that nobody needs. */
const GARBAGE_MAX = 1000

export interface ShelfHost {
  readonly backend: LogBackend
  readonly clock: Clock
  /** Store letters of events of a channel; makes the letters' channel where it is not there. */
  append(letters: string, of: string, items: readonly AppendItem[]): Promise<readonly Appended[]>
  alarm(error: unknown): void
  /** Letters that nobody needs and that cannot be deleted. */
  readonly failures: LastingFailures
}

export function shelfHost(
  backend: LogBackend,
  clock: Clock,
  registry: Registry,
  appenders: Appenders,
  alarm: (error: unknown) => void,
  failures: LastingFailures,
): ShelfHost {
  return {
    backend,
    clock,
    append: async (letters, of, items) => {
      if (registry.find(letters) === undefined)
        await registry.declare(letterSpec(letters), registry.known(of).partitions)
      return appenders.of(letters).append(items, false)
    },
    alarm,
    failures,
  }
}

interface Waiting {
  readonly dead: Uint8Array
  chain: Uint8Array | null
}

export class LetterShelf implements LetterReader, Aside {
  readonly #host: ShelfHost
  readonly #ownership: Ownership
  readonly #group: string
  readonly #partition: number
  readonly #of: string
  readonly #channel: string
  readonly #pages: LetterPages
  readonly #waiting = new Map<number, Waiting>()
  #waitingBytes = 0
  /** Texts read ahead. */
  readonly #cache = new Map<number, Uint8Array>()
  #cacheBytes = 0
  readonly #fetching = new Map<number, Promise<boolean>>()
  #end = 0
  #gone = 0
  #tidying = false
  #wantsTidying = false
  /** What has waited is stored. */
  onStored: () => void = () => undefined

  constructor(host: ShelfHost, ownership: Ownership, group: string, channel: string, partition: number) {
    this.#host = host
    this.#ownership = ownership
    this.#group = group
    this.#partition = partition
    this.#of = channel
    this.#channel = letterChannel(group, channel)
    this.#pages = new LetterPages(host.backend, this.#channel, partition)
    ownership.aside = this
  }

  get waiting(): boolean {
    return this.#waiting.size > 0
  }

  get crowded(): boolean {
    return this.#waiting.size >= WAITING_MAX || this.#waitingBytes >= LIMITS.readAheadBytes
  }

  #deadKey(offset: number): string {
    return consumerKeys.dead(this.#group, this.#partition, offset)
  }

  #chainKey(offset: number): string {
    return consumerKeys.chain(this.#group, this.#partition, offset)
  }

  #place(offset: number): Place | null {
    const record = this.#ownership.get(this.#deadKey(offset))
    return record === undefined ? null : placeIn(record)
  }

  /** A record; that of a letter only while its text is at hand. */
  get(key: string): Uint8Array | undefined {
    if (key.startsWith('d/')) {
      const offset = lastNumber(key)
      const near = this.#waiting.get(offset)?.dead ?? this.#cache.get(offset)
      if (near !== undefined) return near
      const record = this.#ownership.get(key)
      return record === undefined || placeIn(record) !== null ? undefined : record
    }
    return (key.startsWith('k/') ? this.#waiting.get(lastNumber(key))?.chain : null) ?? this.#ownership.get(key)
  }

  range(from: string, to: string, limit: number = Number.POSITIVE_INFINITY): [string, Uint8Array][] {
    const stored = this.#ownership.range(from, to, limit)
    if (this.#waiting.size === 0 || !from.startsWith('k/')) return stored
    const found = new Map(stored)
    for (const [offset, { chain }] of this.#waiting) {
      const key = this.#chainKey(offset)
      if (chain !== null && key >= from && key < to) found.set(key, chain)
    }
    return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, limit)
  }

  write(key: string, value: Uint8Array | null): void {
    const offset = lastNumber(key)
    if (key.startsWith('d/')) {
      this.#forget(offset)
      if (value === null) this.#remove(key)
      else this.#wait(offset, { dead: value, chain: null })
      return
    }
    const waiting = key.startsWith('k/') && value !== null ? this.#waiting.get(offset) : undefined
    if (waiting === undefined) this.#ownership.write(key, value)
    else waiting.chain = value
  }

  #wait(offset: number, letter: Waiting): void {
    this.#waiting.set(offset, letter)
    this.#waitingBytes += letter.dead.length
    this.#ownership.storeAside()
  }

  #forget(offset: number): void {
    const waiting = this.#waiting.get(offset)
    if (waiting !== undefined) this.#waitingBytes -= waiting.dead.length
    this.#waiting.delete(offset)
    this.#cacheBytes -= this.#cache.get(offset)?.length ?? 0
    this.#cache.delete(offset)
  }

  #remove(key: string): void {
    this.#ownership.write(key, null)
    this.#gone++
    if (this.#gone >= GARBAGE_MAX || this.#ownership.letters(key).size === 0) this.#tidySoon()
  }

  /** What is asked for while letters are tidied is done behind it, and what fails again later. */
  #tidySoon(): void {
    this.#wantsTidying = true
    if (this.#tidying) return
    this.#tidying = true
    this.#host.clock.after(TIDY_MS, () => {
      this.#wantsTidying = false
      this.#tidy()
        .then(
          () => this.#host.failures.succeeded(`the dead letters of channel "${this.#of}"`),
          (error: unknown) => {
            if (this.#ownership.over || error instanceof Fenced) return
            this.#host.failures.failed(`the dead letters of channel "${this.#of}"`, error)
            this.#wantsTidying = true
          },
        )
        .finally(() => {
          this.#tidying = false
          if (this.#wantsTidying && !this.#ownership.over) this.#tidySoon()
        })
    })
  }

  /** Store what waits. Answers the records that say where it is, to be written with what was settled before. */
  async store(): Promise<RecordChange[]> {
    const letters = [...this.#waiting]
    const max = this.#host.backend.limits.entryBytes
    const events = letters.map(([offset, { dead }]) =>
      letterEvents(offset, Buffer.from(dead.buffer, dead.byteOffset, dead.byteLength).toString(), max),
    )
    const places = await this.#append(
      events.flat().map((event) => ({ partition: this.#partition, event, dedupeId: null })),
    )
    const changes: RecordChange[] = []
    for (const [at, [offset, letter]] of letters.entries()) {
      const its = places.splice(0, events[at]?.length)
      const records: RecordChange[] = [[this.#deadKey(offset), placeBytes(its.length === 1 ? (its[0] as number) : its)]]
      if (letter.chain !== null) records.push([this.#chainKey(offset), letter.chain])
      changes.push(...records)
      // It may be gone meanwhile, or another.
      const isStill = this.#waiting.get(offset) === letter
      if (isStill) this.#forget(offset)
      for (const [key, value] of records) {
        if (isStill) this.#ownership.know(key, value as Uint8Array)
        else this.#ownership.knew(key, value as Uint8Array)
      }
    }
    this.onStored()
    return changes
  }

  async #append(items: readonly AppendItem[]): Promise<number[]> {
    for (;;) {
      try {
        const places = (await this.#host.append(this.#channel, this.#of, items)).map(({ offset }) => offset)
        this.#end = Math.max(this.#end, ...places.map((place) => place + 1))
        return places
      } catch (error) {
        if (this.#ownership.over) throw new Fenced(this.#channel)
        if (isMillraceError(error) && !error.retryable) throw error
        this.#host.alarm(error)
        await pause(this.#host.clock, RETRY_MS)
      }
    }
  }

  fetch(offset: number): Promise<boolean> {
    const under = this.#fetching.get(offset) ?? this.#fetch(offset).finally(() => this.#fetching.delete(offset))
    this.#fetching.set(offset, under)
    return under
  }

  /** False where there is no such text, on the servers or here. @throws Fenced when the partition is another's */
  async #fetch(offset: number): Promise<boolean> {
    for (;;) {
      const place = this.#place(offset)
      if (this.get(this.#deadKey(offset)) !== undefined) return true
      if (place === null) return false
      try {
        if (typeof place === 'number')
          for (const [at, letter] of await this.#pages.from(place))
            this.#offer(at, letter.offset, letter.letter ?? null)
        else this.#keep(offset, await this.#pages.letter(place))
        if (this.#cache.has(offset)) return true
        await this.#ownership.verify()
        if (this.#place(offset) === place) return false
      } catch (error) {
        if (this.#ownership.over || error instanceof Fenced) throw new Fenced(this.#channel)
        this.#host.alarm(error)
        if (isMillraceError(error) && !error.retryable) throw error
        await pause(this.#host.clock, RETRY_MS)
      }
    }
  }

  /** What was read ahead is kept if it is still what the consumer log points to. */
  #offer(place: number, offset: number, letter: DeadRecord | null): void {
    if (!this.#waiting.has(offset) && !this.#cache.has(offset) && this.#place(offset) === place)
      this.#keep(offset, letter)
  }

  #keep(offset: number, letter: DeadRecord | null): void {
    if (letter === null) return
    const bytes = toJson(letter)
    this.#cache.set(offset, bytes)
    this.#cacheBytes += bytes.length
    for (const [other, { length }] of this.#cache) {
      if (this.#cacheBytes <= LIMITS.readAheadBytes || other === offset) break
      this.#cache.delete(other)
      this.#cacheBytes -= length
    }
  }

  async *load(offsets: readonly number[]): AsyncGenerator<readonly [offset: number, record: DeadRecord]> {
    const pages = new LetterPages(this.#host.backend, this.#channel, this.#partition)
    for (const offset of offsets) {
      const near = this.get(this.#deadKey(offset))
      const place = this.#place(offset)
      const letter = near !== undefined ? fromJson<DeadRecord>(near) : place === null ? null : await pages.letter(place)
      if (letter !== null) yield [offset, letter]
    }
  }

  /** Delete what is not needed. */
  async #tidy(): Promise<void> {
    this.#gone = 0
    // Not before it is durable that nothing points there.
    await this.#ownership.flushed()
    const first = this.#first()
    if (first > 0) await this.#host.backend.trim(this.#channel, this.#partition, first)
    const table = this.#ownership.letters(this.#deadKey(0))
    if (
      table.size > 0 &&
      (await this.#host.backend.pendingFrom(this.#channel, this.#partition, first)) > 2 * table.size + GARBAGE_MAX
    )
      await this.#move()
  }

  /** The lowest place of a letter. */
  #first(): number {
    let first = this.#end
    for (const value of this.#ownership.letters(this.#deadKey(0)).values()) {
      const place = value instanceof Uint8Array ? first : typeof value === 'number' ? value : (value[0] as number)
      if (place < first) first = place
    }
    return first
  }

  /** Store all letters anew, and delete what was before them. */
  async #move(): Promise<void> {
    const offsets = [...this.#ownership.letters(this.#deadKey(0)).range(0)].map(([offset]) => offset)
    for await (const [offset, letter] of this.load(offsets)) {
      if (this.#place(offset) === null || this.#waiting.has(offset)) continue
      this.#wait(offset, { dead: toJson(letter), chain: null })
      if (this.crowded) await this.#ownership.flushed()
    }
    await this.#ownership.flushed()
    await this.#host.backend.trim(this.#channel, this.#partition, this.#first())
  }
}

/**
 * The dead letters of a partition, at its owner. Their texts are stored on the servers, in a channel of their own
 * (`letter-pages.ts`); in memory are the offsets of the texts.
 *
 * Invariants:
 * - A text is stored before the consumer log's entry that settles its event and holds the text's offset. A text whose
 *   offset is in no consumer log belongs to nobody.
 * - A letter is in memory until that entry is written. Their number and bytes are limited: beyond the limit no letter
 *   joins (`crowded`).
 * - Texts that no consumer log needs are deleted from the front. When most of the stored texts are not needed, the
 *   needed ones are stored again at the end.
 */
import { type Clock, pause } from '../../base/clock.ts'
import { isMillraceError } from '../../base/errors.ts'
import type { LastingFailures } from '../../base/lasting-failures.ts'
import { LIMITS } from '../../base/limits.ts'
import { consumerKeys, type DeadRecord, fromJson, lastNumber, toJson } from '../../delivery/consumer-records.ts'
import type { RecordChange } from '../../delivery/cursor-host.ts'
import type { LetterReader } from '../../delivery/dead/letter-records.ts'
import { type TextOffsets, textOffsetsBytes, textOffsetsIn } from '../consumer-log/consumer-log-records.ts'
import { type Appended, type AppendItem, Fenced, type LogBackend } from '../log-backend.ts'
import type { Aside, Ownership } from '../ownership/ownership.ts'
import type { Appenders } from '../publish/appending.ts'
import type { Registry } from '../registry.ts'
import { LetterPages, letterChannel, letterEvents, letterSpec } from './letter-pages.ts'

/** The limit of letters that wait to be written: with their chains they must fit into one entry of the consumer log. */
const WAITING_MAX = 250
const RETRY_MS = 200
const TIDY_MS = 200
/** The number of stored texts that may be unnecessary. */
const GARBAGE_MAX = 1000

export interface DeadLetterStoreHost {
  readonly backend: LogBackend
  readonly clock: Clock
  /** Store texts of letters of a channel. Creates the channel of the texts if it does not exist. */
  append(letters: string, of: string, items: readonly AppendItem[]): Promise<readonly Appended[]>
  alarm(error: unknown): void
  /** Failures to delete unnecessary texts. */
  readonly failures: LastingFailures
}

export function deadLetterStoreHost(
  backend: LogBackend,
  clock: Clock,
  registry: Registry,
  appenders: Appenders,
  alarm: (error: unknown) => void,
  failures: LastingFailures,
): DeadLetterStoreHost {
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

interface UnstoredLetter {
  readonly dead: Uint8Array
  chain: Uint8Array | null
}

export class DeadLetterStore implements LetterReader, Aside {
  readonly #host: DeadLetterStoreHost
  readonly #ownership: Ownership
  readonly #group: string
  readonly #partition: number
  readonly #of: string
  readonly #channel: string
  readonly #pages: LetterPages
  readonly #waiting = new Map<number, UnstoredLetter>()
  #waitingBytes = 0
  /** Texts that were read ahead. */
  readonly #cache = new Map<number, Uint8Array>()
  #cacheBytes = 0
  readonly #fetching = new Map<number, Promise<boolean>>()
  #end = 0
  #gone = 0
  #tidying = false
  #wantsTidying = false
  /** Called when the letters that waited are stored. */
  onStored: () => void = () => undefined

  constructor(host: DeadLetterStoreHost, ownership: Ownership, group: string, channel: string, partition: number) {
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

  #textOf(offset: number): TextOffsets | null {
    const record = this.#ownership.get(this.#deadKey(offset))
    return record === undefined ? null : textOffsetsIn(record)
  }

  /** A record. The record of a letter is answered only while its text is in memory. */
  get(key: string): Uint8Array | undefined {
    if (key.startsWith('d/')) {
      const offset = lastNumber(key)
      const near = this.#waiting.get(offset)?.dead ?? this.#cache.get(offset)
      if (near !== undefined) return near
      const record = this.#ownership.get(key)
      return record === undefined || textOffsetsIn(record) !== null ? undefined : record
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

  #wait(offset: number, letter: UnstoredLetter): void {
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

  /** A request that comes during a run, or a run that fails, is followed by another run. */
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

  /** Store the texts that wait. Answers the records with their offsets, for the entry that settles their events. */
  async store(): Promise<RecordChange[]> {
    const letters = [...this.#waiting]
    const max = this.#host.backend.limits.entryBytes
    const events = letters.map(([offset, { dead }]) =>
      letterEvents(offset, Buffer.from(dead.buffer, dead.byteOffset, dead.byteLength).toString(), max),
    )
    const textOffsets = await this.#append(
      events.flat().map((event) => ({ partition: this.#partition, event, dedupeId: null })),
    )
    const changes: RecordChange[] = []
    for (const [at, [offset, letter]] of letters.entries()) {
      const its = textOffsets.splice(0, events[at]?.length)
      const records: RecordChange[] = [
        [this.#deadKey(offset), textOffsetsBytes(its.length === 1 ? (its[0] as number) : its)],
      ]
      if (letter.chain !== null) records.push([this.#chainKey(offset), letter.chain])
      changes.push(...records)
      // The letter may be deleted or replaced meanwhile.
      const isStill = this.#waiting.get(offset) === letter
      if (isStill) this.#forget(offset)
      for (const [key, value] of records) {
        if (isStill) this.#ownership.noteStored(key, value as Uint8Array)
        else this.#ownership.noteStoredEarlier(key, value as Uint8Array)
      }
    }
    this.onStored()
    return changes
  }

  async #append(items: readonly AppendItem[]): Promise<number[]> {
    for (;;) {
      try {
        const offsets = (await this.#host.append(this.#channel, this.#of, items)).map(({ offset }) => offset)
        this.#end = Math.max(this.#end, ...offsets.map((textOffset) => textOffset + 1))
        return offsets
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

  /**
   * False if there is no such text, on the servers or in memory. @throws Fenced when another member owns the partition
   */
  async #fetch(offset: number): Promise<boolean> {
    for (;;) {
      const text = this.#textOf(offset)
      if (this.get(this.#deadKey(offset)) !== undefined) return true
      if (text === null) return false
      try {
        if (typeof text === 'number')
          for (const [at, letter] of await this.#pages.from(text)) this.#offer(at, letter.offset, letter.letter ?? null)
        else this.#keep(offset, await this.#pages.letter(text))
        if (this.#cache.has(offset)) return true
        await this.#ownership.verify()
        if (this.#textOf(offset) === text) return false
      } catch (error) {
        if (this.#ownership.over || error instanceof Fenced) throw new Fenced(this.#channel)
        this.#host.alarm(error)
        if (isMillraceError(error) && !error.retryable) throw error
        await pause(this.#host.clock, RETRY_MS)
      }
    }
  }

  /** Keep a text that was read ahead, if the consumer log still holds its offset. */
  #offer(textOffset: number, offset: number, letter: DeadRecord | null): void {
    if (!this.#waiting.has(offset) && !this.#cache.has(offset) && this.#textOf(offset) === textOffset)
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
      const text = this.#textOf(offset)
      const letter = near !== undefined ? fromJson<DeadRecord>(near) : text === null ? null : await pages.letter(text)
      if (letter !== null) yield [offset, letter]
    }
  }

  /** Delete unnecessary texts. */
  async #tidy(): Promise<void> {
    this.#gone = 0
    // The next owner must not find an offset whose text is deleted.
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

  /** The lowest offset of a text that is needed. */
  #first(): number {
    let first = this.#end
    for (const value of this.#ownership.letters(this.#deadKey(0)).values()) {
      const text = value instanceof Uint8Array ? first : typeof value === 'number' ? value : (value[0] as number)
      if (text < first) first = text
    }
    return first
  }

  /** Store all needed texts again, and delete those before them. */
  async #move(): Promise<void> {
    const offsets = [...this.#ownership.letters(this.#deadKey(0)).range(0)].map(([offset]) => offset)
    for await (const [offset, letter] of this.load(offsets)) {
      if (this.#textOf(offset) === null || this.#waiting.has(offset)) continue
      this.#wait(offset, { dead: toJson(letter), chain: null })
      if (this.crowded) await this.#ownership.flushed()
    }
    await this.#ownership.flushed()
    await this.#host.backend.trim(this.#channel, this.#partition, this.#first())
  }
}

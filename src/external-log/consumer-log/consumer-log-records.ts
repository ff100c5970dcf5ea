/**
 * The records of a partition, in the memory of its owner.
 *
 * There may be many dead letters, so their records are small: for a text, only the offsets at which it is stored
 * (`dead-letter-store.ts`); for a chain, the part that all of its events have in common is kept once. A dead letter
 * takes about ninety bytes, and a million of them about 90 MB.
 */
import { lastNumber } from '../../delivery/consumer-records.ts'
import { OffsetTable } from '../read/offset-table.ts'

/**
 * Where the text of a dead letter is stored in the channel of dead letters: its offset, or the offsets of its pieces.
 */
export type TextOffsets = number | readonly number[]

const DIGITS = 16
const SHARED_MAX = 1000
const TEXT_OFFSETS = /^\{"at":(\d+|\[[\d,]+\])\}$/

export function textOffsetsBytes(offsets: TextOffsets): Uint8Array {
  return Buffer.from(JSON.stringify({ at: offsets }))
}

/** The offsets in a record, or null if the record has the text itself, as records of earlier versions have. */
export function textOffsetsIn(bytes: Uint8Array): TextOffsets | null {
  // A record with its text begins differently.
  if (bytes.length > 4 && bytes[2] === 0x61 && bytes[3] === 0x74) {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
    if (TEXT_OFFSETS.test(text)) return (JSON.parse(text) as { at: TextOffsets }).at
  }
  return null
}

function isLetters(key: string): boolean {
  return (key.startsWith('d/') || key.startsWith('k/')) && key.length > DIGITS
}

export class ConsumerLogRecords {
  readonly #byKey = new Map<string, Uint8Array>()
  /** Tables of dead letters, by the prefix of their keys. */
  readonly #letters = new Map<string, OffsetTable<Uint8Array | TextOffsets>>()
  /** Values that many records have. Each is kept once. */
  readonly #shared = new Map<string, Uint8Array>()

  /** The table of dead letters that a key belongs to. */
  letters(key: string): OffsetTable<Uint8Array | TextOffsets> {
    const prefix = key.slice(0, -DIGITS)
    let table = this.#letters.get(prefix)
    if (table === undefined) {
      table = new OffsetTable()
      this.#letters.set(prefix, table)
    }
    return table
  }

  get(key: string): Uint8Array | undefined {
    if (!isLetters(key)) return this.#byKey.get(key)
    const value = this.#letters.get(key.slice(0, -DIGITS))?.get(lastNumber(key))
    return value === undefined ? undefined : bytesOf(value)
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  set(key: string, value: Uint8Array): void {
    if (!isLetters(key)) {
      this.#byKey.set(key, value)
      return
    }
    const kept = key.startsWith('k/') ? this.#share(value) : (textOffsetsIn(value) ?? value)
    this.letters(key).set(lastNumber(key), kept)
  }

  /** Set a record, or delete it (null). */
  put(key: string, value: Uint8Array | null): void {
    if (value === null) this.delete(key)
    else this.set(key, value)
  }

  #share(value: Uint8Array): Uint8Array {
    const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()
    const known = this.#shared.get(text)
    if (known !== undefined) return known
    if (this.#shared.size >= SHARED_MAX) this.#shared.clear()
    this.#shared.set(text, value)
    return value
  }

  delete(key: string): void {
    if (isLetters(key)) this.#letters.get(key.slice(0, -DIGITS))?.delete(lastNumber(key))
    else this.#byKey.delete(key)
  }

  *keys(): Generator<string> {
    yield* this.#byKey.keys()
    for (const [prefix, table] of this.#letters) for (const [offset] of table.range(0)) yield keyOf(prefix, offset)
  }

  /** All records. */
  *[Symbol.iterator](): Generator<readonly [key: string, value: Uint8Array]> {
    yield* this.#byKey
    for (const [prefix, table] of this.#letters)
      for (const [offset, value] of table.range(0)) yield [keyOf(prefix, offset), bytesOf(value)]
  }

  /** Records whose keys are between two texts, in order. */
  range(from: string, to: string, limit: number = Number.POSITIVE_INFINITY): [string, Uint8Array][] {
    const found: [string, Uint8Array][] = []
    for (const [prefix, table] of this.#letters) {
      // The keys of a table are consecutive, so a range is in one table or in none.
      if (!from.startsWith(prefix)) continue
      for (const [offset, value] of table.range(lastNumber(from.replace(/!$/, '')))) {
        const key = keyOf(prefix, offset)
        if (key < from) continue
        if (key >= to || found.length >= limit) return found
        found.push([key, bytesOf(value)])
      }
      return found
    }
    for (const [key, value] of this.#byKey) if (key >= from && key < to) found.push([key, value])
    return found.sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, limit)
  }
}

function keyOf(prefix: string, offset: number): string {
  return `${prefix}${String(offset).padStart(DIGITS, '0')}`
}

function bytesOf(value: Uint8Array | TextOffsets): Uint8Array {
  return value instanceof Uint8Array ? value : textOffsetsBytes(value)
}

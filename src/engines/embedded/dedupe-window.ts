/**
 * Clause 8: which offset an id may already have, within a window of events and time.
 *
 * From a 64-bit fingerprint of the id to its offset, in typed arrays: some 32 bytes an event, whatever the id's length. It says
 * "perhaps at this offset"; the caller compares the stored id, so a collision never drops an event. Two generations: the
 * older one is forgotten when the younger is full or too old, so between one and two windows are remembered.
 */
const ENTRIES_MIN = 64

/**
 * Two independent 32-bit hashes of a string (FNV-1a and a multiplicative one, of four characters at a time); written to module state, to spare an
 * allocation an event.
 */
let hashA = 0
let hashB = 0
function hash(id: string): void {
  let a = 0x811c9dc5
  let b = 0x9e3779b9
  let index = 0
  for (; index + 3 < id.length; index += 4) {
    const pair = id.charCodeAt(index) | (id.charCodeAt(index + 1) << 8)
    const word = pair ^ ((id.charCodeAt(index + 2) << 16) | (id.charCodeAt(index + 3) << 24))
    a = Math.imul(a ^ word, 0x01000193)
    a ^= a >>> 15
    b = Math.imul(b + word, 0x85ebca6b) ^ (b >>> 13)
  }
  for (; index < id.length; index++) {
    const code = id.charCodeAt(index)
    a = Math.imul(a ^ code, 0x01000193)
    b = Math.imul(b + code, 0x85ebca6b) ^ (b >>> 13)
  }
  hashA = a ^ (a >>> 15)
  hashB = b | 1
}

/** An entry is four words: fingerprint, hash, low and high part of the offset. */
const ENTRY_WORDS = 4
const TWO_32 = 2 ** 32

/**
 * Entries in the order in which they came, and a table of them by their hash. The table is brought up to date when somebody asks: where ids only
 * ever grow nobody does, and nothing but the end of the entries is written to.
 */
class Generation {
  #entries = new Int32Array(ENTRIES_MIN * ENTRY_WORDS)
  /** Numbers of entries, from 1; 0 = free. */
  #table = new Int32Array(0)
  #indexed = 0
  size = 0
  greatest = ''
  firstOffset = 0
  firstMs = 0
  lastMs = 0

  /** The offset of the current hash, or −1. */
  find(): number {
    this.#index()
    const [entries, table, mask] = [this.#entries, this.#table, this.#table.length - 1]
    for (let slot = hashA & mask; ; slot = (slot + 1) & mask) {
      const number = table[slot] as number
      if (number === 0) return -1
      const at = (number - 1) * ENTRY_WORDS
      if (entries[at] === hashB && entries[at + 1] === hashA)
        return ((entries[at + 2] as number) >>> 0) + (entries[at + 3] as number) * TWO_32
    }
  }

  put(offset: number): void {
    const at = this.size * ENTRY_WORDS
    if (at === this.#entries.length) this.#grow()
    const entries = this.#entries
    entries[at] = hashB
    entries[at + 1] = hashA
    entries[at + 2] = offset
    entries[at + 3] = Math.floor(offset / TWO_32)
    this.size++
  }

  #grow(): void {
    const entries = new Int32Array(this.#entries.length * 2)
    entries.set(this.#entries)
    this.#entries = entries
  }

  #index(): void {
    if (this.#indexed === this.size && this.#table.length > 0) return
    if (this.#table.length < 2 * this.size || this.#table.length === 0) {
      this.#table = new Int32Array((this.#entries.length / ENTRY_WORDS) * 2)
      this.#indexed = 0
    }
    const [entries, table, mask] = [this.#entries, this.#table, this.#table.length - 1]
    for (; this.#indexed < this.size; this.#indexed++) {
      const [a, b] = [
        entries[this.#indexed * ENTRY_WORDS + 1] as number,
        entries[this.#indexed * ENTRY_WORDS] as number,
      ]
      let slot = a & mask
      for (let number = table[slot] as number; number !== 0; number = table[slot] as number) {
        const at = (number - 1) * ENTRY_WORDS
        // The id came again: its earlier event was refused.
        if (entries[at] === b && entries[at + 1] === a) break
        slot = (slot + 1) & mask
      }
      table[slot] = this.#indexed + 1
    }
  }

  /** Forget everything; the memory stays. */
  clear(): void {
    if (this.#indexed > 0) this.#table.fill(0)
    this.#indexed = 0
    this.size = 0
    this.greatest = ''
  }
}

export class DedupeWindow {
  readonly #ageMs: number
  readonly #count: number
  #young = new Generation()
  #old: Generation | null = null
  /** The greatest id of both: a greater one is new, and need not be looked for. Ids of version 7 come in this order, or nearly. */
  #greatest = ''
  /** The id of the last `find`, and whether it is greater than all. */
  #asked = ''
  #isGreatest = false

  constructor(window: { readonly ageMs: number; readonly count: number }) {
    this.#ageMs = window.ageMs
    this.#count = window.count
  }

  /** Offset at which the id may be stored, or −1. */
  find(id: string): number {
    this.#asked = id
    this.#isGreatest = id > this.#greatest
    if (this.#isGreatest) return -1
    hash(id)
    const young = this.#young.find()
    return young >= 0 || this.#old === null ? young : this.#old.find()
  }

  /** Remember an id. */
  add(id: string, offset: number, timeMs: number): void {
    if (id !== this.#asked) {
      this.#asked = id
      this.#isGreatest = id > this.#greatest
    }
    hash(id)
    const { size, firstMs } = this.#young
    if (size >= this.#count || (size > 0 && timeMs - firstMs > this.#ageMs)) this.#turn()
    const young = this.#young
    if (young.size === 0) {
      young.firstOffset = offset
      young.firstMs = timeMs
    }
    young.lastMs = timeMs
    young.put(offset)
    if (this.#isGreatest || id > this.#greatest) this.#greatest = id
    if (this.#isGreatest || id > young.greatest) young.greatest = id
  }

  /** Whether an event at an offset that `find` answered may be young enough. */
  reaches(offset: number, nowMs: number): boolean {
    const young = this.#young.size > 0 && offset >= this.#young.firstOffset
    const { lastMs } = young || this.#old === null ? this.#young : this.#old
    return nowMs - lastMs <= this.#ageMs
  }

  #turn(): void {
    // The oldest's table serves again, unless it is far larger than what comes now needs.
    const again = this.#old !== null && this.#old.size <= 2 * this.#young.size ? this.#old : new Generation()
    this.#old = this.#young
    again.clear()
    this.#young = again
    this.#greatest = this.#old.greatest
  }

  /** The oldest offset that a duplicate may still refer to: events from here on must stay readable. */
  startOffset(nowMs: number, next: number): number {
    if (this.#old !== null && nowMs - this.#old.lastMs > this.#ageMs) this.#old = null
    if (this.#old !== null) return this.#old.firstOffset
    return this.#young.size === 0 || nowMs - this.#young.lastMs > this.#ageMs ? next : this.#young.firstOffset
  }
}

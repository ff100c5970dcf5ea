/**
 * Clause 8: the offset at which an id may already be stored, within a window of events and time.
 *
 * It maps a 64-bit fingerprint of the id to its offset, in typed arrays: about 32 bytes an event, whatever the length
 * of the id. A match means "perhaps at this offset". The caller compares the stored id, so a collision never drops an
 * event.
 *
 * There are two generations of entries. When the younger one is full or too old, the older one is discarded. So between
 * one and two windows are remembered.
 */
const ENTRIES_MIN = 64

/**
 * Two independent 32-bit hashes of a string, four characters at a time: one is FNV-1a, the other multiplicative. They
 * are written to variables of the module, to avoid an allocation for each event.
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

/** An entry is four words: the two hashes, and the low and the high part of the offset. */
const ENTRY_WORDS = 4
const TWO_32 = 2 ** 32

/**
 * Entries in order of arrival, and a hash table of their numbers. The table is updated only on a lookup. If ids only
 * grow, there are no lookups, and adding an id writes only the new entry.
 */
class Generation {
  #entries = new Int32Array(ENTRIES_MIN * ENTRY_WORDS)
  /** Numbers of entries, counted from 1. 0 means free. */
  #table = new Int32Array(0)
  #indexed = 0
  size = 0
  greatest = ''
  firstOffset = 0
  firstMs = 0
  lastMs = 0

  /** The offset of the id that was hashed last, or −1. */
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
        // The id was added again: its earlier event was refused.
        if (entries[at] === b && entries[at + 1] === a) break
        slot = (slot + 1) & mask
      }
      table[slot] = this.#indexed + 1
    }
  }

  /** Remove all entries. The memory is kept. */
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
  /**
   * The greatest id of both generations. A greater id is new, and needs no lookup. UUIDs of version 7 arrive nearly in
   * this order.
   */
  #greatest = ''
  /** The id of the last `find`. `#isGreatest` says whether it is greater than all ids of the window. */
  #asked = ''
  #isGreatest = false

  constructor(window: { readonly ageMs: number; readonly count: number }) {
    this.#ageMs = window.ageMs
    this.#count = window.count
  }

  /** The offset at which the id may be stored, or −1. */
  find(id: string): number {
    this.#asked = id
    this.#isGreatest = id > this.#greatest
    if (this.#isGreatest) return -1
    hash(id)
    const young = this.#young.find()
    return young >= 0 || this.#old === null ? young : this.#old.find()
  }

  /** Add an id. */
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

  /** Whether the event at an offset that `find` returned may be within the window's age. */
  reaches(offset: number, nowMs: number): boolean {
    const young = this.#young.size > 0 && offset >= this.#young.firstOffset
    const { lastMs } = young || this.#old === null ? this.#young : this.#old
    return nowMs - lastMs <= this.#ageMs
  }

  #turn(): void {
    // The oldest generation is used again, unless it is far larger than the current one.
    const again = this.#old !== null && this.#old.size <= 2 * this.#young.size ? this.#old : new Generation()
    this.#old = this.#young
    again.clear()
    this.#young = again
    this.#greatest = this.#old.greatest
  }

  /** The oldest offset to which a duplicate may still refer: events from here on must stay readable. */
  startOffset(nowMs: number, next: number): number {
    if (this.#old !== null && nowMs - this.#old.lastMs > this.#ageMs) this.#old = null
    if (this.#old !== null) return this.#old.firstOffset
    return this.#young.size === 0 || nowMs - this.#young.lastMs > this.#ageMs ? next : this.#young.firstOffset
  }
}

/**
 * Clause 8: which offset an id may already have, within a window of events and time.
 *
 * A table from a 64-bit fingerprint of the id to its offset, in typed arrays: 32 bytes an event, whatever the id's length. It says
 * "perhaps at this offset"; the caller compares the stored id, so a collision never drops an event. Two generations: the
 * older one is forgotten when the younger is full or too old, so between one and two windows are remembered.
 */
const SLOTS_MIN = 64

/** Two independent 32-bit hashes of a string (FNV-1a and a multiplicative one); written to module state, to spare an allocation an event. */
let hashA = 0
let hashB = 0
function hash(id: string): void {
  let a = 0x811c9dc5
  let b = 0x9e3779b9
  for (let index = 0; index < id.length; index++) {
    const code = id.charCodeAt(index)
    a = Math.imul(a ^ code, 0x01000193)
    b = Math.imul(b + code, 0x85ebca6b) ^ (b >>> 13)
  }
  hashA = a ^ (a >>> 15)
  hashB = b | 1
}

class Generation {
  #fingerprints = new Int32Array(SLOTS_MIN)
  #hashes = new Int32Array(SLOTS_MIN)
  #offsets = new Float64Array(SLOTS_MIN)
  size = 0
  firstOffset = 0
  firstMs = 0
  lastMs = 0

  /** The offset of the current hash from slot order on, or −1. */
  find(): number {
    const mask = this.#fingerprints.length - 1
    for (let slot = hashA & mask; ; slot = (slot + 1) & mask) {
      const found = this.#fingerprints[slot]
      if (found === 0) return -1
      if (found === hashB && this.#hashes[slot] === hashA) return this.#offsets[slot] as number
    }
  }

  put(offset: number): void {
    if (this.size * 2 >= this.#fingerprints.length) this.#grow()
    this.#insert(hashA, hashB, offset)
    this.size++
  }

  #insert(a: number, b: number, offset: number): void {
    const mask = this.#fingerprints.length - 1
    let slot = a & mask
    while (this.#fingerprints[slot] !== 0 && (this.#fingerprints[slot] !== b || this.#hashes[slot] !== a)) slot = (slot + 1) & mask
    this.#fingerprints[slot] = b
    this.#offsets[slot] = offset
    this.#hashes[slot] = a
  }

  #grow(): void {
    const { length } = this.#fingerprints
    const old = { fingerprints: this.#fingerprints, offsets: this.#offsets, hashes: this.#hashes }
    this.#fingerprints = new Int32Array(length * 2)
    this.#offsets = new Float64Array(length * 2)
    this.#hashes = new Int32Array(length * 2)
    for (let slot = 0; slot < length; slot++) {
      const b = old.fingerprints[slot] as number
      if (b !== 0) this.#insert(old.hashes[slot] as number, b, old.offsets[slot] as number)
    }
  }
}

export class DedupeWindow {
  readonly #ageMs: number
  readonly #count: number
  #young = new Generation()
  #old: Generation | null = null

  constructor(window: { readonly ageMs: number; readonly count: number }) {
    this.#ageMs = window.ageMs
    this.#count = window.count
  }

  /** Offset at which the id may be stored, or −1. */
  find(id: string): number {
    hash(id)
    const young = this.#young.find()
    return young >= 0 || this.#old === null ? young : this.#old.find()
  }

  /** Remember an id. */
  add(id: string, offset: number, timeMs: number): void {
    hash(id)
    this.addFound(offset, timeMs)
  }

  /** Remember the id that `find` was called with last. */
  addFound(offset: number, timeMs: number): void {
    const young = this.#young
    if (young.size >= this.#count || (young.size > 0 && timeMs - young.firstMs > this.#ageMs)) this.#turn()
    if (this.#young.size === 0) {
      this.#young.firstOffset = offset
      this.#young.firstMs = timeMs
    }
    this.#young.lastMs = timeMs
    this.#young.put(offset)
  }

  #turn(): void {
    this.#old = this.#young
    this.#young = new Generation()
  }

  /** The oldest offset that a duplicate may still refer to: events from here on must stay readable. */
  startOffset(nowMs: number, next: number): number {
    if (this.#old !== null && nowMs - this.#old.lastMs > this.#ageMs) this.#old = null
    if (this.#old !== null) return this.#old.firstOffset
    return this.#young.size === 0 || nowMs - this.#young.lastMs > this.#ageMs ? next : this.#young.firstOffset
  }
}

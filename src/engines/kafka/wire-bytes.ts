/** Kafka's primitive types, written and read: the parts of Produce and Fetch, the two requests that carry records. */

/** The usual range of a record's length: from 64 bytes to 8 KiB. */
const SIZE_BYTES = 2

/** The number of bytes of a signed number in zigzag form. */
export function signedBytes(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  return zigzag < 0x80 ? 1 : zigzag < 0x4000 ? 2 : zigzag < 0x20_0000 ? 3 : zigzag < 0x1000_0000 ? 4 : 5
}

/** Writes into a buffer that grows. */
export class WireWriter {
  #bytes: Buffer
  #at = 0

  constructor(size = 1024) {
    this.#bytes = Buffer.allocUnsafe(size)
  }

  get length(): number {
    return this.#at
  }

  /** What was written. Valid until the next write. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  #room(count: number): void {
    if (this.#at + count <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + count))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }

  int8(value: number): this {
    this.#room(1)
    this.#at = this.#bytes.writeInt8(value, this.#at)
    return this
  }

  int16(value: number): this {
    this.#room(2)
    this.#at = this.#bytes.writeInt16BE(value, this.#at)
    return this
  }

  int32(value: number): this {
    this.#room(4)
    this.#at = this.#bytes.writeInt32BE(value, this.#at)
    return this
  }

  int64(value: bigint | number): this {
    this.#room(8)
    this.#at = this.#bytes.writeBigInt64BE(BigInt(value), this.#at)
    return this
  }

  /** Unsigned, seven bits a byte, the lowest first. */
  unsigned(value: number): this {
    this.#room(5)
    let rest = value >>> 0
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#bytes[this.#at++] = rest
    return this
  }

  /** Signed, in zigzag form. */
  signed(value: number): this {
    return this.unsigned((value << 1) ^ (value >> 31))
  }

  raw(bytes: Uint8Array): this {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
    return this
  }

  /** UTF-8 without its length. */
  text(value: string): this {
    this.#room(value.length * 3)
    this.#at += this.#bytes.write(value, this.#at)
    return this
  }

  /** The length of the text in zigzag form, and then the text as UTF-8. */
  sizedText(value: string): this {
    this.#room(5 + value.length * 3)
    // A character is nearly always one byte.
    const start = this.#at + signedBytes(value.length)
    const written = this.#bytes.write(value, start)
    const moved = this.#at + signedBytes(written)
    if (moved !== start) this.#bytes.copyWithin(moved, start, start + written)
    this.signed(written)
    this.#at += written
    return this
  }

  /** One byte a character. */
  latin1(value: string): this {
    this.#room(value.length)
    this.#at += this.#bytes.write(value, this.#at, 'latin1')
    return this
  }

  /** What is written until `endSized` gets its length before it. Answers the argument for `endSized`. */
  beginSized(): number {
    this.#room(SIZE_BYTES)
    this.#at += SIZE_BYTES
    return this.#at
  }

  endSized(start: number): void {
    const written = this.#at - start
    const size = signedBytes(written)
    if (size !== SIZE_BYTES) {
      this.#room(size)
      this.#bytes.copyWithin(start - SIZE_BYTES + size, start, start + written)
    }
    this.#at = start - SIZE_BYTES
    this.signed(written)
    this.#at += written
  }

  /** A string of the flexible versions: its length + 1, 0 for null. */
  compactString(value: string | null): this {
    if (value === null) return this.unsigned(0)
    return this.unsigned(Buffer.byteLength(value) + 1).text(value)
  }

  /** No tagged fields. */
  tags(): this {
    return this.unsigned(0)
  }

  /** Overwrite the number at an index. */
  patchInt32(value: number, at: number): void {
    this.#bytes.writeInt32BE(value, at)
  }

  patchUInt32(value: number, at: number): void {
    this.#bytes.writeUInt32BE(value, at)
  }
}

/** Reads a buffer from its beginning. Throws RangeError if it ends too early. */
export class WireReader {
  readonly bytes: Buffer
  at = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get left(): number {
    return this.bytes.length - this.at
  }

  int8(): number {
    return this.bytes.readInt8(this.at++)
  }

  int16(): number {
    const value = this.bytes.readInt16BE(this.at)
    this.at += 2
    return value
  }

  int32(): number {
    const value = this.bytes.readInt32BE(this.at)
    this.at += 4
    return value
  }

  /** Offsets and times stay below 2^53. */
  int64(): number {
    const high = this.bytes.readInt32BE(this.at)
    const low = this.bytes.readUInt32BE(this.at + 4)
    this.at += 8
    return high * 0x1_0000_0000 + low
  }

  unsigned(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes[this.at++]
      if (byte === undefined) throw new RangeError('the buffer ends within a number')
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
    throw new RangeError('a number of more than five bytes')
  }

  signed(): number {
    const value = this.unsigned()
    return (value >>> 1) ^ -(value & 1)
  }

  take(count: number): Buffer {
    if (count < 0 || count > this.left) throw new RangeError(`${count} bytes are wanted where ${this.left} are left`)
    this.at += count
    return this.bytes.subarray(this.at - count, this.at)
  }

  /** A length, and then as many bytes; null if the length is −1. */
  nullable(): Buffer | null {
    const length = this.signed()
    return length < 0 ? null : this.take(length)
  }

  compactString(): string | null {
    const length = this.unsigned()
    return length === 0 ? null : this.take(length - 1).toString()
  }

  /** Tagged fields are skipped. */
  tags(): void {
    const count = this.unsigned()
    for (let at = 0; at < count; at++) {
      this.unsigned()
      this.take(this.unsigned())
    }
  }

  /** An array of the flexible versions. */
  array<T>(read: () => T): T[] {
    const count = this.unsigned() - 1
    const items: T[] = []
    for (let at = 0; at < count; at++) items.push(read())
    return items
  }
}

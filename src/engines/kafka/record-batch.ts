/**
 * Record batches, version 2: what is stored in a partition, as it is produced and as it is fetched.
 *
 *     offset  bytes
 *     0       8      offset of the first record
 *     8       4      bytes after this field
 *     12      4      epoch of the leader
 *     16      1      magic, 2
 *     17      4      CRC-32C of everything from byte 21
 *     21      2      attributes: bits 0–2 compression, bit 3 the times are the log's, bit 5 a control batch
 *     23      4      offset of the last record, from the first
 *     27      8      first time
 *     35      8      greatest time; of all records where they have the log's
 *     43      8      producer's id, −1 for none
 *     51      2      producer's epoch
 *     53      4      sequence number of the first record
 *     57      4      count of records
 *     61      …      records: length, attributes, time and offset from the first's, key, value, headers
 *
 * @see https://kafka.apache.org/documentation/#recordbatch
 */
import { WireReader, WireWriter } from './wire-bytes.ts'

const HEADER_BYTES = 61
const CRC_AT = 17
const ATTRIBUTES_AT = 21
const LAST_AT = 23
/** The approximate size of a record's other fields. */
const RECORD_BYTES = 400
const COMPRESSED = 0b111
const LOG_TIME = 0b1000
const CONTROL = 0b10_0000

export type RecordHeader = readonly [name: string, value: string]

/** A record on its way to a topic. */
export interface NewRecord {
  readonly key: string | null
  readonly value: string | Uint8Array | null
  readonly headers: readonly RecordHeader[]
}

/** The writer of a batch, so that a batch that is sent again is stored once. */
export interface ProducerStamp {
  readonly id: bigint
  readonly epoch: number
  readonly sequence: number
}

export const NO_PRODUCER: ProducerStamp = { id: -1n, epoch: -1, sequence: -1 }

/** The part of the client library that is needed here. */
export interface BatchTools {
  crc32c(bytes: Uint8Array): number
  /** By the number in the attributes of a batch. */
  decompress(algorithm: number, bytes: Buffer): Buffer
}

/** Puts a batch together, record by record. */
export class BatchWriter {
  readonly #wire: WireWriter
  #count = 0

  constructor(records: number, nowMs: number, producer: ProducerStamp) {
    const wire = new WireWriter(HEADER_BYTES + records * RECORD_BYTES)
    wire.int64(0).int32(0).int32(-1).int8(2).int32(0)
    wire.int16(0).int32(0).int64(nowMs).int64(nowMs)
    wire.int64(producer.id).int16(producer.epoch).int32(producer.sequence).int32(0)
    this.#wire = wire
  }

  add({ key, value, headers }: NewRecord): void {
    const wire = this.#wire
    const start = this.#begin(key)
    sized(wire, value)
    wire.signed(headers.length)
    for (const [name, text] of headers) wire.sizedText(name).sizedText(text)
    wire.endSized(start)
  }

  /**
   * A record whose headers are ready: their count, and names and texts with their lengths, with one byte a character.
   */
  addReady(key: string | null, value: string, headers: string): void {
    const start = this.#begin(key)
    this.#wire.sizedText(value).latin1(headers).endSized(start)
  }

  #begin(key: string | null): number {
    const wire = this.#wire
    const start = wire.beginSized()
    wire
      .int8(0)
      .signed(0)
      .signed(this.#count++)
    sized(wire, key)
    return start
  }

  finish({ crc32c }: Pick<BatchTools, 'crc32c'>): Buffer {
    const wire = this.#wire
    wire.patchInt32(wire.length - 12, 8)
    wire.patchInt32(this.#count - 1, LAST_AT)
    wire.patchInt32(this.#count, HEADER_BYTES - 4)
    wire.patchUInt32(crc32c(wire.bytes.subarray(ATTRIBUTES_AT)), CRC_AT)
    return wire.bytes
  }
}

export function encodeBatch(
  records: readonly NewRecord[],
  nowMs: number,
  producer: ProducerStamp,
  tools: Pick<BatchTools, 'crc32c'>,
): Buffer {
  const batch = new BatchWriter(records.length, nowMs, producer)
  for (const record of records) batch.add(record)
  return batch.finish(tools)
}

function sized(wire: WireWriter, value: string | Uint8Array | null): void {
  if (value === null) wire.signed(-1)
  else if (typeof value === 'string') wire.sizedText(value)
  else wire.signed(value.length).raw(value)
}

/** A text with its length before it, in the form that `addReady` takes. */
export function sizedChars(text: string): string {
  const zigzag = text.length * 2
  if (zigzag >= 0x4000) throw new RangeError('a header of 8 KiB is not made ready')
  return zigzag < 0x80
    ? String.fromCharCode(zigzag) + text
    : String.fromCharCode((zigzag & 0x7f) | 0x80, zigzag >> 7) + text
}

/** A number of headers, in the form of `addReady`. */
export function countChar(headers: number): string {
  return String.fromCharCode(headers * 2)
}

/** A record as it was fetched. Its bytes are views of the fetched buffer. */
export interface FetchedRecord {
  readonly offset: number
  /** Offset of the first record of its batch. */
  readonly base: number
  readonly timeMs: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[]
}

export interface FetchedBatches {
  readonly records: readonly FetchedRecord[]
  /** The offset after the last whole batch, whether or not it has records; `from` if there is none. */
  readonly end: number
}

/** The records of whole batches at and after an offset. A fetch may begin before it, and end within a batch. */
export function decodeBatches(bytes: Buffer, from: number, tools: Pick<BatchTools, 'decompress'>): FetchedBatches {
  const records: FetchedRecord[] = []
  let end = from
  let at = 0
  while (bytes.length - at >= HEADER_BYTES) {
    const size = 12 + bytes.readInt32BE(at + 8)
    if (size > bytes.length - at) break
    end = Math.max(end, decodeBatch(bytes.subarray(at, at + size), from, tools, records))
    at += size
  }
  return { records, end }
}

/** Answers the offset after the batch. Batches that end before `from` are skipped. */
function decodeBatch(
  bytes: Buffer,
  from: number,
  tools: Pick<BatchTools, 'decompress'>,
  records: FetchedRecord[],
): number {
  const head = new WireReader(bytes)
  const base = head.int64()
  head.at = ATTRIBUTES_AT
  const attributes = head.int16()
  const end = base + head.int32() + 1
  if (end <= from || (attributes & CONTROL) !== 0) return end
  const firstMs = head.int64()
  const greatestMs = head.int64()
  head.at = HEADER_BYTES - 4
  const count = head.int32()
  const compression = attributes & COMPRESSED
  const reader = compression === 0 ? head : new WireReader(tools.decompress(compression, bytes.subarray(HEADER_BYTES)))
  for (let at = 0; at < count; at++) {
    const length = reader.signed()
    const next = reader.at + length
    reader.at++
    const deltaMs = longDelta(reader)
    const offset = base + reader.signed()
    if (offset >= from) {
      const timeMs = (attributes & LOG_TIME) === 0 ? firstMs + deltaMs : greatestMs
      const key = reader.nullable()
      const value = reader.nullable()
      records.push({ offset, base, timeMs, key, value, headers: headersOf(reader) })
    }
    reader.at = next
  }
  return end
}

/** A signed number of up to ten bytes. A number beyond 2^53 is not a time. */
function longDelta(reader: WireReader): number {
  let value = 0
  let scale = 1
  for (let at = 0; at < 10; at++) {
    const byte = reader.int8()
    value += (byte & 0x7f) * scale
    if (byte >= 0) break
    scale *= 128
  }
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

function headersOf(reader: WireReader): (readonly [string, Buffer | null])[] {
  const count = reader.signed()
  const headers: (readonly [string, Buffer | null])[] = []
  for (let at = 0; at < count; at++) {
    const name = reader.nullable() as Buffer
    headers.push([name.toString('latin1'), reader.nullable()])
  }
  return headers
}

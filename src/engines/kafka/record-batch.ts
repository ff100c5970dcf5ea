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
const COMPRESSED = 0b111
const LOG_TIME = 0b1000
const CONTROL = 0b10_0000

export type RecordHeader = readonly [name: string, value: string]

/** A record on its way into a topic. */
export interface NewRecord {
  readonly key: string | null
  readonly value: string | Uint8Array | null
  readonly headers: readonly RecordHeader[]
}

/** Who writes, so that a batch that is sent again is stored once. */
export interface ProducerStamp {
  readonly id: bigint
  readonly epoch: number
  readonly sequence: number
}

export const NO_PRODUCER: ProducerStamp = { id: -1n, epoch: -1, sequence: -1 }

/** What of the client library is needed here. */
export interface BatchTools {
  crc32c(bytes: Uint8Array): number
  /** By the number in a batch's attributes. */
  decompress(algorithm: number, bytes: Buffer): Buffer
}

export function encodeBatch(records: readonly NewRecord[], nowMs: number, producer: ProducerStamp, { crc32c }: Pick<BatchTools, 'crc32c'>): Buffer {
  const batch = new WireWriter(HEADER_BYTES + records.length * 256)
  batch.int64(0).int32(0).int32(-1).int8(2).int32(0)
  batch
    .int16(0)
    .int32(records.length - 1)
    .int64(nowMs)
    .int64(nowMs)
  batch.int64(producer.id).int16(producer.epoch).int32(producer.sequence).int32(records.length)
  for (const [at, record] of records.entries()) encodeRecord(batch, record, at)
  batch.patchInt32(batch.length - 12, 8)
  batch.patchUInt32(crc32c(batch.bytes.subarray(ATTRIBUTES_AT)), CRC_AT)
  return batch.bytes
}

function encodeRecord(batch: WireWriter, { key, value, headers }: NewRecord, offset: number): void {
  let size = 1 + 1 + signedBytes(offset) + sizedBytes(key) + sizedBytes(value) + signedBytes(headers.length)
  for (const [name, text] of headers) size += sizedBytes(name) + sizedBytes(text)
  batch.signed(size).int8(0).signed(0).signed(offset)
  sized(batch, key)
  sized(batch, value)
  batch.signed(headers.length)
  for (const [name, text] of headers) {
    sized(batch, name)
    sized(batch, text)
  }
}

function bytesOf(value: string | Uint8Array): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : value.length
}

function signedBytes(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  return zigzag < 0x80 ? 1 : zigzag < 0x4000 ? 2 : zigzag < 0x20_0000 ? 3 : zigzag < 0x1000_0000 ? 4 : 5
}

function sizedBytes(value: string | Uint8Array | null): number {
  if (value === null) return 1
  const bytes = bytesOf(value)
  return signedBytes(bytes) + bytes
}

function sized(batch: WireWriter, value: string | Uint8Array | null): void {
  if (value === null) {
    batch.signed(-1)
    return
  }
  batch.signed(bytesOf(value))
  if (typeof value === 'string') batch.text(value)
  else batch.raw(value)
}

/** A record as it was fetched. Its bytes are views into what was fetched. */
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
  /** The offset after the last whole batch, also where it has no records; `from` where there is none. */
  readonly end: number
}

/** The records of whole batches at and after an offset: a fetch may begin before it, and end within a batch. */
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

/** Answers the offset after the batch. Batches that end before `from` are not looked into. */
function decodeBatch(bytes: Buffer, from: number, tools: Pick<BatchTools, 'decompress'>, records: FetchedRecord[]): number {
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

/** A signed number of up to ten bytes; what is beyond 2^53 is no time of this world. */
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

/**
 * The block: consecutive events of one channel as bytes. The same bytes are in the journal, in the segments and on the
 * wire.
 *
 *     offset  bytes
 *     0       4      magic "MRB1"
 *     4       4      CRC-32 of everything from byte 8
 *     8       4      bytes of the whole block
 *     12      4      count of events, at least 1
 *     16      8      offset of the first event (float64, whole)
 *     24      8      time of the commit in milliseconds since the epoch (float64)
 *     32      4      bytes of the texts
 *     36      2      flags: bit 0 = every text is ASCII; bit 1 = void: no event is left, and there are no columns,
 *                    only the texts "[]"
 *     38      2      count of distinct types
 *     40      4 × n  end of each event's text, from the beginning of the texts
 *             2 × n  index of each event's type
 *             2 × n  bytes of each id
 *             2 × n  bytes of each key; 0xFFFF = no key
 *             …      for each type: 2 bytes of length, UTF-8
 *             …      the ids, UTF-8, one after the other
 *             …      the keys, likewise
 *             …      the texts: "[" text "," text … "]", a CloudEvents batch in JSON where there are no holes
 *
 * All numbers are little-endian. An event with an empty text is a hole: retention by key has removed it, with its id
 * and key. Long runs of holes are void blocks.
 */
import { crc32 } from 'node:zlib'
import { joinCrc32 } from '../base/crc32.ts'
import { MillraceError } from '../base/errors.ts'
import { BlockColumns, columnsFit } from './block-columns.ts'
import {
  ASCII,
  FLAGS_AT,
  HEADER_BYTES,
  MAGIC,
  NO_KEY,
  putUint16,
  putUint32,
  TEXT_BYTES_AT,
  TYPES_AT,
  VOID,
} from './block-layout.ts'

/** For smaller blocks, computing the checksum again is faster than combining it. */
const JOINED_FROM = 16_384

/** The text of an event that retention by key has removed. */
export const HOLE: BlockEvent = { id: '', type: '', key: null, text: '' }

/** The members of each event that a block stores. */
export interface BlockEvent {
  readonly id: string
  readonly type: string
  readonly key: string | null
  readonly text: string
}

/** A block of events: its bytes, whose columns are read when they are needed. */
export class Block {
  readonly channelId: number
  readonly firstOffset: number
  readonly count: number
  readonly timeMs: number
  readonly bytes: Buffer
  /** CRC-32 of the bytes, if it is known without reading them. */
  readonly sum: number | undefined
  #columns: BlockColumns | null = null

  constructor(channelId: number, firstOffset: number, count: number, timeMs: number, bytes: Buffer, sum?: number) {
    this.channelId = channelId
    this.firstOffset = firstOffset
    this.count = count
    this.timeMs = timeMs
    this.bytes = bytes
    this.sum = sum
  }

  /** The event at an index of the block, 0 to count − 1. */
  at(index: number): BlockEvent {
    if (this.isVoid) return HOLE
    const columns = this.columns
    return {
      id: columns.ids[index] as string,
      type: columns.typeAt(index),
      key: columns.keys[index] as string | null,
      text: columns.textAt(index),
    }
  }

  idAt(index: number): string {
    return this.isVoid ? '' : (this.columns.ids[index] as string)
  }

  typeAt(index: number): string {
    return this.isVoid ? '' : this.columns.typeAt(index)
  }

  timeAt(): number {
    return this.timeMs
  }

  keyAt(index: number): string | null {
    return this.isVoid ? null : (this.columns.keys[index] as string | null)
  }

  textAt(index: number): string {
    return this.isVoid ? '' : this.columns.textAt(index)
  }

  /** Whether retention by key has removed all of its events. */
  get isVoid(): boolean {
    return (this.bytes.readUInt16LE(FLAGS_AT) & VOID) !== 0
  }

  /** How many events, from this index on, retention by key has removed. */
  holes(index: number): number {
    if (this.isVoid) return this.count - index
    let end = index
    while (end < this.count && this.columns.isEmpty(end)) end++
    return end - index
  }

  get columns(): BlockColumns {
    this.#columns ??= new BlockColumns(this.bytes, this.count)
    return this.#columns
  }
}

/** Provides the memory of a block. */
export interface BlockBytes {
  /** Memory of at least this many bytes. */
  reserve(bytes: number): Buffer
  /** Keeps this many of them for the block. */
  take(room: Buffer, bytes: number): Buffer
}

/** Separate memory for each block. */
export const OWN_BYTES: BlockBytes = {
  reserve: (bytes) => Buffer.allocUnsafeSlow(bytes),
  take: (room, bytes) => (bytes === room.length ? room : room.subarray(0, bytes)),
}

/**
 * Encode events that were committed together. The block keeps their bytes and not the objects: garbage collections
 * would copy objects that live until the commit is applied, at a third of the cost of publishing.
 */
export function encodeBlock(
  channelId: number,
  firstOffset: number,
  timeMs: number,
  events: readonly BlockEvent[],
  memory: BlockBytes = OWN_BYTES,
): Block {
  const count = events.length
  const types = new Map<string, number>()
  let ids = ''
  let keys = ''
  let texts = '['
  let type: string | null = null
  for (let index = 0; index < count; index++) {
    const event = events[index] as BlockEvent
    if (event.type !== type) {
      type = event.type
      if (!types.has(type)) types.set(type, types.size)
    }
    ids += event.id
    if (event.key !== null) keys += event.key
    texts += index === 0 ? event.text : `,${event.text}`
  }
  texts += ']'
  let typeBytes = 0
  for (const type of types.keys()) typeBytes += 2 + Buffer.byteLength(type)
  const bytes = memory.reserve(
    HEADER_BYTES + 10 * count + typeBytes + blobBytesMax(ids) + blobBytesMax(keys) + blobBytesMax(texts),
  )
  const end = write(bytes, events, types, ids, keys, texts)
  const block = memory.take(bytes, end)
  block.writeUInt16LE(types.size, TYPES_AT)
  return sealBlock(channelId, firstOffset, timeMs, count, block)
}

/** Write the header and the checksum. */
export function sealBlock(channelId: number, firstOffset: number, timeMs: number, count: number, bytes: Buffer): Block {
  const { length } = bytes
  bytes.writeUInt32LE(MAGIC, 0)
  bytes.writeUInt32LE(length, 8)
  bytes.writeUInt32LE(count, 12)
  bytes.writeDoubleLE(firstOffset, 16)
  bytes.writeDoubleLE(timeMs, 24)
  const sum = crc32(bytes.subarray(8))
  bytes.writeUInt32LE(sum, 4)
  return new Block(
    channelId,
    firstOffset,
    count,
    timeMs,
    bytes,
    length < JOINED_FROM ? undefined : joinCrc32(crc32(bytes.subarray(0, 8)), sum, length - 8),
  )
}

/** The block of a run of removed events. */
export function voidBlock(channelId: number, firstOffset: number, count: number, timeMs: number): Block {
  const bytes = Buffer.alloc(HEADER_BYTES + 2)
  bytes.writeUInt32LE(MAGIC, 0)
  bytes.writeUInt32LE(bytes.length, 8)
  bytes.writeUInt32LE(count, 12)
  bytes.writeDoubleLE(firstOffset, 16)
  bytes.writeDoubleLE(timeMs, 24)
  bytes.writeUInt32LE(2, TEXT_BYTES_AT)
  bytes.writeUInt16LE(ASCII | VOID, FLAGS_AT)
  bytes.write('[]', HEADER_BYTES)
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
  return new Block(channelId, firstOffset, count, timeMs, bytes)
}

/** An upper bound of the text's bytes in UTF-8; exact for longer ASCII, which is nearly every text. */
function blobBytesMax(text: string): number {
  return text.length < 4096 ? text.length * 3 : Buffer.byteLength(text)
}

function write(
  bytes: Buffer,
  events: readonly BlockEvent[],
  types: ReadonlyMap<string, number>,
  ids: string,
  keys: string,
  texts: string,
): number {
  const count = events.length
  const typeAt = HEADER_BYTES + 4 * count
  const idAt = typeAt + 2 * count
  const keyAt = idAt + 2 * count
  let at = keyAt + 2 * count
  for (const type of types.keys()) {
    const written = bytes.write(type, at + 2, 'utf8')
    bytes.writeUInt16LE(written, at)
    at += 2 + written
  }
  const idsWritten = bytes.write(ids, at, 'utf8')
  at += idsWritten
  const keysWritten = bytes.write(keys, at, 'utf8')
  at += keysWritten
  const textsWritten = bytes.write(texts, at, 'utf8')
  at += textsWritten
  const ascii = textsWritten === texts.length
  const plain = idsWritten === ids.length && keysWritten === keys.length
  bytes.writeUInt32LE(textsWritten, TEXT_BYTES_AT)
  bytes.writeUInt16LE(ascii ? ASCII : 0, FLAGS_AT)
  let end = 1
  let last: string | null = null
  let typeIndex = 0
  for (let index = 0; index < count; index++) {
    const { id, type, key, text } = events[index] as BlockEvent
    if (type !== last) {
      last = type
      typeIndex = types.get(type) as number
    }
    end += ascii ? text.length : Buffer.byteLength(text)
    putUint32(bytes, HEADER_BYTES + 4 * index, end)
    end += 1
    putUint16(bytes, typeAt + 2 * index, typeIndex)
    putUint16(bytes, idAt + 2 * index, plain ? id.length : Buffer.byteLength(id))
    putUint16(bytes, keyAt + 2 * index, key === null ? NO_KEY : plain ? key.length : Buffer.byteLength(key))
  }
  return at
}

/**
 * A block from its bytes. Only the header is read at once.
 * @throws DATA_DAMAGED when the bytes are not a whole block, or, with `verify`, when their checksum is wrong
 */
export function decodeBlock(channelId: number, bytes: Uint8Array, verify = true): Block {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (!hasRoom(buffer) || (verify && crc32(buffer.subarray(8)) !== buffer.readUInt32LE(4))) {
    throw new MillraceError('DATA_DAMAGED', 'a block of events is damaged: its checksum or length is wrong', {
      channelId,
      bytes: buffer.length,
    })
  }
  return new Block(channelId, buffer.readDoubleLE(16), buffer.readUInt32LE(12), buffer.readDoubleLE(24), buffer)
}

/**
 * Whether the header is valid and the bytes can hold the columns of that many events. Nothing is allocated for a count
 * that the bytes cannot hold.
 */
function hasRoom(bytes: Buffer): boolean {
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC || bytes.readUInt32LE(8) !== bytes.length)
    return false
  const count = bytes.readUInt32LE(12)
  const isVoid = (bytes.readUInt16LE(FLAGS_AT) & VOID) !== 0
  return count > 0 && (isVoid || HEADER_BYTES + 10 * count + bytes.readUInt32LE(TEXT_BYTES_AT) <= bytes.length)
}

/**
 * A block from a connection. Its checksum proves that it arrived as it was sent, not that its columns are consistent:
 * inconsistent columns could name one text a million times.
 * @throws DATA_DAMAGED when the bytes are not a whole block, hold no event, or have columns that do not fit together
 */
export function decodeSentBlock(bytes: Uint8Array, verify = true): Block {
  const block = decodeBlock(0, bytes, verify)
  if (block.isVoid || !columnsFit(block.bytes, block.count)) {
    throw new MillraceError('DATA_DAMAGED', 'a block of events is damaged: its columns do not fit together', {
      bytes: block.bytes.length,
    })
  }
  return block
}

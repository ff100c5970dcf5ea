/**
 * The journal's frame: everything that one commit changes, as bytes.
 *
 *     offset  bytes
 *     0       8      salt of the file's current use, so that bytes of an earlier use are not read as a frame
 *     8       4      CRC-32 of everything from byte 48
 *     12      4      bytes of the whole frame
 *     16      8      sequence number (float64, whole), one more than that of the frame before
 *     24      4      count of blocks
 *     28      4      count of records
 *     32      4      count of trims
 *     36      4      link: the checksum at byte 44 of the frame before, so that frames of another history do not fit
 *     40      4      kind: 0 a commit; 1 an end mark, which has only a head: the commit with this number was
 *                    synced in another file
 *     44      4      CRC-32 of bytes 0 to 44
 *     48      …      blocks: channel (4), count (4), first offset (float64), time (float64), bytes (4), then the bytes
 *             …      records: bytes of the key (2), bytes of the value (4; 0xFFFFFFFF deletes), key in UTF-8, value
 *             …      trims: channel (4), offset (float64)
 *
 * The head has its own checksum. A valid head proves that this frame was begun, and therefore that the frame before it
 * was acknowledged, whatever the state of this frame's body.
 *
 * All numbers are little-endian.
 */
import { crc32 } from 'node:zlib'
import { joinCrc32 } from '../../../base/crc32.ts'
import type { Frame, StoredBlock } from '../store.ts'

export const SALT_BYTES = 8
export const FRAME_HEADER_BYTES = 48
/** The bytes that the head's checksum covers. The checksum follows them. */
const HEAD_CHECKED_BYTES = 44
const COMMIT = 0
const END = 1
const BLOCK_HEADER_BYTES = 28
const DELETED = 0xffffffff

/** The largest number of bytes that a frame can need. */
export function frameBytesMax(frame: Frame): number {
  let bytes = FRAME_HEADER_BYTES + 12 * frame.trims.length
  for (const block of frame.blocks) bytes += BLOCK_HEADER_BYTES + block.bytes.length
  for (const [key, value] of frame.records) bytes += 6 + key.length * 3 + (value?.length ?? 0)
  return bytes
}

/** The number and the link of a frame. */
export interface FrameName {
  readonly sequence: number
  /** The checksum of the frame before. */
  readonly link: number
}

/** Write a frame into a buffer at position `at`. Returns the position after it. */
export function encodeFrame(into: Buffer, at: number, frame: Frame, name: FrameName, salt: Uint8Array): number {
  let end = at + FRAME_HEADER_BYTES
  for (const block of frame.blocks) end = writeBlock(into, end, block)
  for (const [key, value] of frame.records) end = writeRecord(into, end, key, value)
  for (const { channelId, beforeOffset } of frame.trims) {
    into.writeUInt32LE(channelId, end)
    into.writeDoubleLE(beforeOffset, end + 4)
    end += 12
  }
  into.writeUInt32LE(frame.blocks.length, at + 24)
  into.writeUInt32LE(frame.records.length, at + 28)
  into.writeUInt32LE(frame.trims.length, at + 32)
  writeHead(into, at, end, name, salt, COMMIT, bodySum(into, at + FRAME_HEADER_BYTES, end, frame))
  return end
}

/** The mark after a file's last frame: the commit with this number is in another file. */
export function encodeEndMark(name: FrameName, salt: Uint8Array): Buffer {
  const mark = Buffer.alloc(FRAME_HEADER_BYTES)
  writeHead(mark, 0, FRAME_HEADER_BYTES, name, salt, END, 0)
  return mark
}

/** The CRC-32 of a frame's body. The blocks come first in it, and may have checksums that are reused. */
function bodySum(into: Buffer, from: number, end: number, frame: Frame): number {
  let sum = 0
  let summed = from
  let at = from
  for (const { bytes, sum: own } of frame.blocks) {
    at += BLOCK_HEADER_BYTES
    if (own !== undefined) {
      sum = joinCrc32(crc32(into.subarray(summed, at), sum), own, bytes.length)
      summed = at + bytes.length
    }
    at += bytes.length
  }
  return crc32(into.subarray(summed, end), sum)
}

function writeHead(
  into: Buffer,
  at: number,
  end: number,
  { sequence, link }: FrameName,
  salt: Uint8Array,
  kind: number,
  sum: number,
): void {
  into.set(salt, at)
  into.writeUInt32LE(sum, at + 8)
  into.writeUInt32LE(end - at, at + 12)
  into.writeDoubleLE(sequence, at + 16)
  into.writeUInt32LE(link, at + 36)
  into.writeUInt32LE(kind, at + 40)
  into.writeUInt32LE(crc32(into.subarray(at, at + HEAD_CHECKED_BYTES)), at + HEAD_CHECKED_BYTES)
}

/** The head's checksum, to which the next frame's link refers. */
export function frameCheck(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + HEAD_CHECKED_BYTES)
}

function writeBlock(into: Buffer, at: number, block: StoredBlock): number {
  into.writeUInt32LE(block.channelId, at)
  into.writeUInt32LE(block.count, at + 4)
  into.writeDoubleLE(block.firstOffset, at + 8)
  into.writeDoubleLE(block.timeMs, at + 16)
  into.writeUInt32LE(block.bytes.length, at + 24)
  into.set(block.bytes, at + BLOCK_HEADER_BYTES)
  return at + BLOCK_HEADER_BYTES + block.bytes.length
}

function writeRecord(into: Buffer, at: number, key: string, value: Uint8Array | null): number {
  const keyBytes = into.write(key, at + 6, 'utf8')
  into.writeUInt16LE(keyBytes, at)
  into.writeUInt32LE(value === null ? DELETED : value.length, at + 2)
  if (value !== null) into.set(value, at + 6 + keyBytes)
  return at + 6 + keyBytes + (value?.length ?? 0)
}

/** The position and the state of a frame that was found. */
export interface FrameLocation {
  readonly sequence: number
  readonly link: number
  /** The head's checksum, to which the next frame's link refers. */
  readonly check: number
  readonly at: number
  readonly end: number
  /** `whole`; or `head`: the body is damaged or was never written; or `end`: an end mark. */
  readonly state: 'whole' | 'head' | 'end'
}

/** The frame at a position, if at least its head is valid. */
export function findFrame(bytes: Buffer, at: number, salt: Uint8Array): FrameLocation | null {
  if (at + FRAME_HEADER_BYTES > bytes.length || bytes.compare(salt, 0, SALT_BYTES, at, at + SALT_BYTES) !== 0)
    return null
  if (crc32(bytes.subarray(at, at + HEAD_CHECKED_BYTES)) !== frameCheck(bytes, at)) return null
  const end = at + bytes.readUInt32LE(at + 12)
  const mark = bytes.readUInt32LE(at + 40) === END
  const whole =
    end <= bytes.length && crc32(bytes.subarray(at + FRAME_HEADER_BYTES, end)) === bytes.readUInt32LE(at + 8)
  return {
    sequence: bytes.readDoubleLE(at + 16),
    link: bytes.readUInt32LE(at + 36),
    check: frameCheck(bytes, at),
    at,
    end,
    state: mark ? 'end' : whole ? 'whole' : 'head',
  }
}

/** All frames of a file with a valid head, also after damaged bytes: a frame can begin wherever the salt is found. */
export function findFrames(bytes: Buffer, from: number, salt: Uint8Array): FrameLocation[] {
  const frames: FrameLocation[] = []
  let at = from
  while (at >= 0 && at < bytes.length) {
    const location = findFrame(bytes, at, salt)
    if (location !== null) frames.push(location)
    at = location === null || location.state === 'head' ? bytes.indexOf(salt, at + 1) : location.end
  }
  return frames
}

/** The content of a frame that was found. Its bytes are copied out of the buffer. */
export function decodeFrame(bytes: Buffer, { at }: FrameLocation): Frame {
  let cursor = at + FRAME_HEADER_BYTES
  const blocks: StoredBlock[] = []
  for (let left = bytes.readUInt32LE(at + 24); left > 0; left--) {
    const length = bytes.readUInt32LE(cursor + 24)
    const start = cursor + BLOCK_HEADER_BYTES
    blocks.push({
      channelId: bytes.readUInt32LE(cursor),
      count: bytes.readUInt32LE(cursor + 4),
      firstOffset: bytes.readDoubleLE(cursor + 8),
      timeMs: bytes.readDoubleLE(cursor + 16),
      bytes: Buffer.from(bytes.subarray(start, start + length)),
    })
    cursor = start + length
  }
  const records: [string, Uint8Array | null][] = []
  for (let left = bytes.readUInt32LE(at + 28); left > 0; left--) {
    const keyBytes = bytes.readUInt16LE(cursor)
    const valueBytes = bytes.readUInt32LE(cursor + 2)
    const valueAt = cursor + 6 + keyBytes
    const key = bytes.toString('utf8', cursor + 6, valueAt)
    cursor = valueBytes === DELETED ? valueAt : valueAt + valueBytes
    records.push([key, valueBytes === DELETED ? null : Buffer.from(bytes.subarray(valueAt, cursor))])
  }
  const trims: { channelId: number; beforeOffset: number }[] = []
  for (let left = bytes.readUInt32LE(at + 32); left > 0; left--) {
    trims.push({ channelId: bytes.readUInt32LE(cursor), beforeOffset: bytes.readDoubleLE(cursor + 4) })
    cursor += 12
  }
  return { blocks, records, trims }
}

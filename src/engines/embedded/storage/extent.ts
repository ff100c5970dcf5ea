/**
 * The extent: consecutive blocks of one channel in a segment file.
 *
 *     offset  bytes
 *     0       4       magic "MRX1"
 *     4       4       CRC-32 of everything from byte 8
 *     8       4       bytes of the extent
 *     12      4       channel
 *     16      4       count of blocks
 *     20      4       zero
 *     24      24 × n  for each block: first offset (float64), time (float64), count (4), bytes (4)
 *             …       the blocks, one after the other
 */
import { crc32 } from 'node:zlib'
import { joinCrc32 } from '../../../base/crc32.ts'
import type { StoredBlock } from '../store.ts'
import { damagedPart } from './damage.ts'

const MAGIC = 0x3158524d
const HEADER_BYTES = 24
const ENTRY_BYTES = 24

/** The head of an extent with these blocks; their bytes follow it. */
export function extentHead(channelId: number, blocks: readonly StoredBlock[]): Buffer {
  const head = Buffer.alloc(HEADER_BYTES + ENTRY_BYTES * blocks.length)
  let total = head.length
  blocks.forEach((block, index) => {
    const at = HEADER_BYTES + ENTRY_BYTES * index
    head.writeDoubleLE(block.firstOffset, at)
    head.writeDoubleLE(block.timeMs, at + 8)
    head.writeUInt32LE(block.count, at + 16)
    head.writeUInt32LE(block.bytes.length, at + 20)
    total += block.bytes.length
  })
  head.writeUInt32LE(MAGIC, 0)
  head.writeUInt32LE(total, 8)
  head.writeUInt32LE(channelId, 12)
  head.writeUInt32LE(blocks.length, 16)
  let sum = crc32(head.subarray(8))
  for (const { bytes, sum: own } of blocks)
    sum = own === undefined ? crc32(bytes, sum) : joinCrc32(sum, own, bytes.length)
  head.writeUInt32LE(sum, 4)
  return head
}

/** Decodes an extent. @throws DATA_DAMAGED when the bytes are not the extent that the index describes */
export function decodeExtent(bytes: Buffer, channelId: number, file: string, position: number): StoredBlock[] {
  const whole =
    bytes.length >= HEADER_BYTES && bytes.readUInt32LE(0) === MAGIC && bytes.readUInt32LE(8) === bytes.length
  if (!whole || bytes.readUInt32LE(12) !== channelId || bytes.readUInt32LE(4) !== crc32(bytes.subarray(8))) {
    throw damagedPart(file, `the events at byte ${position} are damaged`, { position, bytes: bytes.length })
  }
  const count = bytes.readUInt32LE(16)
  const blocks: StoredBlock[] = []
  let at = HEADER_BYTES + ENTRY_BYTES * count
  for (let index = 0; index < count; index++) {
    const entry = HEADER_BYTES + ENTRY_BYTES * index
    const length = bytes.readUInt32LE(entry + 20)
    blocks.push({
      channelId,
      firstOffset: bytes.readDoubleLE(entry),
      timeMs: bytes.readDoubleLE(entry + 8),
      count: bytes.readUInt32LE(entry + 16),
      bytes: bytes.subarray(at, at + length),
    })
    at += length
  }
  return blocks
}

/** An extent that was found by a scan of the segment. */
export interface FoundExtent {
  readonly channelId: number
  readonly firstOffset: number
  readonly count: number
  readonly timeMs: number
  readonly position: number
  readonly bytes: number
}

/** All undamaged extents of a segment, at any position. */
export function* findExtents(segment: Buffer): Generator<FoundExtent> {
  const magic = Buffer.alloc(4)
  magic.writeUInt32LE(MAGIC)
  for (let at = segment.indexOf(magic); at >= 0; at = segment.indexOf(magic, at)) {
    const found = extentAt(segment, at)
    if (found !== null) yield found
    at += found?.bytes ?? 1
  }
}

function extentAt(segment: Buffer, at: number): FoundExtent | null {
  if (at + HEADER_BYTES + ENTRY_BYTES > segment.length) return null
  const bytes = segment.readUInt32LE(at + 8)
  const blocks = segment.readUInt32LE(at + 16)
  const last = at + HEADER_BYTES + ENTRY_BYTES * (blocks - 1)
  if (at + bytes > segment.length || blocks < 1 || last + ENTRY_BYTES > at + bytes) return null
  if (segment.readUInt32LE(at + 4) !== crc32(segment.subarray(at + 8, at + bytes))) return null
  const firstOffset = segment.readDoubleLE(at + HEADER_BYTES)
  const end = segment.readDoubleLE(last) + segment.readUInt32LE(last + 16)
  return {
    channelId: segment.readUInt32LE(at + 12),
    firstOffset,
    count: end - firstOffset,
    timeMs: segment.readDoubleLE(at + HEADER_BYTES + 8),
    position: at,
    bytes,
  }
}

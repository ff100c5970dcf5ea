/**
 * The head of a journal file: its first 64 bytes.
 *
 *     offset  bytes
 *     0       4      magic "MRJ2"
 *     4       4      bytes of the file
 *     8       8      salt of the file's current use: random, new for each use
 *     16      8      sequence number of its first frame (float64); 0 in a file that was not used yet
 *     24      16     the directory's id
 *     40      20     zero
 *     60      4      CRC-32 of the 60 bytes before
 *
 * It is written when the file is created, and again together with the first frame of each later use. A disk writes a
 * sector completely or not at all, so a power cut leaves the old head or the new one. A broken head is therefore
 * damage. If the first frame is intact, the head can be rebuilt from it.
 */
import { crc32 } from 'node:zlib'
import { findFrame, SALT_BYTES } from './frame-codec.ts'

export const FILE_HEAD_BYTES = 64
const CHECKED_BYTES = 60
const MAGIC = 0x324a524d

export interface JournalHead {
  readonly fileBytes: number
  readonly salt: Buffer
  readonly firstSequence: number
  readonly directoryId: string
}

export function writeHead(into: Buffer, head: JournalHead): void {
  into.fill(0, 0, FILE_HEAD_BYTES)
  into.writeUInt32LE(MAGIC, 0)
  into.writeUInt32LE(head.fileBytes, 4)
  into.set(head.salt, 8)
  into.writeDoubleLE(head.firstSequence, 16)
  into.write(head.directoryId.replaceAll('-', ''), 24, 16, 'hex')
  into.writeUInt32LE(crc32(into.subarray(0, CHECKED_BYTES)), CHECKED_BYTES)
}

/** The head, or null if there is none or it is damaged. */
export function readHead(bytes: Buffer): JournalHead | null {
  if (bytes.length < FILE_HEAD_BYTES || bytes.readUInt32LE(0) !== MAGIC) return null
  if (bytes.readUInt32LE(CHECKED_BYTES) !== crc32(bytes.subarray(0, CHECKED_BYTES))) return null
  const id = bytes.toString('hex', 24, 40)
  return {
    fileBytes: bytes.readUInt32LE(4),
    salt: Buffer.from(bytes.subarray(8, 8 + SALT_BYTES)),
    firstSequence: bytes.readDoubleLE(16),
    directoryId: `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`,
  }
}

/** The head as it must have been, from the file's first frame. */
export function rebuildHead(bytes: Buffer, directoryId: string): JournalHead | null {
  if (bytes.length < FILE_HEAD_BYTES + SALT_BYTES) return null
  const salt = Buffer.from(bytes.subarray(FILE_HEAD_BYTES, FILE_HEAD_BYTES + SALT_BYTES))
  const first = findFrame(bytes, FILE_HEAD_BYTES, salt)
  return first?.state === 'whole' ? { fileBytes: bytes.length, salt, firstSequence: first.sequence, directoryId } : null
}

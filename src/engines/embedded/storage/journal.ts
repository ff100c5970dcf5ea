/**
 * The journal: a few preallocated files, used in turn. One frame a commit, one write and one sync.
 *
 * A file begins with 32 bytes: magic "MRJ1", bytes of the file (4), salt of its current use (8), sequence number of its
 * first frame (float64), zero (4), CRC-32 of the 28 bytes before. Frames follow, one behind the other.
 *
 * The write goes into the page cache at once and only the sync runs on another thread: one hop instead of two, and overwriting
 * preallocated bytes leaves the file's size alone, so that the sync has no metadata to write.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Frame } from '../store.ts'
import { damaged } from './damage.ts'
import type { FileSystem } from './file-system.ts'
import { decodeFrame, encodeFrame, type FramePlace, findFrame, frameBytesMax, SALT_BYTES } from './frame-codec.ts'

const FILE_HEADER_BYTES = 32
const MAGIC = 0x314a524d

interface JournalFile {
  readonly name: string
  readonly fd: number
  readonly bytes: number
  /** Sequence number of the last frame in it: free when that was applied. */
  lastSequence: number
}

/** A file as it was found: its frames in order, and where something else stands between them. */
interface Scanned {
  readonly file: JournalFile
  readonly bytes: Buffer
  readonly salt: Buffer
  readonly frames: FramePlace[]
}

export interface JournalOptions {
  readonly fileBytes: number
  /** Files in all; when they are full of frames that are not applied, commits wait. */
  readonly filesMax: number
}

export class Journal {
  readonly #fs: FileSystem
  readonly #directory: string
  readonly #options: JournalOptions
  readonly #files: JournalFile[] = []
  #current: JournalFile | null = null
  #position = 0
  #salt: Buffer = Buffer.alloc(SALT_BYTES)
  #buffer: Buffer = Buffer.alloc(64 * 1024)
  #applied = 0

  constructor(fs: FileSystem, directory: string, options: JournalOptions) {
    this.#fs = fs
    this.#directory = directory
    this.#options = options
  }

  get fileNames(): string[] {
    return this.#files.map((file) => file.name)
  }

  /**
   * Open the files that there must be, and hand over the frames after the last applied one, in order.
   * @throws DATA_DAMAGED when a frame is missing or damaged that others follow
   */
  recover(names: readonly string[], applied: number, take: (frame: Frame, sequence: number, bytes: number) => void, readOnly = false): void {
    this.#applied = applied
    const scanned: Scanned[] = []
    for (const name of names) scanned.push(this.#scan(name, readOnly))
    const frames = scanned.flatMap((scan) => scan.frames.map((place) => ({ scan, place }))).filter(({ place }) => place.sequence > applied)
    frames.sort((a, b) => a.place.sequence - b.place.sequence)
    let sequence = applied
    for (const { scan, place } of frames) {
      if (place.sequence !== sequence + 1) {
        throw damaged(
          scan.file.name,
          `commit ${sequence + 1} of the journal is missing or damaged, and commit ${place.sequence} follows it at byte ${place.at}`,
          {
            missing: sequence + 1,
            found: place.sequence,
            position: place.at,
          },
        )
      }
      sequence = place.sequence
      take(decodeFrame(scan.bytes, place), sequence, place.end - place.at)
    }
    const last = frames.at(-1)
    if (last === undefined) return
    this.#current = last.scan.file
    this.#position = last.place.end
    this.#salt = last.scan.salt
  }

  #scan(name: string, readOnly: boolean): Scanned {
    const path = join(this.#directory, name)
    let fd: number
    try {
      fd = this.#fs.open(path, readOnly ? 'r' : 'r+')
    } catch (cause) {
      throw damaged(name, `the journal file cannot be opened (${(cause as Error).message})`)
    }
    const bytes = Buffer.alloc(this.#fs.size(fd))
    this.#fs.readSync(fd, bytes, 0)
    const file: JournalFile = { name, fd, bytes: bytes.length, lastSequence: 0 }
    this.#files.push(file)
    const salt = this.#header(file, bytes)
    const frames = findFrames(bytes, salt)
    file.lastSequence = frames.at(-1)?.sequence ?? 0
    return { file, bytes, salt, frames }
  }

  /** The salt of a file's current use. */
  #header(file: JournalFile, bytes: Buffer): Buffer {
    if (bytes.length < FILE_HEADER_BYTES) throw damaged(file.name, `the journal file has ${bytes.length} bytes: it was cut short`)
    if (bytes.subarray(0, FILE_HEADER_BYTES).every((byte) => byte === 0)) throw damaged(file.name, 'the head of the journal file was erased')
    if (bytes.readUInt32LE(0) !== MAGIC || bytes.readUInt32LE(28) !== crc32(bytes.subarray(0, 28))) {
      throw damaged(file.name, 'the head of the journal file is damaged, or it is not a journal file')
    }
    if (bytes.readUInt32LE(4) !== bytes.length) {
      throw damaged(file.name, `the journal file has ${bytes.length} bytes and says it has ${bytes.readUInt32LE(4)}: it was cut short`)
    }
    return bytes.subarray(8, 16)
  }

  /** Whether a frame can be written now; if not, another file is needed first. */
  fits(frame: Frame): boolean {
    return this.#current !== null && this.#position + frameBytesMax(frame) <= this.#current.bytes
  }

  /** Go on in another file: one whose frames are all applied, or a new one. False when there may be no more of them. */
  turn(frame: Frame): boolean {
    const needed = FILE_HEADER_BYTES + frameBytesMax(frame)
    const free = this.#files.find((file) => file !== this.#current && file.lastSequence <= this.#applied && file.bytes >= needed)
    const next = free ?? (this.#files.length < this.#options.filesMax ? this.#create(Math.max(needed, this.#options.fileBytes)) : undefined)
    if (next === undefined) return false
    this.#current = next
    this.#position = 0
    this.#salt = randomBytes(SALT_BYTES)
    return true
  }

  /**
   * A new file, all of it written once, so that writing to it later changes nothing but bytes. Its head too: the first frame is written together with a head, and
   * a power cut may keep of that write all but the sector of the head. There is then the head of before, not an erased one.
   */
  #create(bytes: number): JournalFile {
    const name = `journal-${this.#files.length}`
    const path = join(this.#directory, name)
    this.#fs.remove(path)
    const fd = this.#fs.open(path, 'wx+')
    try {
      const zeros = Buffer.alloc(1024 * 1024)
      for (let at = 0; at < bytes; at += zeros.length) this.#fs.write(fd, zeros.subarray(0, Math.min(zeros.length, bytes - at)), at)
      writeHead(zeros, bytes, randomBytes(SALT_BYTES), 0)
      this.#fs.write(fd, zeros.subarray(0, FILE_HEADER_BYTES), 0)
      // Before the file is made known: one that a power cut left short would be refused as damaged.
      this.#fs.syncNow(fd)
    } catch (error) {
      this.#fs.close(fd)
      this.#fs.remove(path)
      throw error
    }
    const file = { name, fd, bytes, lastSequence: 0 }
    this.#files.push(file)
    return file
  }

  /** Write a frame that fits, and sync. */
  write(frame: Frame, sequence: number, done: (error: Error | null, bytes: number) => void): void {
    const file = this.#current as JournalFile
    const begin = this.#position === 0 ? FILE_HEADER_BYTES : 0
    const needed = begin + frameBytesMax(frame)
    if (this.#buffer.length < needed) this.#buffer = Buffer.allocUnsafeSlow(needed * 2)
    if (begin > 0) writeHead(this.#buffer, file.bytes, this.#salt, sequence)
    const end = encodeFrame(this.#buffer, begin, frame, sequence, this.#salt)
    this.#fs.write(file.fd, this.#buffer.subarray(0, end), this.#position)
    this.#position += end
    file.lastSequence = sequence
    this.#fs.sync(file.fd, (error) => done(error, end))
  }

  /** Frames up to here are behind the journal now: files that hold no others can be used again. */
  applied(sequence: number): void {
    this.#applied = sequence
  }

  close(): void {
    for (const file of this.#files) this.#fs.close(file.fd)
    this.#files.length = 0
  }
}

function writeHead(head: Buffer, fileBytes: number, salt: Buffer, sequence: number): void {
  head.writeUInt32LE(MAGIC, 0)
  head.writeUInt32LE(fileBytes, 4)
  head.set(salt, 8)
  head.writeDoubleLE(sequence, 16)
  head.writeUInt32LE(0, 24)
  head.writeUInt32LE(crc32(head.subarray(0, 28)), 28)
}

/** Every whole frame of a file, also behind damage: the salt tells where one may begin. */
function findFrames(bytes: Buffer, salt: Buffer): FramePlace[] {
  const frames: FramePlace[] = []
  let at = FILE_HEADER_BYTES
  while (at >= 0 && at < bytes.length) {
    const place = findFrame(bytes, at, salt)
    if (place !== null) frames.push(place)
    at = place === null ? bytes.indexOf(salt, at + 1) : place.end
  }
  return frames
}

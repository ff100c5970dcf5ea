/**
 * The journal: a few preallocated files, used in turn. One frame a commit, one write and one sync.
 *
 * The write goes into the page cache at once and only the sync runs on another thread: one hop instead of two, and overwriting
 * preallocated bytes leaves the file's size alone, so that the sync has no metadata to write.
 *
 * Invariants:
 * - A file is synced, with a head, before it is listed in `millrace.json`, and listed before a frame is written to it.
 * - Frames are numbered without gaps over all files, and each names the checksum of the one before.
 * - When the journal goes on in another file, the first commit there is acknowledged only when the file before has an end mark, synced: so that a
 *   file that went back to what it was is missed.
 * - What recovery finds is made durable before anything builds on it: the last frame may be in the page cache alone.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Frame } from '../store.ts'
import type { FileSystem } from './file-system.ts'
import { encodeEndMark, encodeFrame, FRAME_HEADER_BYTES, frameBytesMax, frameCheck, SALT_BYTES } from './frame-codec.ts'
import { FILE_HEAD_BYTES, writeHead } from './journal-head.ts'
import { type JournalFile, JournalScan, type Taken } from './journal-scan.ts'
import type { CommitName } from './recovery.ts'

export interface JournalOptions {
  readonly fileBytes: number
  /** Files in all, but for those of larger frames; when they are full of frames that are not applied, commits wait. */
  readonly filesMax: number
  readonly directoryId: string
}

/** A file that the journal has left, and where its frames end. */
interface LeftFile {
  readonly file: JournalFile
  readonly position: number
  readonly salt: Buffer
}

export type WriteDone = (error: Error | null, commit: CommitName, bytes: number) => void

export class Journal {
  readonly #fs: FileSystem
  readonly #directory: string
  readonly #options: JournalOptions
  #files: JournalFile[] = []
  #current: JournalFile | null = null
  /** The file before, as long as it lacks its end mark. */
  #turnedFrom: LeftFile | null = null
  #position = 0
  #salt: Buffer = Buffer.alloc(SALT_BYTES)
  #buffer: Buffer = Buffer.alloc(64 * 1024)
  #applied = 0
  #last: CommitName = { sequence: 0, check: 0 }

  constructor(fs: FileSystem, directory: string, options: JournalOptions) {
    this.#fs = fs
    this.#directory = directory
    this.#options = options
  }

  /** The last commit that was written, synced or not. */
  get last(): CommitName {
    return this.#last
  }

  get fileNames(): string[] {
    return this.#files.map((file) => file.name)
  }

  /**
   * Open the files that there must be, and hand over the frames after the last applied one, in order.
   * @throws DATA_DAMAGED · DATA_FOREIGN, as `recovery.ts` decides
   */
  recover(
    names: readonly string[],
    applied: CommitName,
    take: (frame: Frame, commit: CommitName, bytes: number) => void,
    readOnly = false,
  ): void {
    this.#applied = applied.sequence
    this.#last = applied
    const scan = new JournalScan(this.#fs, this.#directory, this.#options.directoryId, readOnly)
    this.#files = scan.files
    try {
      scan.open(names)
      const taken = scan.chain(applied)
      if (!readOnly) scan.makeDurable(taken.at(-1))
      for (const each of taken) take(scan.decode(each), each, each.end - each.at)
      this.#goOnAfter(taken.at(-1))
    } finally {
      scan.forget()
    }
  }

  #goOnAfter(last: Taken | undefined): void {
    if (last === undefined) return
    this.#current = last.file
    this.#position = last.end
    this.#salt = last.salt
    this.#last = { sequence: last.sequence, check: last.check }
  }

  /** Whether a frame can be written now; if not, another file is needed first. */
  fits(frame: Frame): boolean {
    return (
      this.#current !== null &&
      (this.#position || FILE_HEAD_BYTES) + frameBytesMax(frame) + FRAME_HEADER_BYTES <= this.#current.bytes
    )
  }

  /**
   * Go on in another file: one whose frames are all applied, or a new one. False when there may be no more of them before something is applied. A frame
   * that is larger than every file gets a file of its own kind, twice as large as it, when all else is applied: waiting would not help.
   */
  turn(frame: Frame): boolean {
    const needed = FILE_HEAD_BYTES + frameBytesMax(frame) + FRAME_HEADER_BYTES
    const free = this.#files.find(
      (file) => file !== this.#current && file.lastSequence <= this.#applied && file.bytes >= needed,
    )
    const mayCreate =
      this.#files.length < this.#options.filesMax || this.#files.every((file) => file.lastSequence <= this.#applied)
    const { fileBytes } = this.#options
    const next = free ?? (mayCreate ? this.#create(needed <= fileBytes ? fileBytes : needed * 2) : undefined)
    if (next === undefined) return false
    // A commit that was refused may have turned before: the mark still belongs behind the last frame, if its file is not used anew.
    if (this.#current !== null && this.#position > 0)
      this.#turnedFrom = { file: this.#current, position: this.#position, salt: this.#salt }
    if (this.#turnedFrom?.file === next) this.#turnedFrom = null
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
    const number = 1 + Math.max(-1, ...this.#files.map((file) => Number(file.name.slice('journal-'.length))))
    const name = `journal-${number}`
    const path = join(this.#directory, name)
    this.#fs.remove(path)
    const fd = this.#fs.open(path, 'wx+')
    try {
      const zeros = Buffer.alloc(1024 * 1024)
      for (let at = 0; at < bytes; at += zeros.length)
        this.#fs.write(fd, zeros.subarray(0, Math.min(zeros.length, bytes - at)), at)
      const head = Buffer.alloc(FILE_HEAD_BYTES)
      writeHead(head, {
        fileBytes: bytes,
        salt: randomBytes(SALT_BYTES),
        firstSequence: 0,
        directoryId: this.#options.directoryId,
      })
      this.#fs.write(fd, head, 0)
      // Before the file is made known, and its name with it: one that a power cut left short or took away would be refused as damaged.
      this.#fs.syncNow(fd)
      this.#fs.syncDirectory(this.#directory)
    } catch (error) {
      this.#fs.close(fd)
      this.#fs.remove(path)
      throw error
    }
    const file = { name, fd, bytes, lastSequence: 0 }
    this.#files.push(file)
    return file
  }

  /** Write a frame that fits, and sync. Throws when not all of it could be written: it did not happen then, and may be tried again. */
  write(frame: Frame, done: WriteDone): void {
    const file = this.#current as JournalFile
    const begin = this.#position === 0 ? FILE_HEAD_BYTES : 0
    const needed = begin + frameBytesMax(frame)
    if (this.#buffer.length < needed) this.#buffer = Buffer.allocUnsafeSlow(needed * 2)
    const sequence = this.#last.sequence + 1
    const { directoryId } = this.#options
    if (begin > 0)
      writeHead(this.#buffer, { fileBytes: file.bytes, salt: this.#salt, firstSequence: sequence, directoryId })
    const end = encodeFrame(this.#buffer, begin, frame, { sequence, link: this.#last.check }, this.#salt)
    const commit = { sequence, check: frameCheck(this.#buffer, begin) }
    this.#fs.write(file.fd, this.#buffer.subarray(0, end), this.#position)
    this.#position += end
    file.lastSequence = sequence
    this.#last = commit
    this.#fs.sync(file.fd, (error) => {
      if (error === null && this.#turnedFrom !== null) this.#mark(commit, (failed) => done(failed, commit, end))
      else done(error, commit, end)
    })
  }

  /** The first commit in another file is synced: the file before says so. */
  #mark(commit: CommitName, done: (error: Error | null) => void): void {
    const { file, position, salt } = this.#turnedFrom as LeftFile
    this.#turnedFrom = null
    try {
      this.#fs.write(file.fd, encodeEndMark({ sequence: commit.sequence, link: commit.check }, salt), position)
    } catch (error) {
      done(error as Error)
      return
    }
    this.#fs.sync(file.fd, done)
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

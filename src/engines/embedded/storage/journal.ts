/**
 * The journal: a few preallocated files, used in turn. Each commit is one frame, one write and one sync.
 *
 * The write goes into the page cache synchronously, and only the sync runs on another thread: one thread switch instead
 * of two. Overwriting preallocated bytes does not change the file's size, so the sync has no metadata to write.
 *
 * Invariants:
 * - A file is synced, with a head, before it is listed in `millrace.json`, and listed before a frame is written to it.
 * - Frames are numbered without gaps over all files, and each contains the checksum of the one before.
 * - When the journal continues in another file, the first commit there is acknowledged only after the end mark in the
 *   file before is synced. So a file that was reset to an older state is noticed.
 * - Recovered frames are made durable before anything relies on them, because the last frame may be only in the page
 *   cache.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Frame } from '../store.ts'
import type { FileSystem } from './file-system.ts'
import { encodeEndMark, encodeFrame, FRAME_HEADER_BYTES, frameBytesMax, frameCheck, SALT_BYTES } from './frame-codec.ts'
import { FILE_HEAD_BYTES, writeHead } from './journal-head.ts'
import { type JournalFile, JournalScan, type TakenFrame } from './journal-scan.ts'
import type { CommitName } from './recovery.ts'

export interface JournalOptions {
  readonly fileBytes: number
  /**
   * Maximum number of files, not counting those for larger frames. When all are full of frames that are not applied,
   * commits wait.
   */
  readonly filesMax: number
  readonly directoryId: string
}

/** A file that the journal has left, and the position after its last frame. */
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
  /** The file before, while its end mark is missing. */
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
   * Open the files that must exist, and give the frames after the last applied one to `take`, in order.
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

  #goOnAfter(last: TakenFrame | undefined): void {
    if (last === undefined) return
    this.#current = last.file
    this.#position = last.end
    this.#salt = last.salt
    this.#last = { sequence: last.sequence, check: last.check }
  }

  /** Whether a frame fits into the current file. */
  fits(frame: Frame): boolean {
    return (
      this.#current !== null &&
      (this.#position || FILE_HEAD_BYTES) + frameBytesMax(frame) + FRAME_HEADER_BYTES <= this.#current.bytes
    )
  }

  /**
   * Continue in another file: one whose frames are all applied, or a new one. Returns false if no file is free and no
   * more may be created; an apply must then free one.
   * A frame larger than every file gets a file twice its size, once everything else is applied, because waiting would
   * not help.
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
    // A refused commit may have switched the file already. The end mark still belongs after the last frame, unless that
    // file is reused now.
    if (this.#current !== null && this.#position > 0)
      this.#turnedFrom = { file: this.#current, position: this.#position, salt: this.#salt }
    if (this.#turnedFrom?.file === next) this.#turnedFrom = null
    this.#current = next
    this.#position = 0
    this.#salt = randomBytes(SALT_BYTES)
    return true
  }

  /**
   * Create a file and write all of it once, so that later writes change nothing but bytes.
   * Its head is written too. The first frame is later written together with a new head, and a power cut may lose only
   * the sector of that head. The old head is then still there, instead of an erased one.
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
      // The file and its name must be durable before the file is listed. Otherwise a power cut could shorten or remove
      // it, and it would be refused as damaged.
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

  /**
   * Write a frame that fits, and sync. If it throws, the frame was not completely written: the commit did not happen
   * and may be tried again.
   */
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

  /** Called when the first commit in a new file is synced: writes the end mark into the file that was left. */
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

  /** Frames up to this one are applied. Files that hold no later frames can be reused. */
  applied(sequence: number): void {
    this.#applied = sequence
  }

  close(): void {
    for (const file of this.#files) this.#fs.close(file.fd)
    this.#files.length = 0
  }
}

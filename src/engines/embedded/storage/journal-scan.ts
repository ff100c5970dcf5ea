/**
 * Reads the journal's files at opening: which of them are used, which frames are taken, and what must first be made
 * durable.
 *
 * The decisions are in `recovery.ts`. This file collects the facts, and reports what is wrong.
 */
import { join } from 'node:path'
import type { Frame } from '../store.ts'
import { damaged, foreign } from './damage.ts'
import type { FileSystem } from './file-system.ts'
import { decodeFrame, encodeEndMark, type FrameLocation, findFrames } from './frame-codec.ts'
import { FILE_HEAD_BYTES, type JournalHead, readHead, rebuildHead, writeHead } from './journal-head.ts'
import { type CommitChain, type CommitName, chainOf, decide, FILE_TABLE, type FileDecision } from './recovery.ts'

export interface JournalFile {
  readonly name: string
  readonly fd: number
  readonly bytes: number
  /** The sequence number of its last frame. The file is free when that frame is applied. */
  lastSequence: number
}

/** A frame to be taken, with its file. */
export interface TakenFrame extends FrameLocation {
  readonly file: JournalFile
  readonly salt: Buffer
}

/** The content of a file. */
interface Scanned {
  readonly file: JournalFile
  readonly bytes: Buffer
  readonly head: JournalHead
  readonly frames: readonly FrameLocation[]
  /** The head was damaged and is rebuilt from the first frame. */
  readonly rebuilt: boolean
}

const JOURNAL_FILE = /^journal-\d+$/

export function journalFiles(fs: FileSystem, directory: string, listed: readonly string[]): string[] {
  return [...new Set([...listed, ...fs.list(directory).filter((name) => JOURNAL_FILE.test(name))])]
}

export class JournalScan {
  readonly #fs: FileSystem
  readonly #directory: string
  readonly #directoryId: string
  readonly #readOnly: boolean
  readonly files: JournalFile[] = []
  #scanned = new Map<JournalFile, Scanned>()

  constructor(fs: FileSystem, directory: string, directoryId: string, readOnly: boolean) {
    this.#fs = fs
    this.#directory = directory
    this.#directoryId = directoryId
    this.#readOnly = readOnly
  }

  /** @throws DATA_DAMAGED · DATA_FOREIGN */
  open(listed: readonly string[]): void {
    for (const name of journalFiles(this.#fs, this.#directory, listed)) this.#open(name, listed.includes(name))
  }

  #open(name: string, listed: boolean): void {
    const fd = this.#descriptor(name)
    const bytes = fd === null ? Buffer.alloc(0) : this.#content(fd)
    const whole = fd === null ? null : readHead(bytes)
    const rebuilt = fd === null ? null : rebuildHead(bytes, this.#directoryId)
    const decision = decide(FILE_TABLE, {
      listed: listed ? 'yes' : 'no',
      head:
        fd === null
          ? 'missing'
          : whole === null
            ? 'damaged'
            : whole.directoryId === this.#directoryId
              ? 'whole'
              : 'other-directory',
      size: bytes.length < Math.max(FILE_HEAD_BYTES, whole?.fileBytes ?? 0) ? 'short' : 'enough',
      firstFrame: rebuilt === null ? 'not' : 'whole',
    })
    if (fd !== null && decision !== 'use' && decision !== 'use-rebuilt') this.#fs.close(fd)
    if (decision === 'ignore') return
    const head = decision === 'use' ? whole : rebuilt
    if (fd === null || head === null || (decision !== 'use' && decision !== 'use-rebuilt'))
      throw this.#refused(name, decision, bytes.length, whole)
    this.#take(
      { name, fd, bytes: head.fileBytes, lastSequence: 0 },
      bytes.subarray(0, head.fileBytes),
      head,
      decision === 'use-rebuilt',
    )
  }

  #take(file: JournalFile, bytes: Buffer, head: JournalHead, rebuilt: boolean): void {
    const frames = findFrames(bytes, FILE_HEAD_BYTES, head.salt)
    for (const frame of frames)
      if (frame.state === 'whole') file.lastSequence = Math.max(file.lastSequence, frame.sequence)
    this.files.push(file)
    this.#scanned.set(file, { file, bytes, head, frames, rebuilt })
  }

  #descriptor(name: string): number | null {
    try {
      return this.#fs.open(join(this.#directory, name), this.#readOnly ? 'r' : 'r+')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw damaged(name, `the journal file cannot be opened (${(error as Error).message})`)
    }
  }

  #content(fd: number): Buffer {
    const bytes = Buffer.alloc(this.#fs.size(fd))
    let at = 0
    while (at < bytes.length) {
      const count = this.#fs.readSync(fd, bytes.subarray(at), at)
      if (count === 0) break
      at += count
    }
    return bytes.subarray(0, at)
  }

  #refused(name: string, decision: FileDecision, size: number, head: JournalHead | null): Error {
    if (decision === 'missing') return damaged(name, 'the journal file is missing')
    if (decision === 'foreign')
      return foreign(
        join(this.#directory, name),
        `the journal file is of another data directory (${head?.directoryId})`,
      )
    if (decision === 'short') {
      return damaged(name, `the journal file has ${size} bytes and should have ${head?.fileBytes}: it was cut short`, {
        size,
        expected: head?.fileBytes,
      })
    }
    return damaged(name, 'the header of the journal file is damaged, or it is not a journal file')
  }

  /** The frames after the last applied one. @throws DATA_DAMAGED when an acknowledged one is missing */
  chain(applied: CommitName): readonly TakenFrame[] {
    const locations: TakenFrame[] = []
    for (const { file, head, frames } of this.#scanned.values())
      for (const frame of frames) locations.push({ ...frame, file, salt: head.salt })
    const chain = chainOf(applied, locations)
    if (chain.ended === 'end') return chain.taken
    throw this.#broken(chain, locations)
  }

  #broken({ ended, next, proven, taken }: CommitChain<TakenFrame>, locations: readonly TakenFrame[]): Error {
    const here = locations.find((location) => location.sequence === next)
    const file = (here ?? taken.at(-1) ?? locations[0])?.file.name ?? 'journal'
    const details = { missing: next, proven, ...(here !== undefined && { position: here.at }) }
    if (ended === 'other-history')
      return damaged(
        file,
        `commit ${next} of the journal does not follow the previous one: the file is older or newer than the others`,
        details,
      )
    return damaged(
      file,
      `commit ${next} of the journal is missing or damaged, and it was acknowledged: commit ${proven} is known`,
      details,
    )
  }

  decode(taken: TakenFrame): Frame {
    return decodeFrame((this.#scanned.get(taken.file) as Scanned).bytes, taken)
  }

  /**
   * Make durable what recovery has taken.
   * Only the sync of the last frame can be incomplete. After a failed sync, the frame looks written although it is only
   * in the page cache. So it is written again, with its file's head or the preceding end mark if they belong to it.
   * Rebuilt heads are written too.
   */
  makeDurable(last: TakenFrame | undefined): void {
    const touched = new Set<JournalFile>()
    const write = (file: JournalFile, bytes: Buffer, position: number): void => {
      this.#fs.write(file.fd, bytes, position)
      touched.add(file)
    }
    for (const { file, head, rebuilt } of this.#scanned.values()) {
      const begun = last?.file === file && last.at === FILE_HEAD_BYTES
      if (!rebuilt && !begun) continue
      const bytes = Buffer.alloc(FILE_HEAD_BYTES)
      writeHead(bytes, head)
      write(file, bytes, 0)
    }
    if (last !== undefined) {
      write(last.file, (this.#scanned.get(last.file) as Scanned).bytes.subarray(last.at, last.end), last.at)
      const before = last.at === FILE_HEAD_BYTES ? this.#before(last) : undefined
      if (before !== undefined)
        write(before.file, encodeEndMark({ sequence: last.sequence, link: last.check }, before.head.salt), before.end)
    }
    for (const file of touched) this.#fs.syncNow(file.fd)
  }

  /** Where the end mark that names a file's first commit belongs. */
  #before({
    file: next,
    sequence,
    link,
  }: TakenFrame): { readonly file: JournalFile; readonly head: JournalHead; readonly end: number } | undefined {
    for (const { file, head, frames } of this.#scanned.values()) {
      const location = frames.find(
        (frame) => frame.state === 'whole' && frame.sequence === sequence - 1 && frame.check === link,
      )
      if (location !== undefined && file !== next) return { file, head, end: location.end }
    }
    return undefined
  }

  /** The bytes of the files are no longer needed. */
  forget(): void {
    this.#scanned = new Map()
  }
}

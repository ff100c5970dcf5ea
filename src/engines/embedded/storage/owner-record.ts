/**
 * The record `owner.json`: which process owns the directory, since when, and where it listens.
 *
 * Its existence proves nothing; the kernel's lock does. It names the owner and its socket. Each new owner replaces it
 * with its own, so an owner that finds another record has lost the directory.
 */
import { closeSync, fstatSync, openSync, readFileSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { FILE_MODE, protect } from './file-modes.ts'
import { isFull } from './file-system.ts'

export interface OwnerInfo {
  readonly pid: number
  readonly host: string
  /** When it took the directory, in RFC 3339. */
  readonly since: string
}

export interface OwnerRecord extends OwnerInfo {
  /** The directory's inode. In a copy of the directory the record is not valid. */
  readonly inode: number
  /** When the process started, as the system counts it, if that is known: process ids are reused. */
  readonly begun: string | null
  /** The socket: a name in the directory, or a path; null if no socket can be made. */
  readonly socket: string | null
}

export const RECORD_FILE = 'owner.json'

export function thisProcess(): OwnerInfo & Pick<OwnerRecord, 'begun'> {
  return { pid: process.pid, host: hostname(), since: new Date().toISOString(), begun: processBegun() }
}

/** Whether the record is of this process: of another thread, or of another copy of the package. */
export function isOfThisProcess(record: OwnerRecord): boolean {
  return record.pid === process.pid && record.host === hostname() && record.begun === processBegun()
}

/** Linux has it in field 22 of `stat`. The second field, in parentheses, may contain any characters. */
function processBegun(): string | null {
  if (process.platform !== 'linux') return null
  try {
    const text = readFileSync('/proc/self/stat', 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}

/** The record of a directory; null if there is none, or it belongs to another directory. */
export function readRecord(directory: string): OwnerRecord | null {
  try {
    const record = JSON.parse(readFileSync(join(directory, RECORD_FILE), 'utf8')) as OwnerRecord
    return record !== null && typeof record === 'object' && record.inode === statSync(directory).ino ? record : null
  } catch {
    return null
  }
}

/** On a full disk the record stays empty. It then names nobody, but still replaces the record of another owner. */
function write(fd: number, text: string): void {
  try {
    writeSync(fd, text)
  } catch (error) {
    if (!isFull(error)) throw error
  }
}

/** A record that this process wrote. Its file stays open, so that no other file can get its inode number. */
export class WrittenRecord {
  readonly #path: string
  readonly #fd: number
  readonly #inode: number
  readonly #device: number

  constructor(directory: string, record: OwnerRecord) {
    this.#path = join(directory, RECORD_FILE)
    const aside = `${this.#path}.${process.pid}.new`
    rmSync(aside, { force: true })
    this.#fd = openSync(aside, 'wx+', FILE_MODE)
    const { ino, dev } = fstatSync(this.#fd)
    this.#inode = ino
    this.#device = dev
    try {
      write(this.#fd, `${JSON.stringify(record)}\n`)
      protect(aside)
      renameSync(aside, this.#path)
    } catch (error) {
      closeSync(this.#fd)
      throw error
    }
  }

  /** Whether the record in the directory is this one, another one, or missing. */
  get state(): 'this' | 'other' | 'none' {
    const found = statSync(this.#path, { throwIfNoEntry: false })
    if (found === undefined) return 'none'
    return found.ino === this.#inode && found.dev === this.#device ? 'this' : 'other'
  }

  close(): void {
    closeSync(this.#fd)
  }

  remove(): void {
    if (this.state === 'this') rmSync(this.#path, { force: true })
    this.close()
  }
}

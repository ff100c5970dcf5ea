/**
 * `owner.json`: which process has the directory, since when, and where it listens. It proves nothing by being there (the kernel's lock does); it says who to
 * name and where to reach it, and each new owner puts its own in place of it: the owner that finds another there has lost the directory.
 */
import { closeSync, fstatSync, openSync, readFileSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { FILE_MODE, protect } from './file-modes.ts'
import { isFull } from './file-system.ts'

export interface OwnerInfo {
  readonly pid: number
  readonly host: string
  /** When it took the directory, RFC 3339. */
  readonly since: string
}

export interface OwnerRecord extends OwnerInfo {
  /** Of the directory: in a copy of it, the record says nothing. */
  readonly inode: number
  /** When the process began, in its system's count, where that can be known: process ids are used again. */
  readonly begun: string | null
  /** Where it listens: a name in the directory, or a path; null where no socket can be made. */
  readonly socket: string | null
}

export const RECORD_FILE = 'owner.json'

export function thisProcess(): OwnerInfo & Pick<OwnerRecord, 'begun'> {
  return { pid: process.pid, host: hostname(), since: new Date().toISOString(), begun: processBegun() }
}

/** Whether a record is of this process: of another thread, or of another copy of the package in it. */
export function isOfThisProcess(record: OwnerRecord): boolean {
  return record.pid === process.pid && record.host === hostname() && record.begun === processBegun()
}

/** Linux says it in field 22 of `stat`; the second field, in parentheses, may hold anything. */
function processBegun(): string | null {
  if (process.platform !== 'linux') return null
  try {
    const text = readFileSync('/proc/self/stat', 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}

/** The record of a directory; null where there is none, or it is of another directory. */
export function readRecord(directory: string): OwnerRecord | null {
  try {
    const record = JSON.parse(readFileSync(join(directory, RECORD_FILE), 'utf8')) as OwnerRecord
    return record !== null && typeof record === 'object' && record.inode === statSync(directory).ino ? record : null
  } catch {
    return null
  }
}

/** On a full disk the record stays empty: it names nobody, and still stands in the place of another. */
function write(fd: number, text: string): void {
  try {
    writeSync(fd, text)
  } catch (error) {
    if (!isFull(error)) throw error
  }
}

/** A record that was written. Its file is kept open, so that no other file has its inode number meanwhile. */
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

  /** Whether it is this one that stands in the directory, another, or none. */
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

/**
 * Segment files: extents, one after the other. Files are only appended to, and deleted when they have no live extent.
 *
 * They are read by position and not mapped, so that reading a long backlog does not add to the process's memory.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MillraceError } from '../../../base/errors.ts'
import { damaged, damagedPart } from './damage.ts'
import { type FileSystem, isOutOfFiles } from './file-system.ts'

/** The number of files kept open for reading. */
const OPEN_MAX = 32
/** A read without a file descriptor waits this long and tries again, up to this many times. */
const DESCRIPTOR_WAIT_MS = 100
const DESCRIPTOR_TRIES = 50

export class Segments {
  readonly #fs: FileSystem
  readonly #directory: string
  readonly #readOnly: boolean
  readonly #open = new Map<number, number>()
  /** Descriptors to close when none is in use. */
  #retired: number[] = []
  #uses = 0

  constructor(fs: FileSystem, directory: string, readOnly: boolean) {
    this.#fs = fs
    this.#directory = directory
    this.#readOnly = readOnly
  }

  static fileName(id: number): string {
    return `segment-${String(id).padStart(8, '0')}`
  }

  /** @throws DATA_DAMAGED when the file is missing or too short */
  check(id: number, bytes: number): void {
    const size = this.#fs.size(this.#fd(id))
    if (size < bytes)
      throw damaged(Segments.fileName(id), `the segment has ${size} bytes and should have ${bytes}: it was cut short`, {
        size,
        expected: bytes,
      })
    this.rest()
  }

  create(id: number): void {
    const path = this.#path(id)
    // A failed attempt may have left the file.
    this.remove(id)
    this.#open.set(id, this.#fs.open(path, 'wx+'))
    this.#fs.syncDirectory(this.#directory)
  }

  async append(id: number, chunks: readonly Uint8Array[], position: number): Promise<void> {
    const fd = this.#fd(id)
    this.#uses++
    try {
      await this.#fs.writeAll(fd, chunks, position)
      await new Promise<void>((resolve, reject) => {
        this.#fs.sync(fd, (error) => (error === null ? resolve() : reject(error)))
      })
    } finally {
      this.#uses--
      this.#closeRetired()
    }
  }

  /** @throws DATA_DAMAGED · TOO_MANY_FILES when there was no file descriptor for some seconds */
  async read(id: number, position: number, bytes: number): Promise<Buffer> {
    const fd = await this.#descriptor(id)
    const into = Buffer.allocUnsafeSlow(bytes)
    this.#uses++
    try {
      return this.#whole(id, position, into, await this.#fs.read(fd, into, position))
    } finally {
      this.#uses--
      this.#closeRetired()
    }
  }

  /** The file's descriptor. If the process has none free, wait until it has again. */
  async #descriptor(id: number): Promise<number> {
    for (let tries = 1; tries < DESCRIPTOR_TRIES; tries++) {
      try {
        return this.#fd(id)
      } catch (error) {
        if (!isOutOfFiles(error)) throw error
        await sleep(DESCRIPTOR_WAIT_MS, undefined, { ref: false })
      }
    }
    return this.#fd(id)
  }

  #closeRetired(): void {
    if (this.#uses > 0) return
    for (const fd of this.#retired) this.#fs.close(fd)
    this.#retired = []
  }

  readSync(id: number, position: number, bytes: number): Buffer {
    const into = Buffer.allocUnsafeSlow(bytes)
    return this.#whole(id, position, into, this.#fs.readSync(this.#fd(id), into, position))
  }

  #whole(id: number, position: number, into: Buffer, count: number): Buffer {
    if (count === into.length) return into
    throw damagedPart(
      Segments.fileName(id),
      `the segment ends at byte ${position + count}, within events: it was cut short`,
      { position },
    )
  }

  remove(id: number): void {
    const fd = this.#open.get(id)
    if (fd !== undefined) this.#retired.push(fd)
    this.#open.delete(id)
    this.#closeRetired()
    this.#fs.remove(this.#path(id))
  }

  close(): void {
    this.#retired.push(...this.#open.values())
    this.#open.clear()
    this.#closeRetired()
  }

  #fd(id: number): number {
    let fd = this.#open.get(id)
    if (fd !== undefined) return fd
    fd = this.#openFile(id)
    this.#open.set(id, fd)
    return fd
  }

  #openFile(id: number): number {
    const path = this.#path(id)
    const flags = this.#readOnly ? 'r' : 'r+'
    try {
      return this.#fs.open(path, flags)
    } catch (cause) {
      if (!isOutOfFiles(cause))
        throw damaged(Segments.fileName(id), `the segment cannot be opened (${(cause as Error).message})`)
      // Close the files that are kept open for later reads.
      this.#rest(0)
      try {
        return this.#fs.open(path, flags)
      } catch (again) {
        if (!isOutOfFiles(again))
          throw damaged(Segments.fileName(id), `the segment cannot be opened (${(again as Error).message})`)
        const say = `${path} cannot be opened: too many files are open. Close some, or raise the limit (ulimit -n)`
        throw new MillraceError('TOO_MANY_FILES', say, { path }, { cause: again })
      }
    }
  }

  /** Close the files that were opened first, if too many are open. */
  rest(): void {
    this.#rest(OPEN_MAX)
  }

  #rest(max: number): void {
    for (const [id, fd] of this.#open) {
      if (this.#open.size <= max) break
      this.#open.delete(id)
      this.#retired.push(fd)
    }
    this.#closeRetired()
  }

  #path(id: number): string {
    return join(this.#directory, Segments.fileName(id))
  }
}

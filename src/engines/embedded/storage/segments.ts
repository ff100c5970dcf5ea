/**
 * Segment files: where extents stand, one behind the other. They are only appended to, and deleted when nothing in them is alive.
 *
 * They are read by position, not mapped: what a consumer reads of a long backlog does not become part of the process's memory.
 */
import { join } from 'node:path'
import { damaged, damagedPart } from './damage.ts'
import type { FileSystem } from './file-system.ts'

/** Files kept open for reading. */
const OPEN_MAX = 32

export class Segments {
  readonly #fs: FileSystem
  readonly #directory: string
  readonly #readOnly: boolean
  readonly #open = new Map<number, number>()
  /** Descriptors to close when no read is under way. */
  #retired: number[] = []
  #reads = 0

  constructor(fs: FileSystem, directory: string, readOnly: boolean) {
    this.#fs = fs
    this.#directory = directory
    this.#readOnly = readOnly
  }

  static fileName(id: number): string {
    return `segment-${String(id).padStart(8, '0')}`
  }

  /** @throws DATA_DAMAGED when the file is missing or shorter than it was */
  check(id: number, bytes: number): void {
    const size = this.#fs.size(this.#fd(id))
    if (size < bytes)
      throw damaged(Segments.fileName(id), `the segment has ${size} bytes and should have ${bytes}: it was cut short`, { size, expected: bytes })
  }

  create(id: number): void {
    const path = this.#path(id)
    this.#fs.remove(path)
    this.#open.set(id, this.#fs.open(path, 'wx+'))
    this.#fs.syncDirectory(this.#directory)
  }

  async append(id: number, chunks: readonly Uint8Array[], position: number): Promise<void> {
    const fd = this.#fd(id)
    await this.#fs.writeAll(fd, chunks, position)
    await new Promise<void>((resolve, reject) => {
      this.#fs.sync(fd, (error) => (error === null ? resolve() : reject(error)))
    })
  }

  async read(id: number, position: number, bytes: number): Promise<Buffer> {
    const into = Buffer.allocUnsafeSlow(bytes)
    this.#reads++
    try {
      return this.#whole(id, position, into, await this.#fs.read(this.#fd(id), into, position))
    } finally {
      this.#reads--
      this.#closeRetired()
    }
  }

  #closeRetired(): void {
    if (this.#reads > 0) return
    for (const fd of this.#retired) this.#fs.close(fd)
    this.#retired = []
  }

  readSync(id: number, position: number, bytes: number): Buffer {
    const into = Buffer.allocUnsafeSlow(bytes)
    return this.#whole(id, position, into, this.#fs.readSync(this.#fd(id), into, position))
  }

  #whole(id: number, position: number, into: Buffer, count: number): Buffer {
    if (count === into.length) return into
    throw damagedPart(Segments.fileName(id), `the segment ends at byte ${position + count}, within events: it was cut short`, { position })
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
    try {
      fd = this.#fs.open(this.#path(id), this.#readOnly ? 'r' : 'r+')
    } catch (cause) {
      throw damaged(Segments.fileName(id), `the segment cannot be opened (${(cause as Error).message})`)
    }
    this.#open.set(id, fd)
    return fd
  }

  /** Close the files opened longest ago, if there are too many. */
  rest(): void {
    for (const [id, fd] of this.#open) {
      if (this.#open.size <= OPEN_MAX) break
      this.#open.delete(id)
      this.#retired.push(fd)
    }
    this.#closeRetired()
  }

  #path(id: number): string {
    return join(this.#directory, Segments.fileName(id))
  }
}

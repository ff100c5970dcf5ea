/**
 * A power cut, simulated: real files, but of what was written since a file's last sync a cut keeps any subset, in any order, and any part of each.
 *
 * Journal and segment files: each unsynced write is kept, lost, or kept in some of its 512-byte sectors. A file that was never synced may also be shorter.
 * The index is LMDB's, which writes its data pages, syncs, and then writes one meta page: a cut in that is any subset of the new data pages under the old metas.
 */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FileSystem, nodeFileSystem } from '../../src/engines/embedded/storage/file-system.ts'
import { INDEX_FILE } from '../../src/engines/embedded/storage/index-db.ts'

const SECTOR = 512
const PAGE = 4096

interface Write {
  readonly position: number
  readonly before: Buffer
  readonly after: Buffer
  /** The file's size before. */
  readonly size: number
}

interface OpenFile {
  readonly name: string
  /** Since the last sync that has ended. */
  unsynced: Write[]
}

export class CuttableFileSystem implements FileSystem {
  readonly #files = new Map<number, OpenFile>()
  readonly #byName = new Map<string, OpenFile>()
  readonly #inner = nodeFileSystem

  open(path: string, flags: 'r' | 'r+' | 'wx+'): number {
    const fd = this.#inner.open(path, flags)
    const name = path.slice(path.lastIndexOf('/') + 1)
    const file = flags === 'wx+' ? { name, unsynced: [] } : (this.#byName.get(name) ?? { name, unsynced: [] })
    this.#byName.set(name, file)
    this.#files.set(fd, file)
    return fd
  }

  close(fd: number): void {
    this.#files.delete(fd)
    this.#inner.close(fd)
  }

  #note(fd: number, bytes: Uint8Array, position: number): void {
    const size = this.#inner.size(fd)
    const before = Buffer.alloc(bytes.length)
    if (position < size) this.#inner.readSync(fd, before, position)
    this.#files.get(fd)?.unsynced.push({ position, before, after: Buffer.from(bytes), size })
  }

  write(fd: number, bytes: Uint8Array, position: number): void {
    this.#note(fd, bytes, position)
    this.#inner.write(fd, bytes, position)
  }

  async writeAll(fd: number, chunks: readonly Uint8Array[], position: number): Promise<void> {
    this.#note(fd, Buffer.concat(chunks), position)
    await this.#inner.writeAll(fd, chunks, position)
  }

  sync(fd: number, done: (error: Error | null) => void): void {
    const file = this.#files.get(fd)
    const syncing = file?.unsynced.length ?? 0
    this.#inner.sync(fd, (error) => {
      if (error === null && file !== undefined) file.unsynced = file.unsynced.slice(syncing)
      done(error)
    })
  }

  syncNow(fd: number): void {
    this.#inner.syncNow(fd)
    const file = this.#files.get(fd)
    if (file !== undefined) file.unsynced = []
  }

  size = (fd: number): number => this.#inner.size(fd)
  read = (fd: number, into: Uint8Array, position: number): Promise<number> => this.#inner.read(fd, into, position)
  readSync = (fd: number, into: Uint8Array, position: number): number => this.#inner.readSync(fd, into, position)
  list = (directory: string): string[] => this.#inner.list(directory)
  makeDirectory = (directory: string): void => this.#inner.makeDirectory(directory)
  replace = (path: string, bytes: Uint8Array): void => this.#inner.replace(path, bytes)
  readFile = (path: string): Uint8Array | undefined => this.#inner.readFile(path)
  syncDirectory = (directory: string): void => this.#inner.syncDirectory(directory)
  remove(path: string): void {
    this.#byName.delete(path.slice(path.lastIndexOf('/') + 1))
    this.#inner.remove(path)
  }

  /** What a directory holds after a power cut now, as a copy. `index` replaces the index file's bytes. */
  cut(from: string, to: string, random: () => number, index?: Buffer): void {
    for (const name of readdirSync(from)) {
      if (name.endsWith('.sock')) continue
      cpSync(join(from, name), join(to, name))
      const file = this.#byName.get(name)
      if (file !== undefined && file.unsynced.length > 0) writeFileSync(join(to, name), afterCut(readFileSync(join(to, name)), file.unsynced, random))
    }
    if (index !== undefined) writeFileSync(join(to, INDEX_FILE), index)
  }
}

/** Undo a random part of the unsynced writes. */
function afterCut(bytes: Buffer, unsynced: readonly Write[], random: () => number): Buffer {
  let content = Buffer.from(bytes)
  const grownFrom = unsynced[0]?.size ?? content.length
  for (const { position, before, after } of unsynced) {
    if (content.length < position + after.length) content = Buffer.concat([content, Buffer.alloc(position + after.length - content.length)])
    const fate = random()
    const all = fate < 0.35 ? 'lost' : fate < 0.6 ? 'kept' : 'torn'
    for (let at = 0; at < after.length; ) {
      const end = Math.min(after.length, (Math.floor((position + at) / SECTOR) + 1) * SECTOR - position)
      const kept = all === 'kept' || (all === 'torn' && random() < 0.5)
      ;(kept ? after : before).copy(content, position + at, at, end)
      at = end
    }
  }
  // A size that was not synced may be an older one.
  return content.length > grownFrom && random() < 0.3 ? content.subarray(0, grownFrom + Math.floor(random() * (content.length - grownFrom))) : content
}

/** An index whose transaction was cut: the old metas, and any of the new data pages, some torn. */
export function cutIndex(before: Buffer, after: Buffer, random: () => number): Buffer {
  const mixed = Buffer.alloc(Math.max(before.length, after.length))
  before.copy(mixed)
  for (let at = 2 * PAGE; at < after.length; at += PAGE) {
    const fate = random()
    if (fate < 0.4) after.copy(mixed, at, at, Math.min(at + PAGE, after.length))
    else if (fate < 0.6) for (let sector = at; sector < at + PAGE; sector += SECTOR) if (random() < 0.5) after.copy(mixed, sector, sector, sector + SECTOR)
  }
  return mixed
}

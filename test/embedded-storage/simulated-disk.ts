/**
 * A simulated disk controlled by a seed: writes go to a page cache, syncs move them to the disk, and a power cut keeps
 * an arbitrary part of the difference.
 *
 * - A write that was not synced is kept, lost, or kept in some of its 512-byte sectors, independent of other writes.
 *   The same applies to a file's size.
 * - A created, renamed or removed name survives a power cut only if its directory was synced, or by chance.
 * - A failed sync has written an arbitrary part, and leaves the rest in the cache as if it were written (as Linux
 *   does).
 * - Syncs and longer writes end when the simulation says so.
 * - After a power cut or kill, every call fails.
 *
 * The index is LMDB's, in a real directory; `cutIndex` cuts its transactions.
 */
import { basename, dirname } from 'node:path'
import { type FileSystem, nodeFileSystem } from '../../src/engines/embedded/storage/file-system.ts'
import { INDEX_FILE } from '../../src/engines/embedded/storage/index-file.ts'

const SECTOR = 512

interface Inode {
  /** What reads return. */
  cache: Buffer
  /** What is on the disk. */
  disk: Buffer
  dirty: { readonly position: number; readonly bytes: Buffer }[]
}

type Names = Map<string, Inode>
type NameChange = (names: Names) => void

/** An operation that ends when the simulation says so. */
interface Pending {
  readonly end: () => void
  readonly fail: (error: Error) => void
}

export interface Faults {
  /** Free bytes in total. */
  room: number
  /** How many of the next syncs fail. */
  failSyncs: number
  /** No file can be opened, because the process has too many open. */
  noFiles: boolean
  /** The index's next transactions find no space. */
  indexFull: boolean
}

export class SimulatedDisk implements FileSystem {
  readonly #random: () => number
  readonly #names: Names
  readonly #durableNames: Names
  #nameChanges: NameChange[] = []
  readonly #open = new Map<number, Inode | number>()
  #pending: Pending[] = []
  #nextFd = 1000
  #dead: Error | null = null
  #callsLeft = Number.POSITIVE_INFINITY
  /** Whether the index was synced since it was created. */
  indexSynced = false
  /** Called at the moment of death. */
  onDeath: () => void = () => undefined
  /** Lies of the disk, for tests of the simulation itself: its syncs do nothing. */
  lies: 'nothing' | 'sync' | 'directory' = 'nothing'
  readonly faults: Faults = { room: Number.POSITIVE_INFINITY, failSyncs: 0, noFiles: false, indexFull: false }

  constructor(random: () => number, names: Names = new Map(), durableNames: Names = new Map()) {
    this.#random = random
    this.#names = names
    this.#durableNames = durableNames
  }

  /** The disk dies during the call that is this many calls ahead. */
  dieAfter(calls: number): void {
    this.#callsLeft = calls
  }

  get dead(): boolean {
    return this.#dead !== null
  }

  /** From now on every call fails. */
  die(): void {
    if (this.#dead !== null) return
    this.onDeath()
    this.#dead = Object.assign(new Error('the machine is off'), { code: 'EOFF' })
    for (const pending of this.#pending.splice(0)) pending.fail(this.#dead)
  }

  #call(): void {
    if (this.#dead === null && --this.#callsLeft < 0) this.die()
    if (this.#dead !== null) throw this.#dead
  }

  get pending(): number {
    return this.#pending.length
  }

  /** Let one pending operation end. */
  endOne(): void {
    const [pending] = this.#pending.splice(Math.floor(this.#random() * this.#pending.length), 1)
    pending?.end()
  }

  /** The disk as another process finds it after this one was killed. */
  afterKill(): SimulatedDisk {
    const after = new SimulatedDisk(this.#random, this.#names, this.#durableNames)
    after.#nameChanges = this.#nameChanges
    after.indexSynced = this.indexSynced
    after.lies = this.lies
    return after
  }

  /** The disk after a power cut. */
  afterCut(): SimulatedDisk {
    for (const change of this.#nameChanges) if (this.#random() < 0.5) change(this.#durableNames)
    const names: Names = new Map()
    for (const [name, inode] of this.#durableNames) {
      this.#writeBack(inode)
      names.set(name, { cache: Buffer.from(inode.disk), disk: inode.disk, dirty: [] })
    }
    const after = new SimulatedDisk(this.#random, names, new Map(names))
    after.indexSynced = this.indexSynced
    after.lies = this.lies
    return after
  }

  /** Write an arbitrary part of the unsynced data. */
  #writeBack(inode: Inode): void {
    for (const { position, bytes } of inode.dirty) {
      const fate = this.#random()
      if (fate < 0.35) continue
      for (let at = 0; at < bytes.length; ) {
        const end = Math.min(bytes.length, (Math.floor((position + at) / SECTOR) + 1) * SECTOR - position)
        if (fate < 0.6 || this.#random() < 0.5) inode.disk = written(inode.disk, bytes.subarray(at, end), position + at)
        at = end
      }
    }
  }

  open(path: string, flags: 'r' | 'r+' | 'wx+'): number {
    this.#call()
    if (this.faults.noFiles) throw coded('EMFILE')
    if (basename(path) === INDEX_FILE) {
      const real = nodeFileSystem.open(path, flags)
      this.#open.set(real, real)
      return real
    }
    let inode = this.#names.get(path)
    if (flags === 'wx+') {
      if (inode !== undefined) throw coded('EEXIST')
      inode = { cache: Buffer.alloc(0), disk: Buffer.alloc(0), dirty: [] }
      this.#rename(path, inode)
    }
    if (inode === undefined) throw coded('ENOENT')
    const fd = this.#nextFd++
    this.#open.set(fd, inode)
    return fd
  }

  #rename(path: string, inode: Inode): void {
    this.#names.set(path, inode)
    this.#nameChanges.push((names) => names.set(path, inode))
  }

  #inode(fd: number): Inode {
    return this.#open.get(fd) as Inode
  }

  #real(fd: number): number | null {
    const found = this.#open.get(fd)
    return typeof found === 'number' ? found : null
  }

  close(fd: number): void {
    const real = this.#real(fd)
    if (real !== null) nodeFileSystem.close(real)
    this.#open.delete(fd)
  }

  size(fd: number): number {
    const real = this.#real(fd)
    return real === null ? this.#inode(fd).cache.length : nodeFileSystem.size(real)
  }

  write(fd: number, bytes: Uint8Array, position: number): void {
    this.#call()
    const { faults } = this
    const fits = Math.min(bytes.length, faults.room)
    this.#put(this.#inode(fd), Buffer.from(bytes.subarray(0, fits)), position)
    if (fits < bytes.length) throw coded('ENOSPC')
  }

  #put(inode: Inode, bytes: Buffer, position: number): void {
    this.faults.room -= Math.max(0, position + bytes.length - inode.cache.length)
    inode.cache = written(inode.cache, bytes, position)
    inode.dirty.push({ position, bytes })
  }

  writeAll(fd: number, chunks: readonly Uint8Array[], position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#later(reject, () => {
        let at = position
        for (const chunk of chunks) {
          this.write(fd, chunk, at)
          at += chunk.length
        }
        resolve()
      })
    })
  }

  #later(fail: (error: Error) => void, act: () => void): void {
    const end = (): void => {
      try {
        act()
      } catch (error) {
        fail(error as Error)
      }
    }
    if (this.#dead !== null) fail(this.#dead)
    else this.#pending.push({ end, fail })
  }

  sync(fd: number, done: (error: Error | null) => void): void {
    const inode = this.#inode(fd)
    const begun = inode.dirty.length
    this.#later(done, () => {
      this.#sync(inode, begun)
      done(null)
    })
  }

  #sync(inode: Inode, count: number): void {
    this.#call()
    if (this.lies === 'sync') return
    const dirty = inode.dirty.splice(0, count)
    if (this.faults.failSyncs > 0) {
      this.faults.failSyncs--
      this.#writeBack({ ...inode, dirty })
      throw coded('EIO')
    }
    for (const { position, bytes } of dirty) inode.disk = written(inode.disk, bytes, position)
  }

  syncNow(fd: number): void {
    const real = this.#real(fd)
    if (real === null) this.#sync(this.#inode(fd), this.#inode(fd).dirty.length)
    else {
      this.#call()
      this.indexSynced = true
    }
  }

  async read(fd: number, into: Uint8Array, position: number): Promise<number> {
    return this.readSync(fd, into, position)
  }

  readSync(fd: number, into: Uint8Array, position: number): number {
    const real = this.#real(fd)
    if (real !== null) return nodeFileSystem.readSync(real, into, position)
    const { cache } = this.#inode(fd)
    return cache.copy(into, 0, position, Math.min(cache.length, position + into.length))
  }

  list(directory: string): string[] {
    const real = nodeFileSystem.list(directory).filter((name) => name.startsWith(INDEX_FILE))
    return [
      ...real,
      ...[...this.#names.keys()].filter((path) => dirname(path) === directory).map((path) => basename(path)),
    ]
  }

  makeDirectory(directory: string): void {
    nodeFileSystem.makeDirectory(directory)
  }

  exists(path: string): boolean {
    return basename(path) === INDEX_FILE ? nodeFileSystem.exists(path) : this.#names.has(path)
  }

  replace(path: string, bytes: Uint8Array): void {
    this.#call()
    const inode: Inode = { cache: Buffer.alloc(0), disk: Buffer.alloc(0), dirty: [] }
    if (this.faults.noFiles) throw coded('EMFILE')
    if (this.faults.room < bytes.length) throw coded('ENOSPC')
    this.#put(inode, Buffer.from(bytes), 0)
    this.#sync(inode, 1)
    this.#rename(path, inode)
    this.syncDirectory(dirname(path))
  }

  readFile(path: string): Uint8Array | undefined {
    return this.#names.get(path)?.cache
  }

  remove(path: string): void {
    if (basename(path).startsWith(INDEX_FILE)) {
      nodeFileSystem.remove(path)
      this.indexSynced = false
      return
    }
    this.#call()
    const inode = this.#names.get(path)
    if (inode === undefined) return
    this.faults.room += inode.cache.length
    this.#names.delete(path)
    this.#nameChanges.push((names) => names.delete(path))
  }

  syncDirectory(_directory: string): void {
    this.#call()
    if (this.lies !== 'directory') for (const change of this.#nameChanges.splice(0)) change(this.#durableNames)
  }
}

function written(content: Buffer, bytes: Uint8Array, position: number): Buffer {
  const into =
    content.length >= position + bytes.length
      ? content
      : Buffer.concat([content, Buffer.alloc(position + bytes.length - content.length)])
  into.set(bytes, position)
  return into
}

function coded(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code })
}

const PAGE = 4096

/** An index whose transaction was cut: the old meta pages, and some of the new data pages, possibly torn. */
export function cutIndex(before: Buffer, after: Buffer, random: () => number): Buffer {
  const mixed = Buffer.alloc(Math.max(before.length, after.length))
  before.copy(mixed)
  for (let at = 2 * PAGE; at < after.length; at += PAGE) {
    const fate = random()
    if (fate < 0.4) after.copy(mixed, at, at, Math.min(at + PAGE, after.length))
    else if (fate < 0.6)
      for (let sector = at; sector < at + PAGE; sector += SECTOR)
        if (random() < 0.5) after.copy(mixed, sector, sector, sector + SECTOR)
  }
  return mixed
}

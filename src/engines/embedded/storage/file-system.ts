/**
 * The file operations of the store, as an interface, so that tests can simulate power loss, a full disk and a failed
 * sync.
 */
import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { FILE_MODE, makePrivateDirectory, protect } from './file-modes.ts'

export interface FileSystem {
  open(path: string, flags: 'r' | 'r+' | 'wx+'): number
  close(fd: number): void
  /** The size of the file in bytes. */
  size(fd: number): number
  /** Write all bytes at a position, into the page cache only. */
  write(fd: number, bytes: Uint8Array, position: number): void
  /** The same for several chunks, off the main thread. */
  writeAll(fd: number, chunks: readonly Uint8Array[], position: number): Promise<void>
  /** Make the written bytes durable. */
  sync(fd: number, done: (error: Error | null) => void): void
  /** The same synchronously, including the file's size and other metadata. */
  syncNow(fd: number): void
  read(fd: number, into: Uint8Array, position: number): Promise<number>
  readSync(fd: number, into: Uint8Array, position: number): number
  /** Names in a directory; empty if it does not exist. */
  list(directory: string): string[]
  makeDirectory(directory: string): void
  exists(path: string): boolean
  /** Replace a small file as a whole: write a new one, sync it, rename it, sync the directory. */
  replace(path: string, bytes: Uint8Array): void
  readFile(path: string): Uint8Array | undefined
  remove(path: string): void
  syncDirectory(directory: string): void
}

export const nodeFileSystem: FileSystem = {
  open: (path, flags) => (flags === 'wx+' ? create(path, flags) : fs.openSync(path, flags)),
  close: (fd) => fs.closeSync(fd),
  size: (fd) => fs.fstatSync(fd).size,
  write(fd, bytes, position) {
    let at = 0
    while (at < bytes.length) at += fs.writeSync(fd, bytes, at, bytes.length - at, position + at)
  },
  async writeAll(fd, chunks, position) {
    let at = position
    for (const chunk of chunks) {
      let done = 0
      while (done < chunk.length) done += await writeOnce(fd, chunk, done, at + done)
      at += chunk.length
    }
  },
  sync: (fd, done) => fs.fdatasync(fd, done),
  syncNow: (fd) => fs.fsyncSync(fd),
  read: (fd, into, position) =>
    new Promise((resolve, reject) => {
      fs.read(fd, into, 0, into.length, position, (error, count) => (error === null ? resolve(count) : reject(error)))
    }),
  readSync: (fd, into, position) => fs.readSync(fd, into, 0, into.length, position),
  list: (directory) => (fs.existsSync(directory) ? fs.readdirSync(directory) : []),
  makeDirectory(directory) {
    makePrivateDirectory(directory)
  },
  exists: (path) => fs.existsSync(path),
  replace(path, bytes) {
    const aside = `${path}.new`
    const fd = create(aside, 'w')
    try {
      this.write(fd, bytes, 0)
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
    fs.renameSync(aside, path)
    this.syncDirectory(dirname(path))
  },
  readFile: (path) => (fs.existsSync(path) ? fs.readFileSync(path) : undefined),
  remove: (path) => fs.rmSync(path, { force: true }),
  syncDirectory(directory) {
    const fd = fs.openSync(directory, 'r')
    try {
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  },
}

/** Create a file with the mode for its directory's files. */
function create(path: string, flags: 'w' | 'wx+'): number {
  const fd = fs.openSync(path, flags, FILE_MODE)
  protect(path)
  return fd
}

function writeOnce(fd: number, chunk: Uint8Array, from: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, chunk, from, chunk.length - from, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    )
  })
}

/** Whether the error means that there is no space. LMDB reports the system's error numbers. */
export function isFull(error: unknown): boolean {
  const code = (error as { readonly code?: unknown } | null)?.code
  const text = error instanceof Error ? error.message : ''
  return (
    code === 'ENOSPC' ||
    code === 'EDQUOT' ||
    code === 28 ||
    code === 122 ||
    /no space left|ENOSPC|quota exceeded/i.test(text)
  )
}

/** Whether the error means that too many files are open. */
export function isOutOfFiles(error: unknown): boolean {
  const code = (error as { readonly code?: unknown } | null)?.code
  return code === 'EMFILE' || code === 'ENFILE' || code === 'TOO_MANY_FILES' || code === 23 || code === 24
}

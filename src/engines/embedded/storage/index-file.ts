/** Checks the index file before LMDB maps it. LMDB has no checksums and trusts whatever it maps. */
import { closeSync, existsSync, fstatSync, openSync, readSync, truncateSync } from 'node:fs'
import { damaged } from './damage.ts'
import type { FileSystem } from './file-system.ts'
import { indexProblem, newestMeta, PAGE_BYTES, type PageSource } from './index-pages.ts'
import type { DirectoryFacts } from './recovery.ts'

export const INDEX_FILE = 'index.mdb'
/** The number of pages at the end of an intact file that LMDB may have left unwritten. */
const PAGES_UNWRITTEN_MAX = 64

/** Whether the file exists and has a head that LMDB would open. */
export function indexState(fs: FileSystem, path: string): DirectoryFacts['index'] {
  if (!fs.exists(path)) return 'none'
  const fd = fs.open(path, 'r')
  try {
    const head = Buffer.alloc(2 * PAGE_BYTES)
    fs.readSync(fd, head, 0)
    return newestMeta(head) === null ? 'broken' : 'whole'
  } finally {
    fs.close(fd)
  }
}

/** An index up to this size is checked completely at opening; of a larger one, everything except the leaves. */
const WALKED_BYTES_MAX = 32 * 1024 * 1024

/**
 * Checks the index file before LMDB maps it.
 * @throws DATA_DAMAGED when the file cannot be mapped safely, or is not what LMDB has written
 */
export function checkIndexFile(path: string, readOnly: boolean): void {
  if (!existsSync(path)) return
  const fd = openSync(path, 'r')
  try {
    const { size } = fstatSync(fd)
    const head = Buffer.alloc(2 * PAGE_BYTES)
    readSync(fd, head, 0, head.length, 0)
    const newest = newestMeta(head)
    if (newest === null) throw damaged(INDEX_FILE, 'it is not an LMDB file, or its header is damaged')
    const needed = (newest.lastPage + 1) * PAGE_BYTES
    if (newest.lastPage > 1 && size < needed - PAGES_UNWRITTEN_MAX * PAGE_BYTES) {
      throw damaged(INDEX_FILE, `the index has ${size} bytes and should have ${needed}: it was cut short`, {
        size,
        expected: needed,
      })
    }
    // Beside a living owner, pages change during a check. The owner has checked the file already.
    if (readOnly) return
    const problem = indexProblem(pagesOf(fd, size), { leaves: size <= WALKED_BYTES_MAX })
    if (problem !== null) throw damaged(INDEX_FILE, `the index is damaged: ${problem}`, { problem })
    // Pages that a transaction allocated and freed again are never written, so an intact file may end before them. It
    // is extended, so that no read goes beyond its end.
    if (size < needed) truncateSync(path, needed)
  } finally {
    closeSync(fd)
  }
}

/** Pages of a file. A small file is read at once. */
export function pagesOf(fd: number, size: number): PageSource {
  if (size > WALKED_BYTES_MAX) return (page, count) => readAt(fd, page * PAGE_BYTES, count * PAGE_BYTES)
  const all = readAt(fd, 0, size)
  return (page, count) => all.subarray(page * PAGE_BYTES, (page + count) * PAGE_BYTES)
}

function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  return bytes.subarray(0, readSync(fd, bytes, 0, length, position))
}

/**
 * The index's file, looked at before LMDB maps it: LMDB has no checksums, and what it maps it trusts.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, truncateSync } from 'node:fs'
import { damaged } from './damage.ts'
import type { FileSystem } from './file-system.ts'
import { indexProblem, newestMeta, PAGE_BYTES, type PageSource } from './index-pages.ts'
import type { DirectoryFacts } from './recovery.ts'

export const INDEX_FILE = 'index.mdb'
/** Pages at the end of a whole file that LMDB may have left unwritten. */
const PAGES_UNWRITTEN_MAX = 64

/** Whether the file is there, and has a head that LMDB would open. */
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

/** An index of up to so many bytes is looked at whole at opening; of a larger one, all but the leaves. */
const WALKED_BYTES_MAX = 32 * 1024 * 1024

/** @throws DATA_DAMAGED when a file is there that cannot be mapped safely, or that is not what LMDB has written */
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
    // A reader beside a living owner would see pages change under it: what the owner has looked at is not looked at again.
    if (readOnly) return
    const problem = indexProblem(pagesOf(fd, size), { leaves: size <= WALKED_BYTES_MAX })
    if (problem !== null) throw damaged(INDEX_FILE, `the index is damaged: ${problem}`, { problem })
    // Pages that a transaction took and gave back are never written, so a whole file may end before them: nothing is to be read beyond the file's end.
    if (size < needed) truncateSync(path, needed)
  } finally {
    closeSync(fd)
  }
}

/** Pages of a file: of a small one, all read at once. */
export function pagesOf(fd: number, size: number): PageSource {
  if (size > WALKED_BYTES_MAX) return (page, count) => readAt(fd, page * PAGE_BYTES, count * PAGE_BYTES)
  const all = readAt(fd, 0, size)
  return (page, count) => all.subarray(page * PAGE_BYTES, (page + count) * PAGE_BYTES)
}

function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  return bytes.subarray(0, readSync(fd, bytes, 0, length, position))
}

/** Refusals of the operating system for a data directory, as errors with a code that say what to do. */
import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'
import { MillraceError } from '../../../base/errors.ts'
import { isFull, isOutOfFiles } from './file-system.ts'

const ADVICE: Readonly<Record<string, string>> = {
  EACCES:
    'this user may not read and write it. Give the directory and its files to the user of this process, or use another directory',
  EPERM:
    'this user may not change it. Give the directory and its files to the user of this process, or use another directory',
  EEXIST: 'a file is in its place. Name a directory',
  ENOTDIR: 'a part of its path is a file. Name a directory',
  EROFS: 'it is on a read-only file system. Use another directory, or open it with readOnly',
  ENAMETOOLONG: 'its path is longer than the file system allows. Use a shorter one',
  ELOOP: 'its path has a loop of symbolic links. Use another directory',
  ENOENT: 'a part of its path is missing, or is a link to a missing file. Correct the path',
  ENOSYS: 'its file system lacks a function that is needed. Use a directory on a local disk',
  EOPNOTSUPP: 'its file system lacks a function that is needed. Use a directory on a local disk',
  ENOTSUP: 'its file system lacks a function that is needed. Use a directory on a local disk',
  ENOLCK: 'its file system has no locks. Use a directory on a local disk',
  ENOMEM: 'the system has too little memory left',
  ESTALE: 'it is no longer on the server that had it. Mount it again',
}
/** LMDB reports the system's error numbers. */
const NUMBERS: Readonly<Record<number, string>> = {
  1: 'EPERM',
  2: 'ENOENT',
  5: 'EIO',
  12: 'ENOMEM',
  13: 'EACCES',
  17: 'EEXIST',
  20: 'ENOTDIR',
  23: 'ENFILE',
  24: 'EMFILE',
  30: 'EROFS',
  36: 'ENAMETOOLONG',
  37: 'ENOLCK',
  38: 'ENOSYS',
  95: 'EOPNOTSUPP',
}

/** The system's name for an error, or null if it is not the system's. */
export function systemCode(error: unknown): string | null {
  const code = (error as { readonly code?: unknown } | null)?.code
  if (typeof code === 'number') return NUMBERS[code] ?? null
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : null
}

/**
 * The error to report when a directory cannot be opened. Millrace's own errors, and those that are not the system's,
 * stay as they are.
 */
export function refusalOf(directory: string, error: unknown): unknown {
  if (error instanceof MillraceError) return error
  if (isFull(error))
    return new MillraceError(
      'DISK_FULL',
      `the disk of ${directory} is full: free some space, then connect again`,
      { directory },
      { cause: error },
    )
  if (isOutOfFiles(error))
    return new MillraceError(
      'TOO_MANY_FILES',
      `${directory} cannot be opened: too many files are open. Close some, or raise the limit (ulimit -n), then connect again`,
      { directory },
      { cause: error },
    )
  const code = systemCode(error)
  if (code === null) return error
  const advice = ADVICE[code] ?? 'check the disk'
  return new MillraceError(
    'DIRECTORY_UNUSABLE',
    `${directory} cannot be used (${code}): ${advice}`,
    { directory, errno: code },
    { cause: error },
  )
}

/**
 * Opening needs descriptors in many places. LMDB's binding ends the process if it gets none, so this first checks that
 * there are enough: for the lock, the index, the journal's files, the socket, and some more.
 */
const DESCRIPTORS_NEEDED = 24

/** Checks that the process can open more files. @throws EMFILE or ENFILE, errors of the system */
export function needDescriptors(): void {
  const opened: number[] = []
  try {
    while (opened.length < DESCRIPTORS_NEEDED) opened.push(openSync(devNull, 'r'))
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

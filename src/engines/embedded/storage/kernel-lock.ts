/**
 * The lock of a data directory: the kernel holds it for the process that has it, and gives it up when that process ends, however it ends.
 *
 * Node has no file locks, LMDB has: a process that reads an LMDB file keeps an entry in its table of readers and, for as long as it lives, a lock on a byte of
 * the table's file. The owner of a directory is the one reader of `owner.mdb`, a file of its own that holds nothing. It becomes one within a write transaction,
 * of which LMDB runs one at a time over all processes, and only where nobody else is one. So it depends on no process id, socket, age of a file or folder for
 * temporary files, and holds between containers that share a volume (docs/decisions/0014-who-owns-a-directory.md).
 *
 * Invariant: a process opens `owner.mdb` once. POSIX gives up all locks of a process on a file when the process closes any descriptor of it.
 */

import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { open, type RootDatabase, type Transaction } from 'lmdb'
import { realTimeout } from '../../../base/timers.ts'
import { FILE_MODE, protect } from './file-modes.ts'

export const LOCK_FILE = 'owner.mdb'
const LOCK_TABLE = `${LOCK_FILE}-lock`
/** LMDB wants a size: the file has two pages. */
const MAP_BYTES = 1024 * 1024
const READERS_MAX = 30
/** What only looks at the lock, or was just killed, may stand in the way for a moment. */
const TRIES = 4
const TRY_AGAIN_MS = 15

export class KernelLock {
  readonly #directory: string
  readonly #db: RootDatabase
  readonly #reader: Transaction
  readonly #table: number

  private constructor(directory: string, db: RootDatabase, reader: Transaction) {
    this.#directory = directory
    this.#db = db
    this.#reader = reader
    this.#table = tableOf(directory) ?? 0
  }

  /** The lock, or null while another process has it. Errors are the system's. */
  static async take(directory: string): Promise<KernelLock | null> {
    for (let tries = 1; ; tries++) {
      const lock = await KernelLock.#try(directory)
      if (lock !== null || tries === TRIES) return lock
      await new Promise((resolve) => realTimeout(resolve, TRY_AGAIN_MS * (1 + Math.random())))
    }
  }

  static async #try(directory: string): Promise<KernelLock | null> {
    const db = openFile(directory)
    // One process at a time is in here, so that two that look at once do not both find nobody.
    const reader = db.transactionSync(() => (isRead(db) ? null : db.useReadTransaction()))
    if (reader === null) {
      await db.close()
      return null
    }
    for (const name of [LOCK_FILE, LOCK_TABLE]) protect(join(directory, name))
    return new KernelLock(directory, db, reader)
  }

  /** Whether a process has the lock; not to be asked by the one that has it. */
  static async isHeld(directory: string): Promise<boolean> {
    if (!existsSync(join(directory, LOCK_TABLE))) return false
    const db = openFile(directory)
    try {
      return isRead(db)
    } finally {
      await db.close()
    }
  }

  /** Whether the directory has had an owner with a lock, and its file is there. */
  static exists(directory: string): boolean {
    return tableOf(directory) !== null
  }

  /** Whether it is still the lock that others look at: its file can be deleted. */
  get stands(): boolean {
    return tableOf(this.#directory) === this.#table
  }

  async release(): Promise<void> {
    this.#reader.done()
    await this.#db.close()
  }
}

function openFile(directory: string): RootDatabase {
  const options = {
    path: join(directory, LOCK_FILE),
    noSubdir: true,
    mapSize: MAP_BYTES,
    maxReaders: READERS_MAX,
    encoding: 'binary',
    overlappingSync: false,
    permissionsMode: FILE_MODE,
  }
  return open(options as Parameters<typeof open>[0])
}

/** LMDB lists its readers as text: a head, and a line for each that begins with its process id. Opening a file forgets those that died. */
function isRead(db: RootDatabase): boolean {
  return /^\s*\d+ /m.test(db.readerList())
}

function tableOf(directory: string): number | null {
  return statSync(join(directory, LOCK_TABLE), { throwIfNoEntry: false })?.ino ?? null
}

/**
 * The lock of a data directory: the kernel holds it for its process and releases it when that process ends, however it
 * ends.
 *
 * Node has no file locks, but LMDB has. A process that reads an LMDB file has an entry in its table of readers and,
 * while it lives, a lock on a byte of the table's file. The owner of a directory is the only reader of `owner.mdb`, a
 * file of its own without content. It becomes the reader inside a write transaction, which LMDB runs one at a time over
 * all processes, and only if there is no other reader.
 *
 * So the lock does not depend on process ids, sockets, file times or a temporary folder, and it works between
 * containers that share a volume (docs/decisions/0014-who-owns-a-directory.md).
 *
 * Invariant: a process opens `owner.mdb` only once, because POSIX releases all locks of a process on a file when the
 * process closes any descriptor of it.
 */

import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { open, type RootDatabase, type Transaction } from 'lmdb'
import { realTimeout } from '../../../base/timers.ts'
import { FILE_MODE, protect } from './file-modes.ts'

export const LOCK_FILE = 'owner.mdb'
const LOCK_TABLE = `${LOCK_FILE}-lock`
/** LMDB needs a size: the file has two pages. */
const MAP_BYTES = 1024 * 1024
const READERS_MAX = 30
/** A process that only queries the lock, or was just killed, can hold it for a moment. */
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

  /** The lock, or null while another process has it. @throws errors of the system */
  static async take(directory: string): Promise<KernelLock | null> {
    for (let tries = 1; ; tries++) {
      const lock = await KernelLock.#try(directory)
      if (lock !== null || tries === TRIES) return lock
      await new Promise((resolve) => realTimeout(resolve, TRY_AGAIN_MS * (1 + Math.random())))
    }
  }

  static async #try(directory: string): Promise<KernelLock | null> {
    const db = openFile(directory)
    // Only one process at a time runs this, so two processes cannot both find no reader.
    const reader = db.transactionSync(() => (isRead(db) ? null : db.useReadTransaction()))
    if (reader === null) {
      await db.close()
      return null
    }
    for (const name of [LOCK_FILE, LOCK_TABLE]) protect(join(directory, name))
    return new KernelLock(directory, db, reader)
  }

  /** Whether a process has the lock. The owner itself must not call this. */
  static async isHeld(directory: string): Promise<boolean> {
    if (!existsSync(join(directory, LOCK_TABLE))) return false
    const db = openFile(directory)
    try {
      return isRead(db)
    } finally {
      await db.close()
    }
  }

  /** Whether the lock's file exists, so the directory has had an owner with a lock. */
  static exists(directory: string): boolean {
    return tableOf(directory) !== null
  }

  /** Whether this is still the lock that others check: its file may have been deleted. */
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

/**
 * LMDB lists its readers as text: a head, then one line for each reader, which begins with its process id. Opening the
 * file removes readers that died.
 */
function isRead(db: RootDatabase): boolean {
  return /^\s*\d+ /m.test(db.readerList())
}

function tableOf(directory: string): number | null {
  return statSync(join(directory, LOCK_TABLE), { throwIfNoEntry: false })?.ino ?? null
}

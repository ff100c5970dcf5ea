/**
 * Ensures that a data directory has one owner, and lets other processes reach it.
 *
 * - The kernel's lock (`kernel-lock.ts`) decides which process is the owner.
 * - The socket (`owner-socket.ts`) is how other processes attach. The owner starts each connection with a line of JSON
 *   that names it; the rest is the wire protocol (docs/protocol.md). A connection that arrives while the owner still
 *   opens its data waits. If the socket is removed, the owner creates it again.
 * - The record (`owner.json`) names the owner when the socket cannot be reached. It is also the owner's proof that it
 *   still owns the directory: it checks the record before it writes and before it acknowledges. If the record is
 *   another process's, or the directory was deleted, renamed or replaced, ownership has ended, and nothing more is
 *   stored or acknowledged.
 *
 * Invariants:
 * - A process that cannot reach a living owner is refused, and never takes over.
 * - A lock taken after its file had been deleted counts only if no owner answers.
 */

import { existsSync, realpathSync, type Stats, statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { MillraceError } from '../../../base/errors.ts'
import { realInterval, realNowMs, realTimeout } from '../../../base/timers.ts'
import { FORMAT_FILE } from './directory-format.ts'
import { makePrivateDirectory } from './file-modes.ts'
import { isFull, isOutOfFiles } from './file-system.ts'
import { KernelLock } from './kernel-lock.ts'
import {
  isOfThisProcess,
  type OwnerInfo,
  type OwnerRecord,
  readRecord,
  thisProcess,
  WrittenRecord,
} from './owner-record.ts'
import { askOwner, type OwnerAnswer, OwnerSocket, ownerSockets, removeDeadSockets } from './owner-socket.ts'

export interface DirectoryClaim {
  readonly info: OwnerInfo
  /** Give the waiting connections and all later ones to `take`. */
  serve(take: (socket: Socket) => void): void
  /**
   * Must be called before a write and before its acknowledgement. @throws STORE_FAILED when this process no longer owns
   * the directory
   */
  check(): void
  /** Release the directory. The caller has ended the connections before. */
  release(): Promise<void>
}

/** A check of ownership is valid for this time. */
const CHECK_MS = 5
/** How often the owner checks its socket and its lock. */
const WATCH_MS = 250
/** Within this time an owner whose lock and socket were both removed has created its socket again. */
const BACK_MS = 3 * WATCH_MS
/** An owner that holds the lock but does not listen for this long is unreachable. */
const UNREACHABLE_MS = 2000
const LOOK_AGAIN_MS = 50

/** Directories that this process owns, by device and inode. All copies of the package in the process share the map. */
const OWNED = ownedDirectories()

function ownedDirectories(): Map<string, OwnerInfo> {
  const shared = globalThis as { [key: symbol]: Map<string, OwnerInfo> | undefined }
  const name = Symbol.for('millrace.ownedDirectories')
  const found = shared[name] ?? new Map<string, OwnerInfo>()
  shared[name] = found
  return found
}

/**
 * Become the owner of a directory, which is created if it does not exist.
 * @throws DIRECTORY_IN_USE naming the owner, and since when; and errors of the system
 */
export async function claimDirectory(path: string): Promise<DirectoryClaim> {
  makePrivateDirectory(path)
  const directory = realpathSync(path)
  const name = nameOf(statSync(directory))
  const mine = OWNED.get(name)
  if (mine !== undefined) throw inUse(directory, mine, 'here')
  const process = thisProcess()
  OWNED.set(name, process)
  try {
    const claim = new Claim(directory, process, await lockOf(directory), () => OWNED.delete(name))
    await claim.begin()
    return claim
  } catch (error) {
    OWNED.delete(name)
    throw error
  }
}

async function lockOf(directory: string): Promise<KernelLock> {
  const record = readRecord(directory)
  await refuseAnswered(directory)
  // The record names this process, so another thread may have the lock. Wait for its socket to appear; opening the
  // lock's file twice would release the lock.
  if (record !== null && isOfThisProcess(record)) await refuseLater(directory)
  // The lock's file was deleted, or the data are from an earlier version without a lock file.
  const deleted = !KernelLock.exists(directory) && existsSync(join(directory, FORMAT_FILE))
  const lock = await takeLock(directory)
  try {
    if (deleted) await refuseLater(directory)
    return lock
  } catch (error) {
    await lock.release()
    throw error
  }
}

/**
 * Take the directory's lock.
 * A new owner holds the lock for a moment before it has written its record and made its socket, and an ending one after
 * it has removed both. So a holder counts as unreachable only after `UNREACHABLE_MS`.
 */
async function takeLock(directory: string): Promise<KernelLock> {
  for (const begunMs = realNowMs(); ; ) {
    const lock = await KernelLock.take(directory)
    if (lock !== null) return lock
    const waitedMs = realNowMs() - begunMs
    await refuseAnswered(directory)
    if (waitedMs >= UNREACHABLE_MS) throw inUse(directory, readRecord(directory), 'unreachable')
    await new Promise((resolve) => realTimeout(resolve, LOOK_AGAIN_MS))
  }
}

async function refuseLater(directory: string): Promise<void> {
  await new Promise((resolve) => realTimeout(resolve, BACK_MS))
  await refuseAnswered(directory)
}

async function refuseAnswered(directory: string): Promise<void> {
  for (const path of ownerSockets(directory)) {
    const answer = await askOwner(path)
    if (answer === 'nobody') continue
    if (typeof answer !== 'string') throw inUse(directory, answer, 'answers')
    throw inUse(directory, readRecord(directory), answer)
  }
}

/** Whether a living process owns the directory. */
export async function isOwned(path: string): Promise<boolean> {
  const directory = realpathSync(path)
  if (OWNED.has(nameOf(statSync(directory)))) return true
  for (const socket of ownerSockets(directory)) if ((await askOwner(socket)) !== 'nobody') return true
  const record = readRecord(directory)
  if (record !== null && isOfThisProcess(record)) return false
  try {
    return await KernelLock.isHeld(directory)
  } catch {
    // The file system is read-only, or the directory is another user's: the lock cannot be queried.
    return false
  }
}

/** The path at which the directory's owner listens, if there is an owner; null if it does not listen. */
export function ownerSocket(path: string): string | null {
  if (!existsSync(path)) return null
  const directory = realpathSync(path)
  return ownerSockets(directory)[0] ?? null
}

/** How another owner of the directory was noticed. */
type Met = Exclude<OwnerAnswer, OwnerInfo | 'nobody'> | 'answers' | 'here' | 'unreachable'

function inUse(directory: string, owner: OwnerInfo | null, met: Met): MillraceError {
  const who = owner === null ? 'a process' : `process ${owner.pid} on ${owner.host}, since ${owner.since}`
  const more = {
    answers: '',
    here: '',
    silent: ', which does not answer (it is stopped, or very busy)',
    forbidden:
      ', which runs as another user: this user may not connect to its socket. Run both as one user, or let the group of the directory write to it',
    unreachable: ', which cannot be reached: its socket is missing, or belongs to another machine',
  }[met]
  const facts = owner === null ? {} : { pid: owner.pid, host: owner.host, since: owner.since }
  return new MillraceError(
    'DIRECTORY_IN_USE',
    `${directory} is in use by ${who}${more}: close it there first, or use another directory`,
    {
      directory,
      met,
      ...facts,
    },
  )
}

function nameOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`
}

/** Greets each connection. Connections that arrive before `serve` is called wait. */
class Reception {
  readonly #greeting: string
  #take: ((socket: Socket) => void) | null = null
  readonly #waiting = new Set<Socket>()

  constructor({ pid, host, since }: OwnerInfo) {
    this.#greeting = `${JSON.stringify({ pid, host, since })}\n`
  }

  greet(socket: Socket): void {
    const ignore = (): void => undefined
    socket.on('error', ignore)
    // An attached client does not keep the owner's process alive.
    socket.unref()
    socket.write(this.#greeting)
    if (this.#take !== null) this.#take(socket)
    else {
      this.#waiting.add(socket)
      socket.once('close', () => this.#waiting.delete(socket))
    }
  }

  serve(take: (socket: Socket) => void): void {
    this.#take = take
    for (const socket of this.#waiting) take(socket)
    this.#waiting.clear()
  }

  close(): void {
    this.#take = (socket) => socket.destroy()
    for (const socket of this.#waiting) socket.destroy()
  }
}

class Claim implements DirectoryClaim {
  readonly info: OwnerInfo
  readonly #directory: string
  readonly #inode: string
  readonly #process: Omit<OwnerRecord, 'inode' | 'socket'>
  readonly #reception: Reception
  readonly #released: () => void
  #lock: KernelLock | null
  #socket: OwnerSocket | null = null
  #record: WrittenRecord | null = null
  #checkedMs = Number.NEGATIVE_INFINITY
  #lost: MillraceError | null = null
  #timer: NodeJS.Timeout | null = null
  #tending: Promise<void> | null = null
  #closed = false

  constructor(
    directory: string,
    process: Omit<OwnerRecord, 'inode' | 'socket'>,
    lock: KernelLock,
    released: () => void,
  ) {
    this.#directory = directory
    this.#inode = nameOf(statSync(directory))
    this.#process = process
    this.info = process
    this.#reception = new Reception(process)
    this.#lock = lock
    this.#released = released
  }

  /** Start to listen, and check the socket and the lock at intervals. */
  async begin(): Promise<void> {
    try {
      await this.#listen()
      this.#timer = realInterval(() => {
        this.#tending ??= this.#tend().finally(() => {
          this.#tending = null
        })
      }, WATCH_MS).unref()
    } catch (error) {
      await this.release()
      throw error
    }
  }

  serve(take: (socket: Socket) => void): void {
    this.#reception.serve(take)
  }

  check(): void {
    if (this.#lost !== null) throw this.#lost
    const now = realNowMs()
    if (now - this.#checkedMs < CHECK_MS) return
    this.#lost = this.#look()
    if (this.#lost !== null) throw this.#lost
    this.#checkedMs = now
  }

  /** The reason why the ownership has ended, or null. */
  #look(): MillraceError | null {
    try {
      const state = this.#record?.state
      if (state === 'this') return null
      const found = statSync(this.#directory, { throwIfNoEntry: false })
      if (found === undefined || nameOf(found) !== this.#inode)
        return this.#failed('it was deleted, renamed or replaced while it was open')
      const other = readRecord(this.#directory)
      if (state === 'other' || other !== null)
        return this.#failed(`process ${other?.pid ?? 'unknown'} on ${other?.host ?? 'another machine'} has taken it`)
      // Only the record was removed. Nobody has taken the directory, because a new owner needs the lock and writes its
      // own record.
      if (this.#lock?.stands !== true) return this.#failed("its owner's lock and record were deleted while it was open")
      this.#writeRecord()
      return null
    } catch (error) {
      // The lock is still held, so the record can be written at the next check.
      if (isFull(error) || isOutOfFiles(error)) return null
      return this.#failed(`it cannot be examined (${(error as Error).message})`)
    }
  }

  #failed(why: string): MillraceError {
    return new MillraceError(
      'STORE_FAILED',
      `${this.#directory} is no longer owned by this process: ${why}. Nothing more is accepted here, and events that were not acknowledged may be lost. Connect again`,
      { directory: this.#directory },
    )
  }

  /** Create again what a cleaner removed. */
  async #tend(): Promise<void> {
    try {
      this.check()
      if (this.#lock?.stands !== true) await this.#lockAgain()
      if (this.#socket?.stands !== true && !this.#closed) await this.#listen()
    } catch {
      // Either the directory is lost, and the next commit reports it; or the system has no descriptors now, and the
      // next check tries again.
    }
  }

  /**
   * The lock's file was deleted, so another process would lock a new file. A process that has done so finds this
   * owner's socket and releases its lock.
   */
  async #lockAgain(): Promise<void> {
    const before = this.#lock
    this.#lock = null
    await before?.release()
    this.#lock = await KernelLock.take(this.#directory)
  }

  async #listen(): Promise<void> {
    const before = this.#socket
    const dead = ownerSockets(this.#directory)
    this.#socket = await OwnerSocket.listen(this.#directory, (socket) => this.#reception.greet(socket))
    this.#writeRecord()
    removeDeadSockets(this.#directory, dead, this.#socket)
    // The old server continues until its connections have ended; nothing waits for that.
    void before?.close()
  }

  #writeRecord(): void {
    const before = this.#record
    const { ino } = statSync(this.#directory)
    const { pid, host, since, begun } = this.#process
    this.#record = new WrittenRecord(this.#directory, {
      pid,
      host,
      since,
      begun,
      inode: ino,
      socket: this.#socket?.name ?? null,
    })
    before?.close()
  }

  async release(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#tending
    this.#reception.close()
    await this.#socket?.close()
    this.#record?.remove()
    await this.#lock?.release()
    this.#released()
  }
}

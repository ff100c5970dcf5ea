/**
 * One owner of a data directory, and how others reach it.
 *
 * - The kernel's lock (`kernel-lock.ts`) says who owns it.
 * - The socket (`owner-socket.ts`) is how other processes attach: the owner begins each connection with a line of JSON, who it is; what follows is theirs
 *   (docs/protocol.md). Who connects while the owner is still opening its data waits. The owner puts a socket that was removed back.
 * - The record (`owner.json`) says who it is where the socket cannot be reached, and is the owner's proof that it still is: it looks before it writes and before
 *   it acknowledges. A record of another process, or a directory that was deleted, renamed or replaced, ends its ownership: it stores and acknowledges nothing more.
 *
 * Invariants: who cannot reach a living owner is refused and never takes over. A lock that was taken where its file had been deleted counts only when nobody answers.
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
import { type Answer, askOwner, OwnerSocket, ownerSockets, removeDeadSockets } from './owner-socket.ts'

export interface DirectoryClaim {
  readonly info: OwnerInfo
  /** Give connections, those that wait and those to come, to whom they are for. */
  serve(take: (socket: Socket) => void): void
  /** To be called before anything is written, and before it is acknowledged. @throws STORE_FAILED when the directory is no longer this process's */
  check(): void
  /** Connections are to be ended before. */
  release(): Promise<void>
}

/** Ownership that was looked at so shortly before is taken as it was. */
const CHECK_MS = 5
/** How often the owner looks after its socket and its lock. */
const WATCH_MS = 250
/** An owner whose lock and socket were both removed has put its socket back by then. */
const BACK_MS = 3 * WATCH_MS
/** An owner that holds the lock and does not listen for so long cannot be reached. */
const UNREACHABLE_MS = 2000
const LOOK_AGAIN_MS = 50

/** Directories that this process owns, by device and inode, over all copies of the package in it. */
const OWNED = ownedDirectories()

function ownedDirectories(): Map<string, OwnerInfo> {
  const shared = globalThis as { [key: symbol]: Map<string, OwnerInfo> | undefined }
  const name = Symbol.for('millrace.ownedDirectories')
  const found = shared[name] ?? new Map<string, OwnerInfo>()
  shared[name] = found
  return found
}

/**
 * Own a directory, which is made if it is not there.
 * @throws DIRECTORY_IN_USE saying who holds it, and since when; and errors of the system
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
  // Another thread of this process has the lock, if its socket is back soon: the file must not be opened twice.
  if (record !== null && isOfThisProcess(record)) await refuseLater(directory)
  // Its file was deleted, with or without the record; or an earlier version, which had none, made the data.
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
 * The directory's lock. Who has it has not yet written its record and made its socket, or has removed both and is about to let go,
 * for a moment each: only who stays away for longer is unreachable.
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

/** Whether a living process holds the directory. */
export async function isOwned(path: string): Promise<boolean> {
  const directory = realpathSync(path)
  if (OWNED.has(nameOf(statSync(directory)))) return true
  for (const socket of ownerSockets(directory)) if ((await askOwner(socket)) !== 'nobody') return true
  const record = readRecord(directory)
  if (record !== null && isOfThisProcess(record)) return false
  try {
    return await KernelLock.isHeld(directory)
  } catch {
    // A file system that can only be read, or another user's directory: nobody can be asked.
    return false
  }
}

/** Where the directory's owner listens, if it lives; null where it listens nowhere. */
export function ownerSocket(path: string): string | null {
  if (!existsSync(path)) return null
  const directory = realpathSync(path)
  return ownerSockets(directory)[0] ?? null
}

/** How the owner of a directory was met. */
type Met = Exclude<Answer, OwnerInfo | 'nobody'> | 'answers' | 'here' | 'unreachable'

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

/** Connections, each greeted; those that come before they are served wait. */
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
    // Who is attached does not keep the owner's process alive.
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

  /** Say so to others, and look after it. */
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

  /** What has ended the ownership, if anything has. */
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
      // The record alone was removed. Who takes a directory puts its own there, and for that it needs the lock.
      if (this.#lock?.stands !== true) return this.#failed("its owner's lock and record were deleted while it was open")
      this.#writeRecord()
      return null
    } catch (error) {
      // The lock stands: the record is written at the next look.
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

  /** Put back what a cleaner removed. */
  async #tend(): Promise<void> {
    try {
      this.check()
      if (this.#lock?.stands !== true) await this.#lockAgain()
      if (this.#socket?.stands !== true && !this.#closed) await this.#listen()
    } catch {
      // It is lost, which the next commit says; or the system has no descriptors for now: it is tried again.
    }
  }

  /** The lock's file was deleted: others would lock another. Who has locked that meanwhile sees this owner's socket, and lets go. */
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
    // Its connections go on: `close` waits for them, and is not waited for.
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

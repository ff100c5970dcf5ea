/**
 * The socket of a directory's owner: `owner.1.sock` in the directory. If no socket can be made there (network or
 * user-space file systems), it is in a temporary folder of the system, which `owner.json` names. On Windows it is a
 * pipe.
 *
 * A path may be too long for a socket's address. On Linux the folder is addressed by its descriptor, so neither the
 * path's length nor TMPDIR matters.
 *
 * A socket is bound in a folder that nobody else may enter, gets its mode, and is then renamed. So a socket that is
 * found at its path is already listening.
 */

import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { clearRealTimeout, realTimeout } from '../../../base/timers.ts'
import { fileModeIn } from './file-modes.ts'
import { isFull } from './file-system.ts'
import { type OwnerInfo, readRecord } from './owner-record.ts'

const SOCKET_NAME = 'owner.1.sock'
/** Earlier versions had other numbers, and one of them may have the directory open. */
const SOCKET = /^owner\.\d+\.sock$/
/** The longest path of a socket that works on every system. */
const SOCKET_PATH_MAX = 100
const TEMPORARY = 'millrace-owner-'
/** A folder in which a socket is bound before it is renamed. */
const BEING_MADE = /^owner\.\w{6}$/
const ANSWER_MS = 1000
const TRIES = 5
const ASK_AGAIN_MS = 20
/** The system's errors when a file system has no sockets, or a path is too long for one. */
const NO_SOCKETS: ReadonlySet<string | undefined> = new Set([
  'ENOSYS',
  'EPERM',
  'EOPNOTSUPP',
  'ENOTSUP',
  'EINVAL',
  'ENAMETOOLONG',
  'EACCES',
])

/**
 * What was found at a socket: an owner; `silent`: no answer in time; `forbidden`: this user may not connect; or
 * `nobody`.
 */
export type OwnerAnswer = OwnerInfo | 'silent' | 'forbidden' | 'nobody'

/** Paths at which an owner of the directory may listen: from its record, and the sockets in the directory. */
export function ownerSockets(directory: string): string[] {
  const said = readRecord(directory)?.socket ?? null
  const found = process.platform === 'win32' ? [] : readdirSync(directory).filter((name) => SOCKET.test(name))
  return [...new Set([...(said === null ? [] : [said]), ...found])].map((name) =>
    isAbsolute(name) ? name : join(directory, name),
  )
}

/** Call `use` with an address of the socket that is not too long. */
export async function withAddress<Result>(path: string, use: (address: string) => Promise<Result>): Promise<Result> {
  if (path.length <= SOCKET_PATH_MAX || process.platform !== 'linux') return use(path)
  const folder = openSync(dirname(path), 'r')
  try {
    return await use(`/proc/self/fd/${folder}/${basename(path)}`)
  } finally {
    closeSync(folder)
  }
}

/**
 * Find out which owner listens at a path. If it ends during the question, the path is asked again: then no process
 * listens, or the next owner does.
 */
export async function askOwner(path: string): Promise<OwnerAnswer> {
  for (let tries = 1; ; tries++) {
    const answer = await askOnce(path)
    if (answer !== 'ended') return answer
    if (tries === TRIES) return 'silent'
    await new Promise((resolve) => realTimeout(resolve, ASK_AGAIN_MS))
  }
}

async function askOnce(path: string): Promise<OwnerAnswer | 'ended'> {
  try {
    return await withAddress(path, ask)
  } catch (error) {
    // The temporary folder was removed, or is not this user's.
    return answerOf(error as NodeJS.ErrnoException)
  }
}

function answerOf({ code }: NodeJS.ErrnoException): OwnerAnswer | 'ended' {
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'ended'
  if (code === 'EACCES' || code === 'EPERM') return 'forbidden'
  return code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'ENOTSOCK' || code === 'ENOTDIR' ? 'nobody' : 'silent'
}

function ask(address: string): Promise<OwnerAnswer | 'ended'> {
  return new Promise((resolve) => {
    let text = ''
    const socket = createConnection(address)
    const end = (answer: OwnerAnswer | 'ended'): void => {
      clearRealTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = realTimeout(() => end('silent'), ANSWER_MS)
    socket.on('error', (error: NodeJS.ErrnoException) => end(answerOf(error)))
    const read = (): void => {
      try {
        end(JSON.parse(text) as OwnerInfo)
      } catch {
        end('silent')
      }
    }
    socket.on('data', (chunk) => {
      text += chunk.toString()
      if (text.includes('\n')) read()
    })
    socket.on('end', () => end('ended'))
  })
}

/** A listening socket of an owner, at its final path. */
export class OwnerSocket {
  /** As in the record: a name in the directory, or a path. */
  readonly name: string
  readonly path: string
  readonly #server: Server
  readonly #inode: number

  private constructor(name: string, path: string, server: Server) {
    this.name = name
    this.path = path
    this.#server = server
    this.#inode = inodeOf(path)
  }

  /**
   * Listen in the directory, or, if it supports no sockets, in a temporary folder; null if neither is possible. @throws
   * other errors of the system
   */
  static async listen(directory: string, greet: (socket: Socket) => void): Promise<OwnerSocket | null> {
    if (process.platform === 'win32') {
      const pipe = `\\\\.\\pipe\\millrace-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`
      return new OwnerSocket(pipe, pipe, await serverOn(pipe, greet))
    }
    for (const made of [OwnerSocket.#inDirectory, OwnerSocket.#elsewhere]) {
      try {
        return await made(directory, greet)
      } catch (error) {
        if (!NO_SOCKETS.has((error as NodeJS.ErrnoException).code) && !isFull(error)) throw error
      }
    }
    return null
  }

  static async #elsewhere(_directory: string, greet: (socket: Socket) => void): Promise<OwnerSocket> {
    const path = join(mkdtempSync(join(tmpdir(), TEMPORARY)), SOCKET_NAME)
    return new OwnerSocket(path, path, await serverOn(path, greet))
  }

  static async #inDirectory(directory: string, greet: (socket: Socket) => void): Promise<OwnerSocket> {
    const folder = mkdtempSync(join(directory, 'owner.'))
    const made = join(folder, 's')
    const path = join(directory, SOCKET_NAME)
    let server: Server | null = null
    try {
      server = await withAddress(made, (address) => serverOn(address, greet))
      chmodSync(made, fileModeIn(directory))
      renameSync(made, path)
      return new OwnerSocket(SOCKET_NAME, path, server)
    } catch (error) {
      server?.close()
      rmSync(made, { force: true })
      throw error
    } finally {
      rmdirSync(folder)
    }
  }

  /** Whether the socket is still at its path. Cleaners remove sockets, because they look unused. */
  get stands(): boolean {
    return process.platform === 'win32' || inodeOf(this.path) === this.#inode
  }

  /** Stop listening. The caller has ended the connections before. */
  async close(): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve))
    if (process.platform === 'win32' || !this.stands) return
    rmSync(this.path, { force: true })
    if (isAbsolute(this.name)) rmSync(dirname(this.path), { recursive: true, force: true })
  }
}

/** Remove what earlier owners left: sockets on which nobody listens, and folders in which one was being made. */
export function removeDeadSockets(directory: string, dead: readonly string[], living: OwnerSocket | null): void {
  for (const path of dead) {
    const inDirectory = dirname(path) === directory
    if (living !== null && path === living.path) continue
    if (statSync(path, { throwIfNoEntry: false })?.isSocket() === true) rmSync(path, { force: true })
    if (!inDirectory && basename(dirname(path)).startsWith(TEMPORARY)) removeFolder(dirname(path))
  }
  for (const name of readdirSync(directory)) if (BEING_MADE.test(name)) removeFolder(join(directory, name))
}

function removeFolder(path: string): void {
  try {
    rmSync(join(path, 's'), { force: true })
    rmdirSync(path)
  } catch {
    // It is another user's, or in use, and stays.
  }
}

function inodeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? 0
}

function serverOn(address: string, greet: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(greet)
    server.once('error', reject)
    // Not shared with the other workers of a cluster: the primary would continue to listen for a worker that died.
    server.listen({ path: address, exclusive: true }, () => {
      server.off('error', reject)
      server.on('error', () => undefined)
      // Listening alone does not keep the process alive.
      server.unref()
      resolve(server)
    })
  })
}

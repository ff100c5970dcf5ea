/**
 * One owner of a data directory, told apart by a listening socket: it is there exactly as long as its process lives, whatever
 * killed it, so nothing is guessed from process ids or ages of lock files.
 *
 * Sockets are numbered, `owner.1.sock`, `owner.2.sock` …: who finds the highest one dead binds the next, which succeeds for one only, looks again whether it
 * is the highest, and then removes those below. A socket is never taken over, so two claimers cannot remove each other's.
 * The owner begins every connection with a line of JSON: who it is. Other processes attach to it here: what follows the line is theirs and the owner's
 * (docs/protocol.md). Who connects while the owner is still opening its data waits.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { MillraceError } from '../../../base/errors.ts'

export interface OwnerInfo {
  readonly pid: number
  readonly host: string
  /** When it took the directory, RFC 3339. */
  readonly since: string
}

export interface DirectoryClaim {
  readonly info: OwnerInfo
  /** Give connections, those that wait and those to come, to whom they are for. */
  serve(take: (socket: Socket) => void): void
  /** Connections are to be ended before. */
  release(): Promise<void>
}

const SOCKET = /^owner\.(\d+)\.sock$/
/** Longest path that a socket can have on every system. */
const SOCKET_PATH_MAX = 100
const ANSWER_MS = 1000
/** Between binding and listening a socket refuses for a moment: look again before it is held to be dead. */
const LOOKS = 3
const LOOK_AGAIN_MS = 30

/** @throws DIRECTORY_IN_USE saying who holds it, and since when */
export async function claimDirectory(directory: string): Promise<DirectoryClaim> {
  mkdirSync(directory, { recursive: true })
  const sockets = socketFolder(realpathSync(directory))
  mkdirSync(sockets.folder, { recursive: true })
  const info: OwnerInfo = { pid: process.pid, host: hostname(), since: new Date().toISOString() }
  for (;;) {
    const highest = Math.max(0, ...generations(sockets))
    if (highest > 0) await refuseIfAlive(directory, sockets.path(highest))
    const mine = highest + 1
    const reception = new Reception(info)
    const server = await listen(sockets.path(mine), reception)
    if (server === null) continue
    if (Math.max(...generations(sockets)) > mine) {
      await close(server, sockets.path(mine), reception)
      continue
    }
    for (const generation of generations(sockets)) if (generation < mine) rmSync(sockets.path(generation), { force: true })
    return { info, serve: (take) => reception.serve(take), release: () => close(server, sockets.path(mine), reception) }
  }
}

/** Whether a living process holds the directory. */
export async function isOwned(directory: string): Promise<boolean> {
  const path = ownerSocket(directory)
  return path !== null && (await ask(path)) !== 'dead'
}

/** Where the directory's owner listens, if it lives; null where there never was one, or it let go. */
export function ownerSocket(directory: string): string | null {
  if (!existsSync(directory)) return null
  const sockets = socketFolder(realpathSync(directory))
  const highest = Math.max(0, ...(existsSync(sockets.folder) ? generations(sockets) : []))
  return highest === 0 ? null : sockets.path(highest)
}

/** Connections, each greeted; those that come before they are served wait. */
class Reception {
  readonly #greeting: string
  #take: ((socket: Socket) => void) | null = null
  readonly #waiting = new Set<Socket>()

  constructor(info: OwnerInfo) {
    this.#greeting = `${JSON.stringify(info)}\n`
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

interface Sockets {
  readonly folder: string
  path(generation: number): string
}

/** In the directory; where its path is too long for a socket, in a folder of the system's that is named after it. */
function socketFolder(directory: string): Sockets {
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 16)
  const folder = join(directory, 'owner.99999999.sock').length <= SOCKET_PATH_MAX ? directory : join(tmpdir(), `millrace-${name}`)
  const inFolder = (generation: number): string => join(folder, `owner.${generation}.sock`)
  return process.platform === 'win32' ? { folder: directory, path: () => `\\\\.\\pipe\\millrace-${name}` } : { folder, path: inFolder }
}

function generations({ folder }: Sockets): number[] {
  return readdirSync(folder).flatMap((name) => {
    const generation = SOCKET.exec(name)?.[1]
    return generation === undefined ? [] : [Number(generation)]
  })
}

async function refuseIfAlive(directory: string, path: string): Promise<void> {
  for (let look = 1; ; look++) {
    const owner = await ask(path)
    if (owner !== 'dead') throw inUse(directory, owner)
    if (look === LOOKS) return
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS))
  }
}

function inUse(directory: string, owner: OwnerInfo | 'silent'): MillraceError {
  const who = owner === 'silent' ? 'a process that does not answer (stopped, or very busy)' : `process ${owner.pid} on ${owner.host}, since ${owner.since}`
  return new MillraceError('DIRECTORY_IN_USE', `${directory} is held by ${who}: close it there first, or use another directory`, {
    directory,
    ...(owner !== 'silent' && owner),
  })
}

/** Who listens on a socket: an owner, one that does not answer in time, or nobody. */
function ask(path: string): Promise<OwnerInfo | 'silent' | 'dead'> {
  return new Promise((resolve) => {
    let text = ''
    const socket = createConnection(path)
    const end = (answer: OwnerInfo | 'silent' | 'dead'): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(ANSWER_MS, () => end('silent'))
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code === 'EAGAIN' || error.code === 'EBUSY' ? 'silent' : 'dead'))
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
    socket.on('end', read)
  })
}

/** A server on the path, or null when somebody else has just taken it. */
function listen(path: string, reception: Reception): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => reception.greet(socket))
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(null) : reject(error)))
    server.listen(path, () => {
      // The claim alone does not keep the process alive.
      server.unref()
      resolve(server)
    })
  })
}

function close(server: Server, path: string, reception: Reception): Promise<void> {
  return new Promise((resolve) => {
    reception.close()
    server.close(() => {
      rmSync(path, { force: true })
      resolve()
    })
  })
}

/**
 * A real server as a child process: on a free loopback port, with its own folder, ending with this process.
 *
 * It can be stopped cleanly, killed, paused (SIGSTOP) and started again on the same port with the same folder, as tests
 * of faults need it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Missing } from './programs.ts'

const STOP_MS = 20_000

/** How a kind of server is started. */
export interface ServerKind {
  readonly name: string
  /** The time in milliseconds within which it must accept connections. */
  readonly readyMs: number
  readonly program: string
  /** Prepares the folder before the first start, and returns the arguments. */
  prepare(folder: string, port: number): Promise<readonly string[]>
  /** The URL for `connect`. */
  url(port: number): string
  /** The user that the server runs as, and that owns its folder. @default the user of this process */
  readonly user?: ServerUser
  /** The signal that stops it cleanly. @default 'SIGTERM' */
  readonly stopSignal?: NodeJS.Signals
  /** The signal that ends it at once, when its data are not needed any more. @default the one that stops it cleanly */
  readonly discardSignal?: NodeJS.Signals
  /** Whether it works in child processes, which end with it, but do not pause with it. @default false */
  readonly hasChildren?: boolean
  /** Whether it serves clients. @default when it accepts connections */
  isReady?(port: number): boolean
}

export interface ServerUser {
  readonly uid?: number
  readonly gid?: number
}

/** A user of the system for servers that refuse to run as root. Without root, it is the user of this process. */
export function serverUser(name: string): ServerUser {
  if (process.getuid?.() !== 0) return {}
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${name}:`))
  if (line === undefined)
    throw new Missing(`there is no user ${name} to run the server as: start this as another user than root`)
  const [, , uid, gid] = line.split(':')
  return { uid: Number(uid), gid: Number(gid) }
}

export class Server {
  readonly url: string
  readonly port: number
  readonly folder: string
  readonly #kind: ServerKind
  readonly #args: readonly string[]
  #child: ChildProcess | null = null
  #ended: Promise<void> = Promise.resolve()
  #said = ''

  private constructor(kind: ServerKind, folder: string, port: number, args: readonly string[]) {
    this.#kind = kind
    this.#args = args
    this.folder = folder
    this.port = port
    this.url = kind.url(port)
    process.once('exit', this.#atExit)
  }

  /** Start a server with its own folder, which is removed with it. */
  static async start(kind: ServerKind): Promise<Server> {
    const folder = mkdtempSync(join(tmpdir(), `millrace-${kind.name}-`))
    if (kind.user?.uid !== undefined) chownSync(folder, kind.user.uid, kind.user.gid ?? kind.user.uid)
    const port = await freePort()
    const server = new Server(kind, folder, port, await kind.prepare(folder, port))
    await server.start()
    return server
  }

  readonly #atExit = (): void => {
    const children = this.#children()
    this.#child?.kill('SIGKILL')
    // A child that is paused does not see that its server has ended.
    signal(children, 'SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Start it (again), and wait until it accepts connections. */
  async start(): Promise<void> {
    const { program, user } = this.#kind
    const child = spawn(program, this.#args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: this.folder, ...user })
    this.#child = child
    this.#said = ''
    for (const output of [child.stdout, child.stderr]) {
      output?.on('data', (chunk: Buffer) => {
        this.#said = (this.#said + chunk.toString()).slice(-4000)
      })
    }
    child.once('error', (error) => {
      this.#said += error.message
    })
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()))
    const end = performance.now() + this.#kind.readyMs
    while (performance.now() < end && child.exitCode === null && child.pid !== undefined) {
      if (this.#kind.isReady?.(this.port) ?? (await listening(this.port))) return
      await sleep(20)
    }
    child.kill('SIGKILL')
    throw new Error(`${this.#kind.name} did not start: ${this.#said}`)
  }

  /** Kill it (SIGKILL). Its data on disk stay for the next `start`. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#ended
  }

  /** Make it hang: its connections stay open and nothing answers. */
  pause(): void {
    this.#child?.kill('SIGSTOP')
    signal(this.#children(), 'SIGSTOP')
  }

  resume(): void {
    signal(this.#children(), 'SIGCONT')
    this.#child?.kill('SIGCONT')
  }

  /** The process ids of the server's children. */
  #children(): readonly number[] {
    const parent = this.#child?.pid
    return this.#kind.hasChildren === true && parent !== undefined ? childrenOf(parent) : []
  }

  /** End it cleanly. Its folder stays. */
  async halt(): Promise<void> {
    await this.#end(this.#kind.stopSignal ?? 'SIGTERM')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.resume()
    this.#child?.kill(signal)
    const force = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_MS)
    await this.#ended
    clearTimeout(force)
  }

  /** End it, and remove its folder. */
  async stop(): Promise<void> {
    await this.#end(this.#kind.discardSignal ?? this.#kind.stopSignal ?? 'SIGTERM')
    process.removeListener('exit', this.#atExit)
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function childrenOf(parent: number): number[] {
  const found: number[] = []
  if (!existsSync('/proc')) return found
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      // The name of the program, in parentheses, may hold anything.
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')
      if (Number(fields[1]) === parent) found.push(Number(name))
    } catch {
      // The process has ended.
    }
  }
  return found
}

function signal(processes: readonly number[], name: NodeJS.Signals): void {
  for (const each of processes) {
    try {
      process.kill(each, name)
    } catch {
      // The process has ended.
    }
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() =>
        typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no free port')),
      )
    })
  })
}

function listening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/**
 * A Postgres server for the tests of this folder: Debian's, on a free loopback port, with a folder of its own. It can
 * be killed and started again. As root, it runs as `nobody`, because Postgres refuses to run as root.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Missing } from '../../scripts/engines/programs.ts'
import { freePort } from '../../scripts/engines/server.ts'

const NOBODY = 65_534
const asNobody = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}

/** The newest installed Postgres. @throws Missing */
function programsFolder(): string {
  const root = '/usr/lib/postgresql'
  const [newest] = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  if (newest === undefined) throw new Missing('there is no Postgres: apt-get install postgresql')
  return join(root, newest, 'bin')
}

export class PostgresServer {
  readonly url: string
  readonly #programs: string
  readonly #folder: string
  readonly #port: number
  #child: ChildProcess | null = null
  #said = ''

  private constructor(programs: string, folder: string, port: number) {
    this.#programs = programs
    this.#folder = folder
    this.#port = port
    this.url = `postgres://test@127.0.0.1:${port}/postgres`
    process.once('exit', this.#atExit)
  }

  readonly #atExit = (): void => {
    this.#child?.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** @throws Missing */
  static async start(): Promise<PostgresServer> {
    const programs = programsFolder()
    const folder = mkdtempSync(join(tmpdir(), 'millrace-postgres-'))
    if (asNobody.uid !== undefined) chownSync(folder, NOBODY, NOBODY)
    const args = ['-D', join(folder, 'data'), '-U', 'test', '-A', 'trust', '-E', 'UTF8', '--no-sync', '--locale=C']
    execFileSync(join(programs, 'initdb'), args, { cwd: folder, stdio: 'pipe', ...asNobody })
    const server = new PostgresServer(programs, folder, await freePort())
    await server.start()
    return server
  }

  async start(): Promise<void> {
    const settings = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      shared_buffers: '32MB',
      max_connections: '60',
    }
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const child = spawn(
      join(this.#programs, 'postgres'),
      ['-D', join(this.#folder, 'data'), '-p', `${this.#port}`, ...args],
      { cwd: this.#folder, stdio: ['ignore', 'ignore', 'pipe'], ...asNobody },
    )
    this.#child = child
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-4000)
    })
    const end = performance.now() + 30_000
    while (performance.now() < end && child.exitCode === null) {
      if (await answers(this.url)) return
      await sleep(20)
    }
    throw new Error(`postgres did not start: ${this.#said}`)
  }

  /** SIGKILL to all of its processes at once. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.#end('SIGINT')
    process.removeListener('exit', this.#atExit)
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.kill(signal)
    await ended
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** A peer's server: a child process on a free loopback port, which ends with this process. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { connect, createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const READY_MS = 15_000
const STOP_MS = 10_000

/** The path of a program, or null if it is not installed. */
export function programOf(name: string, extra: readonly string[] = []): string | null {
  for (const folder of [...extra, ...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']) {
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // It is not there: try the next one.
    }
  }
  return null
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

/** Start a server and wait until it accepts connections; `stop` ends it cleanly. */
export async function startServer(
  program: string,
  args: readonly string[],
  port: number,
  options: SpawnOptions = {},
): Promise<{ stop(): Promise<void> }> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options })
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000)
  })
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  child.once('error', (error) => {
    said += error.message
  })
  await untilListening(child, port, () => `${program} did not start: ${said}`)
  return {
    stop: async () => {
      // On SIGINT Postgres ends at once, on SIGTERM it waits for its clients. For the others both signals mean the
      // same.
      child.kill('SIGINT')
      const force = setTimeout(kill, STOP_MS)
      await ended
      clearTimeout(force)
      process.removeListener('exit', kill)
    },
  }
}

async function untilListening(child: ChildProcess, port: number, why: () => string): Promise<void> {
  const end = performance.now() + READY_MS
  while (performance.now() < end) {
    if (child.exitCode !== null || child.pid === undefined) break
    if (await listening(port)) return
    await sleep(20)
  }
  child.kill('SIGKILL')
  throw new Error(why())
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

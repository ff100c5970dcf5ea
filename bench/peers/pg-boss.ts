/**
 * pg-boss on its own Postgres with default settings (every commit synced): one insert per job, and a worker that polls
 * twice per second (its shortest interval) and takes up to a thousand at a time. Version 10 is the last that runs on
 * Node 20.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import PgBoss from 'pg-boss'
import { type BareEvent, bareEvent, type CartItem } from '../events.ts'
import type { Consuming, ItemHandler, OpenSystem, Peer, Server, System } from '../system.ts'
import { freePort, programOf, startServer } from './server.ts'

const QUEUE = 'carts'
const POLL_SECONDS = 0.5
const BATCH = 1000
const CONNECTIONS = 20

class PgBossJobs implements System {
  readonly #boss: PgBoss

  private constructor(boss: PgBoss) {
    this.#boss = boss
  }

  static async open(url: string): Promise<PgBossJobs> {
    const boss = new PgBoss({ connectionString: url, max: CONNECTIONS, schedule: false })
    boss.on('error', (error) => {
      console.error(error)
      process.exit(1)
    })
    await boss.start()
    await boss.createQueue(QUEUE)
    return new PgBossJobs(boss)
  }

  publish(item: CartItem): Promise<unknown> {
    return this.#boss.send(QUEUE, bareEvent(item))
  }

  async consume(_name: string, handler: ItemHandler): Promise<Consuming> {
    await this.#boss.work<BareEvent>(
      QUEUE,
      { batchSize: BATCH, pollingIntervalSeconds: POLL_SECONDS },
      async (jobs) => {
        await Promise.all(jobs.map(({ data }) => handler(data.data)))
      },
    )
    return {
      settle: async () => {
        while ((await this.#boss.getQueueSize(QUEUE, { before: 'completed' })) > 0) await sleep(5)
      },
    }
  }

  close(): Promise<void> {
    return this.#boss.stop({ graceful: false, close: true })
  }
}

/** On Debian, the programs of Postgres are not on the path. */
function postgresFolders(): string[] {
  const root = '/usr/lib/postgresql'
  return existsSync(root) ? readdirSync(root).map((version) => join(root, version, 'bin')) : []
}

interface User {
  readonly uid?: number
  readonly gid?: number
}

/** Postgres refuses to run as root. The user `postgres` runs it then, or `nobody`. */
function postgresUser(): User {
  if (process.getuid?.() !== 0) return {}
  const idOf = (flag: string): number => {
    try {
      return Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
    } catch {
      return 65_534
    }
  }
  return { uid: idOf('-u'), gid: idOf('-g') }
}

async function start(directory: string): Promise<Server> {
  const user = postgresUser()
  const data = join(directory, 'data')
  if (user.uid !== undefined && user.gid !== undefined) {
    chownSync(directory, user.uid, user.gid)
    chmodSync(join(directory, '..'), 0o711)
  }
  const initdb = programOf('initdb', postgresFolders()) ?? 'initdb'
  execFileSync(initdb, ['-D', data, '-A', 'trust', '-U', 'bench', '-E', 'UTF8', '--no-locale', '--no-sync'], {
    ...user,
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: directory,
  })
  const port = await freePort()
  const args = ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', directory]
  const { stop } = await startServer(programOf('postgres', postgresFolders()) ?? 'postgres', args, port, {
    ...user,
    cwd: directory,
  })
  await untilReady(port)
  return { url: `postgres://bench@127.0.0.1:${port}/postgres`, stop }
}

/** It accepts connections a moment before it answers queries. */
async function untilReady(port: number): Promise<void> {
  const ready = programOf('pg_isready', postgresFolders()) ?? 'pg_isready'
  for (let tries = 0; tries < 100; tries++) {
    try {
      execFileSync(ready, ['-h', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
      return
    } catch {
      await sleep(50)
    }
  }
  throw new Error('postgres did not become ready')
}

function missing(): Promise<string | null> {
  const lacking = ['postgres', 'initdb'].find((name) => programOf(name, postgresFolders()) === null)
  return Promise.resolve(lacking === undefined ? null : `${lacking} is not installed`)
}

const open: OpenSystem = ({ url }) => PgBossJobs.open(url)

export const pgBoss: Peer = { name: 'pg-boss', missing, start, open }

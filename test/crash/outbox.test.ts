/**
 * The outbox under SIGKILL of the relays, of the database and of the broker at random moments, compared with a ledger
 * that the writers keep in a table of their own, in the same transactions. `MILLRACE_KILLS` is the number of kills of
 * each (200 in the full run).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort, type Server } from '../../scripts/engines/server.ts'
import { migrate, outbox, outboxOf } from '../../src/data/index.ts'
import { connect, event, stream } from '../../src/index.ts'
import { postgres } from '../data/postgres.ts'

const KILLS = process.env['MILLRACE_KILLS'] === undefined ? 3 : Number(process.env['MILLRACE_KILLS'])
const KEYS = 8
const WRITERS = 6
const Step = event('step')
const steps = stream('steps', { events: [Step], key: 'data.key' })
const server = await postgres()

/** A process that starts again after it was killed. */
class Killable {
  readonly #args: readonly string[]
  readonly #ready: RegExp
  #child: ChildProcess | null = null
  said = ''

  constructor(args: readonly string[], ready: RegExp) {
    this.#args = args
    this.#ready = ready
  }

  start(): Promise<void> {
    const child = spawn(process.execPath, this.#args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    this.said = ''
    return new Promise((resolve, reject) => {
      for (const output of [child.stdout, child.stderr])
        output.on('data', (chunk: Buffer) => {
          this.said = (this.said + chunk.toString()).slice(-2000)
          if (this.#ready.test(this.said)) resolve()
        })
      child.once('exit', (code, signal) => {
        if (signal === 'SIGKILL') resolve()
        else reject(new Error(`it ended with ${code}: ${this.said}`))
      })
    })
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await ended
  }
}

describe.skipIf(server === undefined)('the outbox under kill -9', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-outbox-crash-'))
  const database = server as Server
  let pool: pg.Pool
  let broker: Killable
  let relays: Killable[] = []
  let brokerUrl = ''
  const acknowledged: string[] = []
  let writing = true

  const pause = (): Promise<void> => sleep(20 + Math.random() * 200)

  /** One transaction: a number of a key, a row of the ledger, an event, in any order after the number. */
  async function write(key: string): Promise<void> {
    const client = await pool.connect()
    let isBroken = true
    try {
      await client.query('begin')
      const { rows } = await client.query('update numbers set n = n + 1 where key = $1 returning n', [key])
      const id = `${key}/${rows[0].n}`
      await client.query('insert into ledger (id, key, n) values ($1, $2, $3)', [id, key, rows[0].n])
      await outbox(client).publish(steps, Step({ key, n: rows[0].n }, { id }))
      await client.query('commit')
      acknowledged.push(id)
      isBroken = false
    } finally {
      client.release(isBroken)
    }
  }

  async function writer(seed: number): Promise<void> {
    for (let i = 0; writing; i++) {
      await write(`k${(seed * 3 + i) % KEYS}`).catch(() => sleep(20))
    }
  }

  beforeAll(
    async () => {
      if (!existsSync(join(import.meta.dirname, '../../dist/data/index.js')))
        throw new Error('the crash test runs the built package: npm run build')
      pool = new pg.Pool({ connectionString: database.url, max: WRITERS + 2, connectionTimeoutMillis: 2000 })
      pool.on('error', () => undefined)
      pool.on('connect', (client) => client.on('error', () => undefined))
      await migrate(pool)
      await pool.query(`create table numbers (key text primary key, n integer not null default 0);
      create table ledger (id text primary key, key text not null, n integer not null);
      insert into numbers (key) select 'k' || k from generate_series(0, ${KEYS - 1}) k`)
      const port = await freePort()
      brokerUrl = `ws://127.0.0.1:${port}`
      const main = join(import.meta.dirname, '../../dist/cli/main.js')
      broker = new Killable([main, 'serve', '--data', join(folder, 'data'), '--port', `${port}`], /127\.0\.0\.1/)
      await broker.start()
      const declaring = await connect(brokerUrl)
      await declaring.declare(steps)
      await declaring.close()
      const child = join(import.meta.dirname, 'outbox-child.mjs')
      relays = [0, 1].map(() => new Killable([child, brokerUrl, database.url], /started/))
      await Promise.all(relays.map((relay) => relay.start()))
      const writers = Array.from({ length: WRITERS }, (_, seed) => writer(seed))
      for (let kill = 0; kill < KILLS; kill++) {
        for (const relay of relays) {
          await pause()
          await relay.kill()
          await relay.start()
        }
        await pause()
        await database.kill()
        await database.start()
        await pause()
        await broker.kill()
        await broker.start()
      }
      writing = false
      await Promise.all(writers)
    },
    120_000 + KILLS * 20_000,
  )

  afterAll(async () => {
    await Promise.all([...relays, broker].map((each) => each?.kill()))
    await pool?.end()
    rmSync(folder, { recursive: true, force: true })
  })

  test('nothing that committed is lost, nothing is stored twice, and each key is in order', {
    timeout: 90_000,
  }, async () => {
    await expect
      .poll(() => outboxOf(pool).describe(), { timeout: 60_000 })
      .toMatchObject({ waiting: 0, retrying: 0, behind: 0, deadLetters: 0 })
    const { rows } = await pool.query<{ id: string }>('select id from ledger')
    const committed = new Set(rows.map(({ id }) => id))
    expect(acknowledged.length).toBeGreaterThan(KILLS * 10)
    expect(acknowledged.filter((id) => !committed.has(id))).toEqual([])
    const reader = await connect(brokerUrl)
    const stored: { id: string; key: string; n: number }[] = []
    for await (const { id, data } of reader.read(steps)) stored.push({ id, ...(data as { key: string; n: number }) })
    await reader.close()
    expect(stored.filter(({ id }) => !committed.has(id))).toEqual([])
    expect(new Set(stored.map(({ id }) => id)).size).toBe(stored.length)
    expect(stored.length).toBe(committed.size)
    for (let k = 0; k < KEYS; k++) {
      const numbers = stored.filter(({ key }) => key === `k${k}`).map(({ n }) => n)
      expect(numbers).toEqual(numbers.map((_, index) => index + 1))
    }
  })
})

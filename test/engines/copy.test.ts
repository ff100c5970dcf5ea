/** Copying to a real server and back: everything is there, and consumers continue where they were. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { kafkaKind, natsKind, postgresKind, redisKind } from '../../scripts/engines/engines.ts'
import { Server, type ServerKind } from '../../scripts/engines/server.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import { copyBroker } from '../../src/copy/copy.ts'
import { eventsOf } from '../../src/copy/source-events.ts'
import { type Broker, connect } from '../../src/index.ts'
import { carts, contents, EVENTS, fill, keyOf, Noted, rest } from '../copy/fixture.ts'
import { kindOf } from './servers.ts'

const SERVERS: readonly (readonly [name: string, kind: ServerKind | undefined, url: (server: Server) => string])[] = [
  [
    'nats',
    kindOf('nats (newest)', () => natsKind({ version: 'newest' })),
    (server) => `${server.url}?durable=declared`,
  ],
  ['redis', kindOf('redis', redisKind), (server) => server.url],
  ['kafka', kindOf('kafka', kafkaKind), (server) => server.url],
  ['postgres', kindOf('postgres', () => postgresKind()), (server) => server.url],
]

const MAIN = join(import.meta.dirname, '../../dist/cli/main.js')

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean()
})

async function opened(url: string): Promise<Broker> {
  const broker = await connect(url)
  cleanups.push(() => broker.close())
  return broker
}

async function file(): Promise<Broker> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-copy-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  return opened(`file:${directory}`)
}

/** Start a copy, and kill it some time after it has printed its plan. Answers whether it was still running. */
async function killed(args: readonly string[], afterMs: number): Promise<boolean> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once('exit', (_code, signal) => resolve(signal)))
  await Promise.race([ended, new Promise((resolve) => child.stdout.once('data', resolve))])
  const timer = setTimeout(() => child.kill('SIGKILL'), afterMs)
  const signal = await ended
  clearTimeout(timer)
  return signal === 'SIGKILL'
}

async function same(from: Broker, to: Broker): Promise<void> {
  const original = await contents(engineOf(from))
  await expect.poll(async () => contents(engineOf(to)), { timeout: 15_000 }).toEqual(original)
}

describe.each(SERVERS)('%s', (_name, kind, url) => {
  test.skipIf(kind === undefined)('from a directory onto the server, and back', { timeout: 120_000 }, async () => {
    const server = await Server.start(kind as ServerKind)
    cleanups.push(() => server.stop())
    const [home, there, back] = [await file(), await opened(url(server)), await file()]
    await fill(home)
    const report = await copyBroker(home, there, { name: 'home' })
    expect(report.channels[0]).toMatchObject({ channel: 'carts', events: EVENTS, scheduled: 1 })
    await same(home, there)
    await copyBroker(there, back, { name: 'there' })
    await same(home, back)
    const [ahead, original] = [await rest(there), await rest(home)]
    for (const [consumer, ids] of Object.entries(original))
      expect([...(ahead[consumer] as string[])].sort(), consumer).toEqual([...ids].sort())
  })

  test.skipIf(kind === undefined)('killed on the way, again and again', { timeout: 120_000 }, async () => {
    const server = await Server.start(kind as ServerKind)
    cleanups.push(() => server.stop())
    const directory = mkdtempSync(join(tmpdir(), 'millrace-copy-'))
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
    const home = await connect(`file:${directory}`)
    const made = Array.from({ length: 1000 }, (_, n) => Noted({ n, key: keyOf(n) }))
    for (let round = 0; round < 12; round++) {
      await home.publish(
        carts,
        made.map((each, n) => ({ ...each, id: `${round}-${n}` })),
      )
    }
    await home.close()
    const args = [MAIN, 'copy', '--from', `file:${directory}`, '--to', url(server)]
    let kills = 0
    for (const afterMs of [60, 250, 450, 800, 1300]) if (await killed(args, afterMs)) kills++
    expect(kills).toBeGreaterThan(0)
    const { copied } = JSON.parse(execFileSync(process.execPath, [...args, '--json'], { encoding: 'utf8' })) as {
      readonly copied: readonly unknown[]
    }
    expect(copied).toMatchObject([{ channel: 'carts', events: 12_000 }])
    const there = await opened(url(server))
    const seen = new Map<string, string[]>()
    for await (const { id, key } of eventsOf(engineOf(there), 'carts'))
      seen.set(key as string, [...(seen.get(key as string) ?? []), id])
    const expected = made.map(({ data }) => data.key)
    for (const [key, ids] of seen) {
      const mine = Array.from({ length: 12 }, (_, round) =>
        expected.flatMap((each, n) => (each === key ? [`${round}-${n}`] : [])),
      ).flat()
      expect(ids).toEqual(mine)
    }
    expect([...seen.values()].flat()).toHaveLength(12_000)
  })
})

/** Moving onto a real server and back: everything is there, and consumers go on as they would have. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { kafkaKind, natsKind, redisKind } from '../../scripts/engines/engines.ts'
import { Server, type ServerKind } from '../../scripts/engines/server.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import { copyBroker } from '../../src/copy/copy.ts'
import { type Broker, connect } from '../../src/index.ts'
import { contents, EVENTS, fill, rest } from '../copy/fixture.ts'
import { kindOf } from './servers.ts'

const SERVERS: readonly (readonly [name: string, kind: ServerKind | undefined, url: (server: Server) => string])[] = [
  ['nats', kindOf('nats (newest)', () => natsKind({ version: 'newest' })), (server) => `${server.url}?durable=declared`],
  ['redis', kindOf('redis', redisKind), (server) => server.url],
  ['kafka', kindOf('kafka', kafkaKind), (server) => server.url],
]

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

async function same(from: Broker, to: Broker): Promise<void> {
  const original = await contents(await engineOf(from))
  await expect.poll(async () => contents(await engineOf(to)), { timeout: 15_000 }).toEqual(original)
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
    for (const [consumer, ids] of Object.entries(original)) expect([...(ahead[consumer] as string[])].sort(), consumer).toEqual([...ids].sort())
  })
})

/**
 * Millrace's own channels over the wire: permissions on all other channels do not allow reading, writing or copying
 * them. They must be named.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Engine } from '../../src/broker/engine.ts'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'

let folder: string
let everything: string
let named: string
let broker: Broker
let server: ServingGateway

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-own-'))
  const tokens = join(folder, 'tokens.json')
  const tokenFor = (every: readonly string[]): string =>
    addToken(tokens, { name: 'all', permissions: { publish: every, consume: every, read: every, manage: every } }).token
  ;[everything, named] = [tokenFor(['>']), tokenFor(['>', '$audit'])]
  broker = await connect('memory:')
  await broker.declare(stream('orders'), stream('$audit'))
  await broker.publish('$audit', { type: 'millrace.audit.x' })
  server = await serveGateway(broker, { port: 0, access: { tokens }, drain: '100ms' })
})
afterEach(async () => {
  await server.close()
  await broker.close()
  rmSync(folder, { recursive: true })
})

async function asEngine(token: string, act: (engine: Engine, client: Broker) => Promise<void>): Promise<void> {
  const client = await connect(server.url.replace('http', 'ws'), { token })
  try {
    let engine: Engine | undefined
    await client.start({
      start: async (host) => {
        engine = host.engine
        return { stop: async () => undefined, done: Promise.resolve() }
      },
    })
    await act(engine as Engine, client)
  } finally {
    await client.close()
  }
}

const carried = {
  offset: 1,
  timeMs: 1,
  id: 'forged',
  type: 'x',
  key: null,
  text: '{"specversion":"1.0","id":"forged","source":"/s","type":"x"}',
}
const forbidden = { code: 'FORBIDDEN' }

test("permissions for all channels do not include Millrace's own channels", async () => {
  await asEngine(everything, async (engine, client) => {
    await expect(client.publish('$audit', { type: 'forged' })).rejects.toMatchObject(forbidden)
    await expect(engine.carriage.putEvents('$audit', [carried])).rejects.toMatchObject(forbidden)
    await expect(engine.carriage.consumers('$audit')).rejects.toMatchObject(forbidden)
    await expect(client.read('$audit').next()).rejects.toMatchObject(forbidden)
    await expect(client.channel('$audit').remove()).rejects.toMatchObject(forbidden)
    await engine.carriage.consumers('orders')
  })
})

test("a caller with permissions for Millrace's own channels can copy them, and still cannot publish to them", async () => {
  await asEngine(named, async (engine, client) => {
    await engine.carriage.consumers('$audit')
    const { value } = (await client.read('$audit').next()) as { value: { type: string } }
    expect(value.type).toBe('millrace.audit.x')
    await expect(client.publish('$audit', { type: 'forged' })).rejects.toMatchObject(forbidden)
  })
})

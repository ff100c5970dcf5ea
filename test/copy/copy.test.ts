/**
 * A copy carries everything between any two engines, and consumers continue on it as they would have on the original.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import { copyBroker } from '../../src/copy/copy.ts'
import { fileCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { serveGateway } from '../../src/gateway/serve-gateway.ts'
import { type Broker, connect } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from '../external-log/memory-backend.ts'
import { contents, EVENTS, fill, rest } from './fixture.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean()
})

async function opened(broker: Promise<Broker> | Broker): Promise<Broker> {
  const open = await broker
  cleanups.push(() => open.close())
  return open
}

async function file(): Promise<Broker> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-copy-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  return opened(connect(`file:${directory}`))
}

/** It reports that it is durable. */
class DurableBackend extends MemoryBackend {
  override readonly capabilities = fileCapabilities
}

async function overLogs(partitions: number): Promise<Broker> {
  const engine = await ExternalLogEngine.open({ backend: new DurableBackend(new MemoryServer()), partitions })
  return opened(new ConnectedBroker(engine, { source: '/test', random: Math.random }))
}

async function served(): Promise<Broker> {
  const broker = await file()
  const gateway = await serveGateway(broker, { port: 0 })
  cleanups.push(() => gateway.close())
  return opened(connect(`ws://127.0.0.1:${gateway.port}`))
}

const BROKERS: Readonly<Record<string, () => Promise<Broker>>> = {
  file,
  served,
  'one partition': () => overLogs(1),
  'five partitions': () => overLogs(5),
}

describe.each(Object.keys(BROKERS).flatMap((from) => Object.keys(BROKERS).map((to) => [from, to] as const)))(
  '%s to %s',
  (from, to) => {
    test('everything is there, and goes on as it would have', async () => {
      const source = await (BROKERS[from] as () => Promise<Broker>)()
      await fill(source)
      const target = await (BROKERS[to] as () => Promise<Broker>)()
      const report = await copyBroker(source, target, { name: 'source' })
      expect(report.channels.map(({ channel, state }) => `${channel} ${state}`)).toEqual(
        ['carts', 'jobs', 'latest', 'short', 'twice'].map((name) => `${name} copied`),
      )
      expect(report.channels[0]).toMatchObject({ events: EVENTS, scheduled: 1 })
      // Retention takes a moment on both sides.
      const both = async (): Promise<unknown[]> => [await contents(engineOf(target)), await contents(engineOf(source))]
      await expect.poll(both).toSatisfy(([there, here]: unknown[]) => isDeepStrictEqual(there, here))

      const again = await copyBroker(source, target, { name: 'source' })
      expect(again.channels.every(({ state }) => state === 'already')).toBe(true)

      const [there, here] = [await rest(target), await rest(source)]
      for (const [name, ids] of Object.entries(here))
        expect([...(there[name] as string[])].sort(), name).toEqual([...ids].sort())
    })
  },
)

/** Copies onto a broker that fails or answers too late: what happened to a batch is found out and never guessed. */
import { expect, test } from 'vitest'
import { MillraceError } from '../../src/base/errors.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import { copyBroker } from '../../src/copy/copy.ts'
import { eventsOf } from '../../src/copy/source-events.ts'
import { fileCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { Appended, AppendItem } from '../../src/external-log/log-backend.ts'
import { type Broker, connect } from '../../src/index.ts'
import { type Faults, MemoryBackend, MemoryServer } from '../external-log/memory-backend.ts'
import { carts, keyOf, Noted } from './fixture.ts'

/** It stores part of some batches and then fails, like a broken connection. */
class BrokenBackend extends MemoryBackend {
  override readonly capabilities = fileCapabilities
  #appends = 0

  override async append(channel: string, items: readonly AppendItem[]): Promise<Appended[]> {
    if (channel !== 'carts' || ++this.#appends % 4 !== 0) return super.append(channel, items)
    await super.append(channel, items.slice(0, items.length >> 1))
    throw new MillraceError('UNAVAILABLE', 'the connection broke')
  }
}

async function target(faults: Faults = {}): Promise<Broker> {
  const engine = await ExternalLogEngine.open({ backend: new BrokenBackend(new MemoryServer(), faults), partitions: 3 })
  return new ConnectedBroker(engine, { source: '/test', random: Math.random })
}

test('half of a batch is there', { timeout: 60_000 }, async () => {
  const source = await connect('memory:')
  // Ids occur twice. The target's window must not treat the second event as a duplicate.
  const made = Array.from({ length: 4000 }, (_, n) =>
    Noted({ n: n % 2500, key: keyOf(n % 2500) }, { id: `e-${n % 2500}`, time: '2026-01-01T00:00:00Z' }),
  )
  const undeduplicated = { ...carts, spec: { ...carts.spec, dedupe: null } }
  for (let at = 0; at < made.length; at += 500) await source.publish(undeduplicated, made.slice(at, at + 500))
  const broker = await target()
  const report = await copyBroker(source, broker, { name: 'source' })
  expect(report.channels).toMatchObject([{ channel: 'carts', events: 4000 }])
  const found = new Map<string, number>()
  for await (const { id } of eventsOf(engineOf(broker), 'carts')) found.set(id, (found.get(id) ?? 0) + 1)
  for (let n = 0; n < 2500; n++) expect(found.get(`e-${n}`)).toBe(n < 1500 ? 2 : 1)
  await source.close()
  await broker.close()
})

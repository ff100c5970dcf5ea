/** Partitions find an owner, whatever happened to the last one. */
import { expect, it } from 'vitest'
import { MillraceError } from '../../src/base/errors.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { consumer, stream } from '../../src/index.ts'
import { type Faults, MemoryBackend, MemoryServer } from './memory-backend.ts'

const PARTITIONS = 8
const orders = stream('orders')

async function open(server: MemoryServer, faults: Faults = {}): Promise<ConnectedBroker> {
  const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(server, faults), partitions: PARTITIONS })
  return new ConnectedBroker(engine, { source: '/test', random: Math.random })
}

it('a partition that its owner could not give back is given back later', async () => {
  const server = new MemoryServer()
  let failing = false
  const first = await open(server, {
    before: (call) =>
      failing && call === 'appendConsumerLog' ? new MillraceError('STORE_FAILED', 'not now') : undefined,
  })
  await first.declare(orders)
  const handled = new Set<string>()
  const worker = consumer('worker', orders, { lease: 400 }).onAny(({ id }) => void handled.add(id))
  await first.start(worker)
  failing = true
  const second = await open(server)
  await second.start(worker)
  // The first process has seen the second one, and has lost the partition that it should give back.
  await expect.poll(async () => (await first.describe()).alarms.map(({ code }) => code)).toContain('STORE_FAILED')
  failing = false
  const ids = Array.from({ length: 64 }, (_, n) => `event-${n}`)
  for (const id of ids) await second.publish(orders, { id, type: 'order' })
  await expect.poll(() => handled.size, { timeout: 5000 }).toBe(ids.length)
  await first.close()
  await second.close()
})

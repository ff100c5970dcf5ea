/** Delayed events are counted until they are due, also if an older one still waits. */
import { expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

test('a delayed event that became due behind one that waits is not counted any more', async () => {
  const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(new MemoryServer()), partitions: 2 })
  const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
  const notes = stream('notes')
  await broker.publish(notes, { type: 'noted', id: 'far' }, { delay: '1h' })
  await broker.publish(notes, { type: 'noted', id: 'soon' }, { delay: 20 })
  for await (const { id } of broker.read(notes, { follow: true })) {
    expect(id).toBe('soon')
    break
  }
  await expect.poll(async () => (await broker.describe()).channels[0]?.scheduled, { timeout: 10_000 }).toBe(1)
  await broker.close()
})

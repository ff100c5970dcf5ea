/** An instance that closes while others of its consumer go on in the same process. */
import { expect, test } from 'vitest'
import type { ConsumerSpec, Delivery } from '../../src/broker/engine.ts'
import type { ChannelSpec } from '../../src/channel/channel.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const ORDERS: ChannelSpec = {
  ...{ name: 'orders', kind: 'stream', types: null, dedupe: null, eventBytesMax: 1000 },
  retain: { ageMs: null, bytes: null, count: null, latestByKey: false },
}
const WORKER: ConsumerSpec = {
  ...{ name: 'worker', channels: ['orders'], wants: [{ type: null, pattern: null }], from: { at: 'beginning' } },
  ...{ onDead: 'skip', credit: 10, perKey: 1, leaseMs: 20_000, attemptsMax: 3, stallMs: 60_000 },
}

test('an instance is closed when everything that it has settled is durable', async () => {
  const server = new MemoryServer()
  /** Holds the entries of the consumer log back. */
  let gate: Promise<void> | undefined
  let open: () => void = () => undefined
  let waits = 0
  const wait = (call: string): Promise<void> | undefined => {
    if (call !== 'appendConsumerLog' || gate === undefined) return undefined
    waits++
    return gate
  }
  const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(server, { wait }), partitions: 1 })
  await engine.declare(ORDERS)
  const given: Delivery[] = []
  const sink = {
    deliver: (deliveries: readonly Delivery[]) => void given.push(...deliveries),
    passesOn: false,
    revoked: () => undefined,
  }
  const [one, two] = [await engine.subscribe(WORKER, sink), await engine.subscribe(WORKER, sink)]
  await engine.publish('orders', { id: 'e', type: 'placed', key: null, text: '{}' }, null)
  await expect.poll(() => given).toHaveLength(1)
  gate = new Promise((resolve) => {
    open = resolve
  })
  const [delivery] = given as [Delivery]
  const closing = [one, two].find((instance) => instance.complete(delivery, null)) as typeof one
  let closed = false
  const done = closing.close().then(() => {
    closed = true
  })
  await expect.poll(() => waits).toBe(1)
  // The group has looked without the instance. This look writes nothing to the consumer log.
  await expect.poll(() => [...(server.members.get('worker')?.values() ?? [])].join()).toContain('"instances":1,')
  for (let turn = 0; turn < 20; turn++) await engine.channels()
  expect(closed).toBe(false)
  open()
  await done
  await engine.close()
})

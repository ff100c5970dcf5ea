/** Ids of delayed events are known to every process while they wait, and for the channel's window after that. */
import { expect, it } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { ReadLimit, StoredRecord } from '../../src/external-log/log-backend.ts'
import { stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

/** Answers only the text of a record that is not a CloudEvent, as servers do that store CloudEvents only. */
class Strict extends MemoryBackend {
  override async read(channel: string, ...rest: [number | null, number, ReadLimit]): Promise<StoredRecord[]> {
    const records = await super.read(channel, ...rest)
    return channel === '~schedule'
      ? records.map((record) => ({ ...record, event: { id: '', type: '', key: null, text: record.event.text } }))
      : records
  }
}

async function open(server: MemoryServer): Promise<ConnectedBroker> {
  const engine = await ExternalLogEngine.open({ backend: new Strict(server), partitions: 2 })
  return new ConnectedBroker(engine, { source: '/test', random: Math.random })
}

const orders = stream('orders')

it('an id that one process has delayed is known to others, also to one that starts later', async () => {
  const server = new MemoryServer()
  const [one, two] = [await open(server), await open(server)]
  await two.publish(orders, { id: 'first', type: 'order' })
  const { dueAtMs } = await one.publish(orders, { id: 'later', type: 'order' }, { delay: '1h' })
  // Told by the server, a moment later.
  await expect
    .poll(async () => (await two.publish(orders, { id: 'later', type: 'order' }, { delay: '2h' })).duplicate)
    .toBe(true)
  expect((await two.publish(orders, { id: 'later', type: 'order' })).duplicate).toBe(true)
  const three = await open(server)
  expect((await three.describe()).channels.map(({ name, scheduled }) => [name, scheduled])).toEqual([['orders', 1]])
  const receipts = await three.publish(orders, [
    { id: 'later', type: 'order' },
    { id: 'other', type: 'order' },
  ])
  expect(receipts).toMatchObject([
    { duplicate: true, offset: null, dueAtMs },
    { duplicate: false, offset: expect.any(Number) as number },
  ])
  for (const broker of [one, two, three]) await broker.close()
})

it('a window that is over makes an id free again', async () => {
  const server = new MemoryServer()
  const broker = await open(server)
  const short = stream('short', { dedupe: { age: 100 } })
  await broker.publish(short, { id: 'same', type: 'order' }, { delay: 50 })
  expect((await broker.publish(short, { id: 'same', type: 'order' })).duplicate).toBe(true)
  await expect
    .poll(async () => (await broker.publish(short, { id: 'same', type: 'order' })).duplicate, { timeout: 5000 })
    .toBe(false)
  await broker.close()
})

it('no id is known in a channel without deduplication', async () => {
  const server = new MemoryServer()
  const broker = await open(server)
  const plain = stream('plain', { dedupe: false })
  await broker.publish(plain, { id: 'same', type: 'order' }, { delay: '1h' })
  expect((await broker.publish(plain, { id: 'same', type: 'order' })).duplicate).toBe(false)
  await broker.close()
})

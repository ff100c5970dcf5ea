/** Delayed events that one process publishes and another cancels. */
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

async function open(server: MemoryServer, backend = new MemoryBackend(server)): Promise<ConnectedBroker> {
  const engine = await ExternalLogEngine.open({ backend, partitions: 2 })
  return new ConnectedBroker(engine, { source: '/test', random: Math.random })
}

const orders = stream('orders')

async function ids(broker: ConnectedBroker): Promise<string[]> {
  const found: string[] = []
  for await (const { id } of broker.read(orders)) found.push(id)
  return found
}

it.each(['every record as it is', 'only the text of a record that is not a CloudEvent'])(
  'an id that one process cancelled is free in every process: the server keeps %s',
  async (kept) => {
    const server = new MemoryServer()
    const backend = (): MemoryBackend => (kept === 'what it is given' ? new MemoryBackend(server) : new Strict(server))
    const [one, two] = [await open(server, backend()), await open(server, backend())]
    const event = { id: 'later', type: 'order' }
    await one.publish(orders, event, { delay: '1h' })
    for (const [canceller, publisher] of [
      [one, two],
      [two, one],
      [two, two],
    ] as const) {
      await expect.poll(async () => (await publisher.publish(orders, event, { delay: '2h' })).duplicate).toBe(true)
      expect(await canceller.channel(orders).delayed.cancel('later')).toBe(true)
      expect((await publisher.publish(orders, event, { delay: '3h' })).duplicate).toBe(false)
      expect(await one.channel(orders).delayed.list()).toHaveLength(1)
    }
    expect(await two.channel(orders).delayed.cancel('later')).toBe(true)
    const three = await open(server, backend())
    expect((await three.publish(orders, event)).duplicate).toBe(false)
    expect(await ids(one)).toEqual(['later'])
    expect((await three.describe()).channels.map(({ name, scheduled }) => [name, scheduled])).toEqual([['orders', 0]])
    for (const broker of [one, two, three]) await broker.close()
  },
)

it('of two processes that publish a cancelled id at the same time, one has its event stored', async () => {
  const server = new MemoryServer()
  const [one, two] = [await open(server), await open(server)]
  for (let round = 0; round < 20; round++) {
    const event = { id: `e${round}`, type: 'order' }
    await one.publish(orders, event, { delay: '1h' })
    expect(await two.channel(orders).delayed.cancel(event.id)).toBe(true)
    const receipts = await Promise.all([one, two].map((broker) => broker.publish(orders, event, { delay: '2h' })))
    expect(receipts.filter(({ duplicate }) => !duplicate)).toHaveLength(1)
    expect(await one.channel(orders).delayed.list({ id: event.id })).toHaveLength(1)
  }
  for (const broker of [one, two]) await broker.close()
})

it('an event that two processes cancel when it is due is either stored or cancelled, and only one of them cancels it', async () => {
  const server = new MemoryServer()
  const [one, two] = [await open(server), await open(server)]
  const events = Array.from({ length: 30 }, (_, n) => ({ id: `e${n}`, type: 'order' }))
  const from = Date.now() + 300
  await Promise.all(events.map((event, n) => one.publish(orders, event, { at: new Date(from + n * 10) })))
  const answers = await Promise.all(
    events.map(async ({ id }, n) => {
      await new Promise((resolve) => setTimeout(resolve, from + n * 10 - Date.now()))
      return Promise.all([one.channel(orders).delayed.cancel(id), two.channel(orders).delayed.cancel(id)])
    }),
  )
  const kept = events.map(({ id }) => id).filter((_, n) => answers[n]?.every((answer) => !answer))
  expect(answers.filter(([a, b]) => a === true && b === true)).toEqual([])
  await expect.poll(async () => (await ids(one)).sort(), { timeout: 20_000 }).toEqual(kept.sort())
  for (const broker of [one, two]) await broker.close()
}, 60_000)

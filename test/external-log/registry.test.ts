/** The registry of channels, with several processes that declare and remove them. */
import { expect, it, vi } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { channelEntryIn } from '../../src/external-log/channel-entry.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { ChannelEntry } from '../../src/external-log/log-backend.ts'
import { Registry } from '../../src/external-log/registry.ts'
import { type Broker, consumer, event, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

async function open(server: MemoryServer, delayMs = 0): Promise<ConnectedBroker> {
  const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(server, { delayMs }), partitions: 2 })
  return new ConnectedBroker(engine, { source: '/test', random: Math.random })
}

async function closed(brokers: readonly Broker[]): Promise<void> {
  await Promise.all(brokers.map((broker) => broker.close()))
}

it('types that several processes declare at once are all kept', async () => {
  const server = new MemoryServer()
  const brokers = await Promise.all(Array.from({ length: 8 }, () => open(server, 1)))
  await Promise.all(brokers.map((broker, at) => broker.declare(stream('orders', { events: [event(`type-${at}`)] }))))
  const types = Array.from({ length: 8 }, (_, at) => `type-${at}`)
  expect(server.channels.get('orders')?.entry.spec.types).toEqual(types)
  await Promise.all(brokers.map((broker, at) => broker.declare(stream('orders', { events: [event(`more-${at}`)] }))))
  expect(server.channels.get('orders')?.entry.spec.types).toHaveLength(16)
  await closed(brokers)
})

it('a channel that another process has removed is declared again, once', async () => {
  const server = new MemoryServer()
  const [one, two] = [await open(server), await open(server)]
  const orders = stream('orders')
  await one.publish(orders, { type: 'order' })
  await two.publish(orders, { type: 'order' })
  await two.channel('orders').remove()
  const receipts = await Promise.all(
    Array.from({ length: 100 }, (_, at) => one.publish(orders, { type: 'order', id: `${at}` })),
  )
  expect(receipts.map(({ offset }) => offset)).toEqual(Array.from({ length: 100 }, (_, at) => at))
  const { incarnation } = server.channels.get('orders')?.entry ?? {}
  await two.publish(orders, { type: 'order' })
  expect(server.channels.get('orders')?.entry.incarnation).toBe(incarnation)
  await closed([one, two])
})

it('a channel of a server that lost everything is declared again, and delayed events wait there', async () => {
  const server = new MemoryServer()
  const broker = await open(server)
  const orders = stream('orders')
  await broker.publish(orders, { type: 'order', id: 'a' }, { delay: '1h' })
  for (const store of [server.channels, server.consumerLogs, server.members]) store.clear()
  await broker.publish(orders, { type: 'order', id: 'b' })
  const waits = await broker.publish(orders, { type: 'order', id: 'a' }, { delay: '1h' })
  expect(waits.duplicate).toBe(false)
  expect(await broker.publish(orders, { type: 'order', id: 'a' })).toEqual({ ...waits, duplicate: true })
  await closed([broker])
})

it('a channel that was removed, and declared by another process, is known with its new declaration', async () => {
  const server = new MemoryServer()
  const [one, two] = [await open(server), await open(server)]
  await one.declare(stream('orders', { events: [event('old')] }))
  await two.publish('orders', { type: 'old' })
  await one.channel('orders').remove()
  await one.declare(stream('orders', { events: [event('new')] }))
  const publish = (): Promise<unknown> =>
    two.publish('orders', { type: 'new', id: 'first' }).then(
      ({ offset }) => offset,
      (error: { readonly code: string }) => error.code,
    )
  await expect.poll(publish).toBe(0)
  await closed([one, two])
})

it('consumers of a channel that was deleted on the servers begin again with the next channel of its name', async () => {
  const server = new MemoryServer()
  const broker = await open(server)
  const orders = stream('orders')
  const handled: string[] = []
  await broker.start(consumer('worker', orders).onAny(({ id }) => void handled.push(id)))
  await broker.publish(
    orders,
    Array.from({ length: 20 }, (_, at) => ({ type: 'order', id: `old-${at}` })),
  )
  await expect.poll(() => handled.length, { timeout: 10_000 }).toBe(20)
  server.channels.delete('orders')
  await broker.publish(orders, { type: 'order', id: 'new' })
  await expect.poll(() => handled.includes('new'), { timeout: 10_000 }).toBe(true)
  await closed([broker])
})

it('a channel that another version of Millrace created is left alone, and every use of it says so', async () => {
  const server = new MemoryServer()
  const orders = stream('orders')
  const first = await open(server)
  await first.declare(orders)
  await first.close()
  const channel = server.channels.get('orders')
  if (channel === undefined) throw new Error('the channel is not there')
  channel.entry = { ...channel.entry, format: 1 }
  const before = JSON.stringify(channel.entry)
  const broker = await open(server)
  const refusal = { code: 'DATA_FOREIGN', details: { channel: 'orders', format: 1 } }
  await expect(broker.publish(orders, { type: 'order' })).rejects.toMatchObject(refusal)
  await expect(broker.declare(stream('orders', { retain: { age: '1d' } }))).rejects.toMatchObject(refusal)
  await expect(broker.start(consumer('worker', orders).onAny(() => undefined))).rejects.toMatchObject(refusal)
  await expect(broker.read(orders).next()).rejects.toMatchObject(refusal)
  await broker.publish(stream('others'), { type: 'order' })
  expect(JSON.stringify(server.channels.get('orders')?.entry)).toBe(before)
  expect(server.channels.get('orders')?.records).toHaveLength(0)
  await broker.close()
})

it('a registration without a format has format 1, and is not damaged', () => {
  const spec = stream('orders').spec
  expect(channelEntryIn(JSON.stringify({ incarnation: 'i', spec, partitions: 2 }))).toMatchObject({ format: 1 })
  expect(channelEntryIn(JSON.stringify({ format: 0, incarnation: 'i', spec, partitions: 2 }))).toBeNull()
  expect(channelEntryIn(JSON.stringify({ format: 'two', incarnation: 'i', spec, partitions: 2 }))).toBeNull()
})

it('a look that is asked for while another one is under way sees what was declared before it was asked for', async () => {
  const server = new MemoryServer()
  const answers: (() => void)[] = []
  class SlowBackend extends MemoryBackend {
    override async channels(): Promise<ChannelEntry[]> {
      const found = await super.channels()
      await new Promise<void>((resolve) => answers.push(resolve))
      return found
    }
  }
  const registry = new Registry(new SlowBackend(server), systemClock, 2, () => undefined)
  const early = registry.look()
  await vi.waitFor(() => expect(answers).toHaveLength(1))
  const other = await open(server)
  await other.declare(stream('orders'))
  const late = registry.look()
  answers.pop()?.()
  await early
  expect(registry.names).toEqual([])
  await vi.waitFor(() => expect(answers).toHaveLength(1))
  answers.pop()?.()
  await late
  expect(registry.names).toEqual(['orders'])
  await closed([other])
})

it('a look at all channels that is answered late does not undo what was learned of one channel meanwhile', async () => {
  const server = new MemoryServer()
  const answers: (() => void)[] = []
  class SlowList extends MemoryBackend {
    override async channels(): Promise<ChannelEntry[]> {
      const found = await super.channels()
      await new Promise<void>((resolve) => answers.push(resolve))
      return found
    }
  }
  const changes: string[] = []
  const registry = new Registry(new SlowList(server), systemClock, 2, (added, gone) =>
    changes.push(...added.map(({ spec }) => `+${spec.name}`), ...gone.map((name) => `-${name}`)),
  )
  const other = await open(server)
  await other.declare(stream('old'))
  await registry.lookAt('old')
  const all = registry.look()
  await vi.waitFor(() => expect(answers).toHaveLength(1))
  await other.declare(stream('new'))
  await other.channel('old').remove()
  await Promise.all([registry.lookAt('new'), registry.lookAt('old')])
  expect(registry.names).toEqual(['new'])
  answers.pop()?.()
  await all
  expect(registry.names).toEqual(['new'])
  expect(registry.isGone('old')).toBe(true)
  expect(changes).toEqual(['+old', '+new', '-old'])
  await closed([other])
})

/**
 * Clause 17: a question about one channel or one consumer costs the same, whatever other channels and consumers of
 * streams there are. Queues record their workers with the queue, so a question about a consumer reads each queue once.
 */
import { afterEach, expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { type Broker, type Channel, consumer, queue, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const brokers: Broker[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close()
})

/** A backend that counts the requests that its server would get. */
class CountedBackend extends MemoryBackend {
  requests = 0

  override bounds(...args: Parameters<MemoryBackend['bounds']>): ReturnType<MemoryBackend['bounds']> {
    this.requests++
    return super.bounds(...args)
  }
  override bytes(...args: Parameters<MemoryBackend['bytes']>): ReturnType<MemoryBackend['bytes']> {
    this.requests++
    return super.bytes(...args)
  }
  override read(...args: Parameters<MemoryBackend['read']>): ReturnType<MemoryBackend['read']> {
    this.requests++
    return super.read(...args)
  }
  override readConsumerLog(
    ...args: Parameters<MemoryBackend['readConsumerLog']>
  ): ReturnType<MemoryBackend['readConsumerLog']> {
    this.requests++
    return super.readConsumerLog(...args)
  }
}

const orders = stream('orders')
const jobs = queue('jobs')

/**
 * A broker that runs nothing, on a server where `others` channels and consumers exist besides the one that is asked
 * about.
 */
async function looking(others: number): Promise<{ readonly broker: Broker; readonly backend: CountedBackend }> {
  const server = new MemoryServer()
  const open = async (backend: MemoryBackend): Promise<Broker> => {
    const engine = await ExternalLogEngine.open({ backend, partitions: 2 })
    const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
    brokers.push(broker)
    return broker
  }
  const working = await open(new MemoryBackend(server))
  const use = async (name: string, channels: readonly Channel[]): Promise<void> => {
    const handled: string[] = []
    const running = await working.start(consumer(name, channels).onAny(({ id }) => void handled.push(id)))
    for (const channel of channels) await working.publish(channel, { type: 'placed', data: {} })
    await working.publish(channels[0] as Channel, { type: 'placed', data: {} }, { delay: '1h' })
    await expect.poll(() => handled.length).toBe(channels.length)
    await running.stop()
  }
  await use('worker', [orders, jobs])
  for (let each = 0; each < others; each++) await use(`worker-${each}`, [stream(`orders-${each}`)])
  const backend = new CountedBackend(server)
  const broker = await open(backend)
  await broker.channel(orders).bounds()
  // The engine begins to work on delayed events by itself: wait until it asks for nothing more.
  let before = -1
  const isQuiet = (): boolean => {
    const same = backend.requests === before
    before = backend.requests
    return same
  }
  await expect.poll(isQuiet).toBe(true)
  return { broker, backend }
}

const asked: Readonly<Record<string, (broker: Broker) => Promise<unknown>>> = {
  'channel(…).describe()': (broker) => broker.channel(orders).describe(),
  'channel(…).bounds()': (broker) => broker.channel(orders).bounds(),
  'consumer(…).describe()': (broker) => broker.consumer('worker').describe(),
  'consumer(…).deadLetters.list()': (broker) => broker.consumer('worker').deadLetters.list(),
  'consumer(…).pause()': (broker) => broker.consumer('worker').pause(),
  'alarms()': (broker) => broker.alarms(),
}

test('requests about one channel or consumer are as many beside 12 others as beside none', async () => {
  const counts = async (others: number): Promise<Record<string, number>> => {
    const { broker, backend } = await looking(others)
    const counted: Record<string, number> = {}
    for (const [name, ask] of Object.entries(asked)) {
      // The fewest of several: the engine's own work in the background may come between.
      const tries: number[] = []
      for (let turn = 0; turn < 5; turn++) {
        const before = backend.requests
        await ask(broker)
        tries.push(backend.requests - before)
      }
      counted[name] = Math.min(...tries)
    }
    return counted
  }
  const alone = await counts(0)
  expect(await counts(12)).toEqual(alone)
  expect(alone).toMatchObject({ 'channel(…).bounds()': 1, 'alarms()': 0 })
})

test('describing everything does take more with others: the count can tell', async () => {
  const [few, many] = [await looking(0), await looking(3)]
  const before = [few.backend.requests, many.backend.requests] as const
  await few.broker.describe()
  await many.broker.describe()
  expect(many.backend.requests - before[1]).toBeGreaterThan(few.backend.requests - before[0])
})

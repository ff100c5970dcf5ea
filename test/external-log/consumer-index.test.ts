/** What a look at one consumer costs, and the index of consumers that makes it independent of the others. */
import { afterEach, expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { ConsumerDescription } from '../../src/broker/description.ts'
import { indexLogOf } from '../../src/external-log/consumer-index.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { type Broker, type Channel, consumer, isMillraceError, queue, stream } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { type Faults, MemoryBackend, MemoryServer } from './memory-backend.ts'

const brokers: Broker[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close()
})

async function processOf(server: MemoryServer, faults: Faults = {}): Promise<Broker> {
  const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(server, faults), partitions: 2 })
  const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
  brokers.push(broker)
  return broker
}

async function described(broker: Broker, name: string): Promise<ConsumerDescription | null> {
  try {
    return await broker.consumer(name).describe()
  } catch (error) {
    if (isMillraceError(error, 'UNKNOWN_CONSUMER')) return null
    throw error
  }
}

const rejecting = (name: string, channels: Channel | readonly Channel[]) =>
  consumer(name, channels as Channel).onAny((_, { reject }) => reject('no'))

/** Consumers that have dead letters in these channels. None of them runs any more. */
async function haveWorked(broker: Broker, name: string, channels: readonly Channel[]): Promise<void> {
  const running = await broker.start(rejecting(name, channels))
  for (const channel of channels) await broker.publish(channel, { type: 'placed', data: {} })
  const letters = async (): Promise<number> => (await described(broker, name))?.deadLetters ?? 0
  await expect.poll(letters).toBeGreaterThanOrEqual(channels.length)
  await running.stop()
}

/** The channels of a consumer in the index. */
function indexed(server: MemoryServer, name: string): unknown {
  const [, entry] = server.consumerLogs.get(indexLogOf(name))?.entries.at(-1) ?? []
  const content = JSON.parse(String(Buffer.from(entry ?? '{}'))) as { consumers?: Record<string, unknown> }
  return content.consumers?.[name] ?? []
}

const mail = queue('mail')
const orders = stream('orders')

/** The requests of each thing that can be done to one consumer, beside a number of other channels and consumers. */
async function requestsWith(others: number): Promise<Record<string, number>> {
  const server = new MemoryServer()
  const worker = await processOf(server)
  await haveWorked(worker, 'worker', [mail, orders])
  for (let at = 0; at < others; at++)
    await haveWorked(worker, `other-${at}`, [queue(`other-queue-${at}`), stream(`other-stream-${at}`)])
  let requests = 0
  // A process asks for the list of channels once a second, whatever else it does.
  const before = (call: string): undefined => void (requests += call === 'channels' ? 0 : 1)
  const looker = await processOf(server, { before })
  const counted: Record<string, number> = {}
  const handle = looker.consumer('worker')
  const steps: Record<string, () => Promise<unknown>> = {
    describe: () => handle.describe(),
    unknown: () => described(looker, 'nobody'),
    pause: () => handle.pause(),
    resume: () => handle.resume(),
    letters: () => handle.deadLetters.list(),
    redrive: () => handle.deadLetters.redrive(),
    rewind: () => handle.rewind('beginning', { channel: 'orders' }),
    remove: () => handle.remove(),
  }
  await handle.describe()
  for (const [name, step] of Object.entries(steps)) {
    requests = 0
    await step()
    counted[name] = requests
  }
  expect(await described(looker, 'worker')).toBeNull()
  return counted
}

test('the requests of a look at one consumer, and of a change, do not depend on other consumers and channels', async () => {
  const alone = await requestsWith(0)
  const crowded = await requestsWith(6)
  expect(crowded).toEqual(alone)
  expect(alone['unknown']).toBe(2)
})

test('data of a version without the index is read, and the index is written then', async () => {
  const server = new MemoryServer()
  await haveWorked(await processOf(server), 'worker', [mail, orders])
  await haveWorked(await processOf(server), 'other', [mail])
  for (const id of server.consumerLogs.keys()) if (id.startsWith('~consumers/')) server.consumerLogs.delete(id)
  const broker = await processOf(server)
  expect(await described(broker, 'worker')).toMatchObject({ deadLetters: 2 })
  expect(indexed(server, 'worker')).toEqual(['mail', 'orders'])
  expect(indexed(server, 'other')).toEqual(['mail'])
  expect(await described(broker, 'nobody')).toBeNull()
})

test('a queue on which a version without the index has worked comes into the index with the next worker', async () => {
  const server = new MemoryServer()
  await haveWorked(await processOf(server), 'worker', [mail])
  const log = indexLogOf('worker')
  server.consumerLogs.delete(log)
  const broker = await processOf(server)
  expect(await described(broker, 'worker')).toBeNull()
  const running = await broker.start(rejecting('other', mail))
  await expect.poll(() => described(broker, 'worker')).toMatchObject({ deadLetters: 1 })
  await running.stop()
})

test('processes that begin at once are all in the index', async () => {
  const server = new MemoryServer()
  const queues = Array.from({ length: 8 }, (_, at) => queue(`queue-${at}`))
  const all = await Promise.all(queues.map(() => processOf(server, { delayMs: 1 })))
  await Promise.all(
    all.map(async (broker, at) => {
      await broker.declare(queues[at] as Channel)
      await broker.start(rejecting('worker', queues[at] as Channel))
    }),
  )
  expect(indexed(server, 'worker')).toEqual(queues.map(({ name }) => name))
})

test('a channel that is removed, and made again as the other kind, is in the index while the consumer takes it', async () => {
  const server = new MemoryServer()
  const broker = await processOf(server)
  await haveWorked(broker, 'worker', [mail, orders])
  await broker.channel('orders').remove()
  expect((await described(broker, 'worker'))?.channels.map(({ channel }) => channel)).toEqual(['mail'])
  expect(indexed(server, 'worker')).toEqual(['mail'])
  await broker.channel('mail').remove()
  await broker.declare(stream('mail'))
  expect(await described(broker, 'worker')).toBeNull()
  expect(indexed(server, 'worker')).toEqual([])
  await haveWorked(broker, 'worker', [stream('mail')])
  expect(indexed(server, 'worker')).toEqual(['mail'])
})

test('a consumer that runs, and whose channel is removed and made again, is in the index', async () => {
  const server = new MemoryServer()
  const [here, there] = [await processOf(server), await processOf(server)]
  await here.start(rejecting('worker', [orders, stream('others')]))
  await there.channel('orders').remove()
  await described(there, 'worker')
  expect(indexed(server, 'worker')).toEqual(['others'])
  await there.declare(orders)
  await expect.poll(() => indexed(server, 'worker'), { timeout: 5000 }).toEqual(['orders', 'others'])
})

test('a removed consumer leaves nothing in the index, and is there again when it begins again', async () => {
  const server = new MemoryServer()
  const broker = await processOf(server)
  for (let turn = 0; turn < 3; turn++) {
    await haveWorked(broker, 'worker', [mail, orders])
    expect(indexed(server, 'worker')).toEqual(['mail', 'orders'])
    await broker.consumer('worker').remove()
    expect(indexed(server, 'worker')).toEqual([])
    expect(await described(broker, 'worker')).toBeNull()
  }
})

/** A stop and a start of the calls of one process. */
function gate(): { readonly faults: Faults; close(at: (call: string) => boolean): Promise<void>; open(): void } {
  let stops: ((call: string) => boolean) | null = null
  let reached = (): void => undefined
  let open = (): void => undefined
  return {
    faults: {
      wait: (call) => {
        if (stops?.(call) !== true) return undefined
        stops = null
        reached()
        return new Promise((resolve) => {
          open = resolve
        })
      },
    },
    close: (at) => {
      stops = at
      return new Promise((resolve) => {
        reached = resolve
      })
    },
    open: () => open(),
  }
}

test('a process that dies between the index and its first claim leaves an entry that a later look drops', async () => {
  const server = new MemoryServer()
  const { faults, ...calls } = gate()
  const dies = await processOf(server, faults)
  await dies.declare(mail)
  const claims = calls.close(
    (call) => call === 'appendConsumerLog' && (indexed(server, 'worker') as string[]).length > 0,
  )
  const starting = dies.start(rejecting('worker', mail))
  await claims
  expect(indexed(server, 'worker')).toEqual(['mail'])
  const looker = await processOf(server)
  expect(await described(looker, 'worker')).toBeNull()
  // The process may still begin.
  expect(indexed(server, 'worker')).toEqual(['mail'])
  server.members.clear()
  expect(await described(looker, 'worker')).toBeNull()
  expect(indexed(server, 'worker')).toEqual([])
  calls.open()
  await starting
})

test('a consumer that begins again while another process drops it from the index stays there', async () => {
  const server = new MemoryServer()
  const worker = await processOf(server)
  await haveWorked(worker, 'worker', [orders])
  const { faults, ...calls } = gate()
  const remover = await processOf(server, faults)
  await remover.consumer('worker').describe()
  // The remover is about to write the index without the consumer.
  let logRemoved = false
  const stopped = calls.close((call) => {
    logRemoved ||= call === 'removeConsumerLog'
    return logRemoved && call === 'appendConsumerLog'
  })
  const removing = remover.consumer('worker').remove()
  await stopped
  const running = await worker.start(rejecting('worker', orders))
  await expect.poll(() => server.consumerLogs.has('worker/orders/0')).toBe(true)
  calls.open()
  await removing
  expect(indexed(server, 'worker')).toEqual(['orders'])
  expect(await described(remover, 'worker')).not.toBeNull()
  await running.stop()
})

test.each([1, 2, 3])('whatever processes do, no consumer is missing in the index (seed %i)', async (seed) => {
  const random = seededRandom(seed)
  const server = new MemoryServer()
  const missing: string[] = []
  server.onConsumerLogWritten = (id) => {
    const [group = '', channel = ''] = id.split('/')
    if (group.startsWith('~')) return
    if (!(indexed(server, group) as string[]).includes(channel)) missing.push(id)
  }
  const channels = [orders, stream('others'), mail, queue('print')]
  const names = ['one', 'two']
  const all = await Promise.all(
    Array.from({ length: 4 }, () => processOf(server, { wait: () => turns(Math.floor(random() * 4)) })),
  )
  for (const channel of channels) await all[0]?.declare(channel)
  const act = async (broker: Broker): Promise<void> => {
    const name = names[Math.floor(random() * names.length)] as string
    if (random() < 0.4) {
      await broker.consumer(name).remove()
      return
    }
    const running = await broker.start(rejecting(name, channels[Math.floor(random() * channels.length)] as Channel))
    await turns(Math.floor(random() * 40))
    await running.stop()
  }
  const refusals = ['INVALID_OPTION', 'UNKNOWN_CONSUMER', 'UNAVAILABLE']
  for (let round = 0; round < 25; round++) {
    const ended = await Promise.allSettled(all.map(act))
    for (const each of ended) {
      if (each.status === 'rejected') expect(refusals).toContain((each.reason as { code: string }).code)
    }
  }
  expect(missing).toEqual([])
  const shown = (await (all[0] as Broker).describe()).consumers
  for (const name of names) {
    const listed = shown.find((each) => each.name === name)
    expect((await described(all[1] as Broker, name))?.channels ?? null).toEqual(listed?.channels ?? null)
  }
})

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

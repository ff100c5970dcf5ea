/** Interventions in a consumer that runs in other processes, which this process knows by their heartbeats. */
import { afterEach, expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { ConsumerDescription } from '../../src/broker/description.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { memberNoteIn } from '../../src/external-log/ownership/member-note.ts'
import { type Broker, consumer, queue, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const brokers: Broker[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close()
})

/** Processes on one server. */
async function processes(count: number, server: MemoryServer = new MemoryServer()): Promise<Broker[]> {
  for (let each = 0; each < count; each++) {
    const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(server), partitions: 4 })
    brokers.push(new ConnectedBroker(engine, { source: '/test', random: Math.random }))
  }
  return [...brokers]
}

async function described(broker: Broker, name: string): Promise<ConsumerDescription | undefined> {
  return (await broker.describe()).consumers.find((each) => each.name === name)
}

test.each([
  ['stream', stream('orders')],
  ['queue', queue('orders')],
])('a consumer of a %s that runs in another process is listed as running, and is not removed', async (_, channel) => {
  const [here, there] = (await processes(2)) as [Broker, Broker]
  await there.start(consumer('worker', channel).onAny(() => undefined))
  await here.publish(channel, { type: 'placed', data: {} })
  await expect.poll(async () => (await described(here, 'worker'))?.channels.map(({ lag }) => lag)).toEqual([0])
  expect((await described(here, 'worker'))?.instances).toBe(1)
  await expect(here.consumer('worker').remove()).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  expect((await described(there, 'worker'))?.instances).toBe(1)
})

test('a consumer is paused when all of its instances are paused, in whatever process', async () => {
  const server = new MemoryServer()
  const backend = new MemoryBackend(server)
  const [here, one, two] = (await processes(3, server)) as [Broker, Broker, Broker]
  const orders = stream('orders')
  const worker = consumer('worker', orders, { lease: 1000 }).onAny(() => undefined)
  const running = await Promise.all([one.start(worker), two.start(worker)])
  const states = async (): Promise<unknown[]> => {
    const { instances, paused } = (await described(here, 'worker')) as ConsumerDescription
    return [instances, paused]
  }
  const membersPaused = async (): Promise<number> =>
    [...(await backend.members('worker')).values()].filter((text) => memberNoteIn(text)?.paused === true).length
  await expect.poll(states).toEqual([2, false])
  // It must not matter which of them is told of last.
  for (const each of running) {
    each.pause()
    await expect.poll(membersPaused, { timeout: 5000 }).toBe(1)
    expect(await states()).toEqual([2, false])
    each.resume()
    await expect.poll(membersPaused, { timeout: 5000 }).toBe(0)
  }
  for (const each of running) each.pause()
  await expect.poll(states, { timeout: 5000 }).toEqual([2, true])
})

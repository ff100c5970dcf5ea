/** Clause 4 over the channels of a consumer and over processes: one event of a key is in flight at a time. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { MillraceError } from '../../src/base/errors.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { fold } from '../../src/external-log/consumer-log/consumer-log-entry.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { type Consumer, consumer, type Running } from '../../src/index.ts'
import { all, Hands, orders, payments, publish, publisher } from './hands.ts'
import { type Faults, MemoryBackend, MemoryServer } from './memory-backend.ts'

const opened: ConnectedBroker[] = []

afterEach(async () => {
  for (const broker of opened.splice(0)) await broker.close()
})

/** A server whose every answer takes another time. */
class Uneven extends MemoryBackend {
  override async readConsumerLog(id: string): ReturnType<MemoryBackend['readConsumerLog']> {
    await sleep(Math.random() * 12)
    return super.readConsumerLog(id)
  }

  override async appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
    await sleep(Math.random() * 12)
    return super.appendConsumerLog(id, expected, entry)
  }
}

async function open(server: MemoryServer, partitions = 8, faults: Faults = {}): Promise<ConnectedBroker> {
  const engine = await ExternalLogEngine.open({ backend: new Uneven(server, faults), partitions })
  const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
  opened.push(broker)
  return broker
}

test('two processes share a consumer of two channels, and no key is in flight in both, while processes come and go', async () => {
  const server = new MemoryServer()
  const brokers = [await open(server), await open(server), await open(server)] as const
  for (const channel of [orders, payments]) await brokers[0].declare(channel)
  const hands = new Hands()
  const running: Running[] = []
  const publishing = publisher(brokers[0])
  running.push(await brokers[0].start(hands.worker('first')), await brokers[1].start(hands.worker('second')))
  for (const process of ['first', 'second'])
    await expect.poll(() => hands.by.get(process) ?? 0, { timeout: 15_000 }).toBeGreaterThan(50)
  running.push(await brokers[2].start(hands.worker('third')))
  await expect.poll(() => hands.by.get('third') ?? 0, { timeout: 15_000 }).toBeGreaterThan(50)
  await running[1]?.stop()
  const before = hands.by.get('third') ?? 0
  await expect.poll(() => hands.by.get('third') ?? 0, { timeout: 15_000 }).toBeGreaterThan(before + 50)
  await brokers[1].start(hands.worker('second again'))
  await expect.poll(() => hands.by.get('second again') ?? 0, { timeout: 15_000 }).toBeGreaterThan(50)
  const ids = await publishing.stop()
  await all(hands, ids)
  expect(hands.overlaps.slice(0, 3)).toEqual([])
}, 60_000)

test('a stripe goes to another process when none of its events is in flight in any channel', async () => {
  const server = new MemoryServer()
  let looks = 0
  const first = await open(server)
  const second = await open(server, 8, { before: (call) => void (call === 'members' && looks++) })
  for (const channel of [orders, payments]) await first.declare(channel)
  const handled: string[] = []
  let release = (): void => undefined
  const opening = new Promise<void>((resolve) => {
    release = resolve
  })
  const worker = (): Consumer =>
    consumer('worker', [orders, payments], { concurrency: 100, lease: 20_000 }).onAny(async (_, { channel }) => {
      if (channel === orders.name) await opening
      handled.push(channel)
    })
  await first.start(worker())
  const inHands = await publish(first, [orders])
  await expect.poll(async () => (await first.describe()).consumers[0]?.inFlight).toBe(inHands.length)
  await second.start(worker())
  await publish(second, [payments])
  // The second one knows which stripes are its own, and has asked for them several times.
  await expect.poll(() => looks, { timeout: 10_000 }).toBeGreaterThan(4)
  const busy = new Set(server.channels.get(orders.name)?.records.map(({ partition }) => partition))
  const owners = [...server.consumerLogs]
    .filter(([consumerLog]) => busy.has(Number(consumerLog.split('/')[2])))
    .map(([consumerLog, { entries }]) => ({ consumerLog, ...fold(entries.map(([, entry]) => entry)) }))
  expect(owners).toHaveLength(2 * busy.size)
  expect(owners.filter(({ released }) => released).map(({ consumerLog }) => consumerLog)).toEqual([])
  expect(new Set(owners.map(({ owner }) => owner)).size).toBe(1)
  expect(handled).toEqual([])
  release()
  await expect.poll(() => handled.length, { timeout: 10_000 }).toBe(2 * inHands.length)
}, 60_000)

test('the keys of a process that dies are taken over, over all channels', async () => {
  const server = new MemoryServer()
  let dead = false
  const first = await open(server, 8, {
    before: () => (dead ? new MillraceError('UNAVAILABLE', 'the process is dead') : undefined),
  })
  const [second, third] = [await open(server), await open(server)]
  for (const channel of [orders, payments]) await first.declare(channel)
  const hands = new Hands()
  const worker = (process: string, gone?: () => boolean): Consumer =>
    hands.worker(process, [orders, payments], gone, 3000)
  await first.start(worker('first', () => dead))
  await second.start(worker('second'))
  await third.start(worker('third'))
  const ids = await publish(second)
  await all(hands, ids)
  for (let turn = 0; turn < 6; turn++) ids.push(...(await publish(second)))
  dead = true
  hands.forget('first')
  for (let turn = 0; turn < 6; turn++) ids.push(...(await publish(second)))
  await all(hands, ids)
  expect(hands.overlaps.slice(0, 3)).toEqual([])
  dead = false
}, 60_000)

test('a channel that is created later, with another number of partitions, joins the other channels of a wildcard', async () => {
  const server = new MemoryServer()
  const [first, second] = [await open(server, 8), await open(server, 12)]
  await first.declare(orders)
  const hands = new Hands()
  await first.start(hands.worker('first', 'shop.*'))
  await second.start(hands.worker('second', 'shop.*'))
  const ids = await publish(first, [orders])
  await all(hands, ids)
  // The numbers of partitions are 8 and 12: keys agree modulo 4.
  for (let turn = 0; turn < 20; turn++) {
    if (turn === 5) await second.declare(payments)
    ids.push(...(await publish(second, turn < 5 ? [orders] : [orders, payments])))
    await sleep(40)
  }
  await all(hands, ids)
  expect(hands.overlaps.slice(0, 3)).toEqual([])
  expect([...hands.by.keys()].sort()).toEqual(['first', 'second'])
}, 60_000)

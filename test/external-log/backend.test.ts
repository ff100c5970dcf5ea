/** A backend's alarms reach people, and emissions that it cannot store are refused while their handler runs. */
import { expect, it } from 'vitest'
import { MillraceError } from '../../src/base/errors.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { Alarm } from '../../src/broker/description.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { BackendListener } from '../../src/external-log/log-backend.ts'
import { consumer, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

class SmallBackend extends MemoryBackend {
  override readonly limits = { batchEvents: 100, entryBytes: 4096 }
  listener: BackendListener | null = null

  listen(listener: BackendListener): void {
    this.listener = listener
  }
}

async function open(onAlarm?: (alarm: Alarm) => void): Promise<{ backend: SmallBackend; broker: ConnectedBroker }> {
  const backend = new SmallBackend(new MemoryServer())
  const engine = await ExternalLogEngine.open({ backend, partitions: 1, onAlarm })
  return { backend, broker: new ConnectedBroker(engine, { source: '/test', random: Math.random }) }
}

it('an alarm of a backend is told once, and is listed until it is over', async () => {
  const told: Alarm[] = []
  const { backend, broker } = await open((alarm) => told.push(alarm))
  backend.listener?.alarm('UNAVAILABLE', 'no connection')
  backend.listener?.alarm('UNAVAILABLE', 'still none')
  expect((await broker.describe()).alarms).toMatchObject([{ code: 'UNAVAILABLE', message: 'no connection' }])
  backend.listener?.cleared('UNAVAILABLE')
  expect((await broker.describe()).alarms).toEqual([])
  backend.listener?.alarm('UNAVAILABLE', 'again')
  expect(told.map(({ message }) => message)).toEqual(['no connection', 'again'])
  await broker.close()
})

it('an emission that is too large for the servers fails its attempt', async () => {
  const { broker } = await open()
  const orders = stream('orders')
  await broker.publish(orders, { type: 'order', data: 1 })
  const worker = consumer('worker', orders, { retry: { attempts: 1 } }).onAny(async (_event, ctx) => {
    await ctx.emit(orders, { type: 'large', data: 'x'.repeat(5000) })
  })
  await broker.start(worker)
  await expect
    .poll(async () => (await broker.deadLetters(worker).list()).map(({ failure }) => failure.code))
    .toEqual(['EVENT_TOO_LARGE'])
  await broker.close()
})

it('a watch that fails is repeated with the next claim', async () => {
  const { backend, broker } = await open()
  const orders = stream('orders')
  await broker.publish(orders, { type: 'order', data: 1 })
  const { watch } = backend
  let failures = 0
  backend.watch = async () => {
    failures++
    throw new MillraceError('UNAVAILABLE', 'no connection')
  }
  const seen: unknown[] = []
  await broker.start(consumer('worker', orders, { lease: 100 }).onAny(({ data }) => void seen.push(data)))
  await expect.poll(() => failures).toBeGreaterThan(0)
  backend.watch = watch
  await expect.poll(() => seen).toEqual([1])
  await broker.channel(orders).remove()
  await broker.close()
})

it('a consumer that has nothing to do writes nothing', async () => {
  const written: string[] = []
  const backend = new MemoryBackend(new MemoryServer(), { before: (call) => void written.push(call) })
  const broker = new ConnectedBroker(await ExternalLogEngine.open({ backend, partitions: 4 }), {
    source: '/test',
    random: Math.random,
  })
  const orders = stream('orders')
  await broker.publish(orders, { type: 'order', data: 1 })
  let handled = 0
  await broker.start(consumer('worker', orders, { lease: 100 }).onAny(() => void handled++))
  await expect.poll(() => handled).toBe(1)
  // Its lease is so short that it says that it lives many times in this time.
  await expect.poll(() => written.filter((call) => call === 'beat').length).toBeGreaterThan(5)
  const before = written.filter((call) => call === 'appendConsumerLog').length
  const beats = written.filter((call) => call === 'beat').length
  await expect.poll(() => written.filter((call) => call === 'beat').length).toBeGreaterThan(beats + 10)
  expect(written.filter((call) => call === 'appendConsumerLog').length).toBe(before)
  await broker.close()
})

it('an event counts as lag until its emissions are stored in their channel', async () => {
  let holding = false
  const faults = {
    before: (call: string) => (holding && call === 'append' ? new MillraceError('UNAVAILABLE', 'not now') : undefined),
  }
  const broker = new ConnectedBroker(
    await ExternalLogEngine.open({ backend: new MemoryBackend(new MemoryServer(), faults), partitions: 1 }),
    {
      source: '/test',
      random: Math.random,
    },
  )
  const [orders, out] = [stream('orders'), stream('out')]
  await broker.declare(orders, out)
  await broker.publish(orders, { type: 'order', data: 1 })
  let handled = 0
  holding = true
  await broker.start(
    consumer('worker', orders).onAny(async (_event, ctx) => {
      await ctx.emit(out, { type: 'out' })
      handled++
    }),
  )
  await expect.poll(() => handled).toBe(1)
  const lag = async () => (await broker.describe()).consumers[0]?.channels[0]?.lag
  await expect.poll(async () => (await broker.describe()).alarms.map(({ code }) => code)).toEqual(['UNAVAILABLE'])
  expect(await lag()).toBe(1)
  holding = false
  await expect.poll(lag).toBe(0)
  expect((await broker.describe()).channels.find(({ name }) => name === 'out')?.next).toBe(1)
  await broker.close()
})

it('an event counts as lag while the entry with its emissions is being written', async () => {
  const backend = new MemoryBackend(new MemoryServer())
  const appendConsumerLog = backend.appendConsumerLog.bind(backend)
  let release = (): void => undefined
  const written = new Promise<void>((resolve) => {
    release = resolve
  })
  backend.appendConsumerLog = async (id, expected, entry) => {
    if (Buffer.from(entry).includes('"emissions"')) await written
    return appendConsumerLog(id, expected, entry)
  }
  const broker = new ConnectedBroker(await ExternalLogEngine.open({ backend, partitions: 1 }), {
    source: '/test',
    random: Math.random,
  })
  const [orders, out] = [stream('orders'), stream('out')]
  await broker.declare(orders, out)
  await broker.publish(orders, { type: 'order', data: 1 })
  let handled = 0
  await broker.start(
    consumer('worker', orders).onAny(async (_event, ctx) => {
      await ctx.emit(out, { type: 'out' })
      handled++
    }),
  )
  const described = async (): Promise<unknown> => {
    const [found] = (await broker.describe()).consumers
    return [handled, found?.inFlight, found?.channels[0]?.lag]
  }
  await expect.poll(described).toEqual([1, 0, 1])
  release()
  await expect.poll(described).toEqual([1, 0, 0])
  await broker.close()
})

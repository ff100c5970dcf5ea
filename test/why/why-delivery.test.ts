/** Why an event was not handled: each reason, found in a broker that has it. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { engineOf } from '../../src/broker/engine-of.ts'
import { type Broker, connect, consumer, event, queue, stream } from '../../src/index.ts'
import { type AskedEvent, type DeliveryWhy, OWNER, whyDelivery } from '../../src/why/why-delivery.ts'

const Order = event('order', z.object({ total: z.number() }))
const orders = stream('orders', { events: [Order, event('other')], retain: { count: 5 } })
let broker: Broker
/** Ends what the handlers of a test wait for. */
let release: () => void
let held: Promise<void>

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(orders)
  held = new Promise((resolve) => {
    release = resolve
  })
})
afterEach(async () => {
  release()
  await broker.close()
})

const why = (name: string, asked: AskedEvent, channel = 'orders'): Promise<DeliveryWhy> =>
  whyDelivery(engineOf(broker), name, channel, asked)

async function because(name: string, asked: AskedEvent, channel = 'orders'): Promise<string[]> {
  return (await why(name, asked, channel)).reasons.map((reason) => reason.because)
}

const eventually = (name: string, offset: number): ReturnType<typeof expect.poll<string[]>> =>
  expect.poll(() => because(name, { offset }), { timeout: 10_000 })

function order(key: string, total = 1): object {
  return { ...Order({ total }), partitionkey: key }
}

const publish = (...events: object[]): Promise<unknown> => broker.publish('orders', events as never)

test('a handled event is settled, and the answer says that no completion is recorded', async () => {
  await broker.start(consumer('billing', orders).on(Order, () => undefined))
  await publish(order('a'))
  await expect.poll(async () => (await why('billing', { offset: 0 })).standing).toBe('settled')
  const { reasons, notKnown, key, type } = await why('billing', { offset: 0 })
  expect([reasons[0]?.because, key, type]).toEqual(['settled', 'a', 'order'])
  expect(notKnown[0]).toContain('no record')
})

test('the filter: its condition and the value that was found; or the types of its handlers', async () => {
  await broker.start(consumer('large', orders).on(Order.where({ total: [{ numeric: ['>', 100] }] }), () => undefined))
  await publish(order('a', 2), { type: 'other' })
  await eventually('large', 1).toEqual(['filter'])
  const { reasons } = await why('large', { offset: 0 })
  expect(reasons[0]).toMatchObject({
    because: 'filter',
    text: expect.stringContaining('data.total must be > 100; it is 2'),
    facts: { failed: [{ path: 'data.total', expected: '> 100', found: [2], holds: false }] },
  })
  expect((await why('large', { offset: 1 })).reasons[0]?.text).toContain(
    'handles the types order; the event is "other"',
  )
})

test('an event in flight, one behind it of the same key, and one beyond what is handled at once', async () => {
  await broker.start(consumer('slow', orders, { concurrency: 1 }).on(Order, () => held))
  await publish(order('a'), order('a'), order('b'))
  await eventually('slow', 0).toEqual(['in-flight', 'busy'])
  const behind = await why('slow', { offset: 1 })
  expect(behind.reasons[0]).toMatchObject({
    because: 'behind',
    facts: { by: 'delivery', event: { channel: 'orders', offset: 0 }, attempts: 1 },
  })
  expect(await because('slow', { offset: 2 })).toEqual(['behind-others', 'busy'])
})

test('an event that waits for its next attempt, with its error; and the event behind it', async () => {
  const fail = (): never => {
    throw new Error('no bank')
  }
  await broker.start(consumer('flaky', orders, { retry: { attempts: 5, min: '1m', max: '1m' } }).on(Order, fail))
  await publish(order('a'), order('a'))
  await eventually('flaky', 0).toEqual(['retrying'])
  const { reasons, standing } = await why('flaky', { offset: 0 })
  expect(standing).toBe('pending')
  expect(reasons[0]?.facts).toMatchObject({ attempts: 1, failure: { message: 'no bank' } })
  expect((await why('flaky', { offset: 1 })).reasons[0]?.facts).toMatchObject({
    by: 'retry',
    event: { offset: 0 },
    failure: { message: 'no bank' },
  })
})

test('a dead letter, and the events that are parked behind it', async () => {
  const fail = (): never => {
    throw new Error('bad data')
  }
  await broker.start(consumer('strict', orders, { retry: { attempts: 1 } }).on(Order, fail))
  await publish(order('a'), order('a'))
  await eventually('strict', 0).toEqual(['dead-letter'])
  expect((await why('strict', { offset: 0 })).standing).toBe('dead letter')
  await eventually('strict', 1).toEqual(['behind'])
  expect((await why('strict', { offset: 1 })).reasons[0]?.facts).toMatchObject({
    by: 'dead letter',
    event: { offset: 0 },
    attempts: 1,
    failure: { message: 'bad data' },
  })
})

test('dead letters that stop the whole consumer', async () => {
  const fail = (): never => {
    throw new Error('bad data')
  }
  await broker.start(consumer('halting', orders, { retry: { attempts: 1 }, onDead: 'block' }).on(Order, fail))
  await publish(order('a'))
  await eventually('halting', 0).toEqual(['dead-letter'])
  await publish(order('b'))
  await eventually('halting', 1).toEqual(['blocked'])
})

test('a pause with its reason, and a consumer that does not run', async () => {
  const running = await broker.start(consumer('billing', orders).on(Order, () => undefined))
  await broker.consumer('billing').pause({ reason: 'the bank is down' })
  await publish(order('a'))
  const { reasons } = await why('billing', { offset: 0 })
  expect(reasons.map((reason) => reason.because)).toEqual(['next', 'paused'])
  expect(reasons[1]?.text).toContain('the bank is down')
  await running.stop()
  expect(await because('billing', { offset: 0 })).toEqual(['next', 'paused', 'no-instance'])
})

test('an instance that its application has paused', async () => {
  const running = await broker.start(consumer('billing', orders).on(Order, () => undefined))
  running.pause()
  await publish(order('a'))
  expect(await because('billing', { offset: 0 })).toEqual(['next', 'instances-paused'])
})

test('an event before the position from which the consumer began', async () => {
  await publish(order('a'), order('b'))
  await broker.start(consumer('late', orders, { from: 'end' }).on(Order, () => undefined))
  await publish(order('c'))
  const { reasons } = await why('late', { offset: 0 })
  expect(reasons[0]).toMatchObject({ because: 'before-begin', facts: { began: 2 } })
  await eventually('late', 2).toEqual(['settled'])
  await broker.consumer('late').rewind('beginning')
  await eventually('late', 0).toEqual(['settled'])
})

test('an event of a channel that the consumer does not take', async () => {
  await broker.declare(stream('bills'))
  await broker.publish('bills', { type: 'bill' })
  await broker.start(consumer('billing', orders).on(Order, () => undefined))
  const { reasons, standing } = await why('billing', { offset: 0 }, 'bills')
  expect([standing, reasons[0]?.because]).toEqual(['never', 'not-subscribed'])
  expect(reasons[0]?.text).toContain('it takes "orders"')
})

test('events that are not there: not stored yet, removed, delayed, or of an unknown id', async () => {
  await broker.start(consumer('billing', orders).on(Order, () => undefined))
  for (let at = 0; at < 8; at++) await publish(order('a'))
  expect(await because('billing', { offset: 8 })).toEqual(['not-stored'])
  await expect.poll(() => because('billing', { offset: 0 }), { timeout: 10_000 }).toEqual(['removed'])
  await broker.publish('orders', { ...Order({ total: 1 }), id: 'later' } as never, { delay: '1h' })
  expect(await because('billing', { id: 'later' })).toEqual(['delayed'])
  expect(await because('billing', { id: 'nowhere' })).toEqual(['unknown-id'])
  await broker.publish('orders', { ...Order({ total: 1 }), id: 'known' } as never)
  expect((await why('billing', { id: 'known' })).offset).toBe(8)
  await expect(why('nobody', { offset: 0 })).rejects.toMatchObject({ code: 'UNKNOWN_CONSUMER' })
  await expect(why('billing', { offset: 0 }, 'nowhere')).rejects.toMatchObject({ code: 'UNKNOWN_CHANNEL' })
})

test('in a queue, an event that no running consumer handles', async () => {
  const Small = event('small')
  const jobs = queue('jobs', { events: [Small, event('large')] })
  await broker.declare(jobs)
  await broker.start(consumer('worker', jobs).on(Small, () => undefined))
  await broker.publish('jobs', { type: 'large' } as never)
  await expect.poll(() => because('worker', { offset: 0 }, 'jobs'), { timeout: 10_000 }).toEqual(['unmatched'])
})

test('a delivery of the same key in another channel of the consumer; nothing of that channel is said to strangers', async () => {
  const [left, right] = [stream('left'), stream('right')]
  await broker.declare(left, right)
  await broker.start(consumer('both', [left, right]).onAny(() => held))
  await broker.publish('left', { type: 'x', partitionkey: 'k' })
  await expect.poll(() => because('both', { offset: 0 }, 'left'), { timeout: 10_000 }).toEqual(['in-flight'])
  await broker.publish('right', { type: 'x', partitionkey: 'k' })
  await expect.poll(() => because('both', { offset: 0 }, 'right'), { timeout: 10_000 }).toEqual(['behind'])
  expect((await why('both', { offset: 0 }, 'right')).reasons[0]?.facts['event']).toEqual({ channel: 'left', offset: 0 })
  const stranger = await whyDelivery(
    engineOf(broker),
    'both',
    'right',
    { offset: 0 },
    {
      ...OWNER,
      mayRead: (name) => name === 'right',
    },
  )
  expect(JSON.stringify(stranger)).not.toContain('left')
})

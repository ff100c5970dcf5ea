/** With a test library's fake timers the broker continues: only the application's time stands still. */
import { afterEach, expect, test, vi } from 'vitest'
import { connect, consumer, event, stream } from '../../src/index.ts'
import { testBroker } from '../../src/testing/test-broker.ts'

const Paid = event('order.paid')
const orders = stream('orders', { events: [Paid] })
const turn = setImmediate

afterEach(() => {
  vi.useRealTimers()
})

const EVERYTHING = [
  'setTimeout',
  'clearTimeout',
  'setInterval',
  'clearInterval',
  'setImmediate',
  'clearImmediate',
  'Date',
  'performance',
  'hrtime',
] as const
const ALSO_MICROTASKS = [...EVERYTHING, 'queueMicrotask'] as const

test.each([
  ['what Vitest fakes by itself', undefined],
  ['everything but microtasks', EVERYTHING],
  ['everything', ALSO_MICROTASKS],
])('testBroker settles and advances with fake timers: %s', async (_what, toFake) => {
  vi.useFakeTimers(toFake === undefined ? {} : { toFake: [...toFake] })
  const broker = testBroker()
  const seen: number[] = []
  const books = consumer('books', orders, { retry: { attempts: 3, backoff: 'fixed', min: '10m' } }).on(
    Paid,
    async (_event, { attempt }) => {
      await Promise.resolve()
      seen.push(attempt)
      if (attempt < 3) throw new Error('not yet')
    },
  )
  await broker.start(books)
  await broker.publish(orders, Paid(1))
  await broker.settled()
  expect(seen).toEqual([1])
  await broker.advance('20m')
  expect(seen).toEqual([1, 2, 3])
  expect(broker.handled(books)).toHaveLength(1)
  await broker.close()
})

test.each([
  ['what Vitest fakes by itself', undefined],
  ['everything', ALSO_MICROTASKS],
])('memory: publishes, delivers and closes with fake timers: %s', async (_what, toFake) => {
  vi.useFakeTimers(toFake === undefined ? {} : { toFake: [...toFake] })
  const broker = await connect('memory:')
  let seen = 0
  const running = await broker.start(consumer('books', orders).on(Paid, () => void seen++))
  await broker.publish(orders, Paid(1))
  while (seen === 0) await new Promise<void>((resolve) => turn(resolve))
  await running.stop()
  await broker.close()
  expect(seen).toBe(1)
})

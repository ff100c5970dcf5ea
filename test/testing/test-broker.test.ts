import { expect, test } from 'vitest'
import { consumer, event, queue, stream } from '../../src/index.ts'
import { testBroker } from '../../src/testing/test-broker.ts'

const Paid = event('order.paid')
const Reminder = event('reminder')
const orders = stream('orders', { events: [Paid], key: (e) => (e.data as { order: string }).order })
const reminders = queue('reminders', { events: [Reminder] })

test('time stands still until it is moved: a retry ladder of minutes takes no time', async () => {
  const broker = testBroker()
  const attempts: [number, number][] = []
  const books = consumer('books', orders, { retry: { attempts: 3, backoff: 'fixed', min: '10m' } }).on(Paid, (_event, ctx) => {
    attempts.push([ctx.attempt, broker.now.getUTCMinutes()])
    throw new Error('no')
  })
  await broker.start(books)
  await broker.publish(orders, Paid({ order: 'a' }))
  await broker.settled()
  expect(attempts).toEqual([[1, 0]])
  await broker.advance('9m')
  expect(attempts).toHaveLength(1)
  await broker.advance('20m')
  expect(attempts).toEqual([
    [1, 0],
    [2, 10],
    [3, 20],
  ])
  expect(await broker.deadLetters(books).list()).toHaveLength(1)
  await broker.close()
})

test('a delayed event is seen when it is due', async () => {
  const broker = testBroker()
  const worker = consumer('worker', reminders).on(Reminder, () => undefined)
  await broker.start(worker)
  const receipt = await broker.publish(reminders, Reminder({ n: 1 }), { delay: '3d' })
  expect(receipt.offset).toBeNull()
  await broker.advance('2d')
  expect(broker.handled(worker)).toEqual([])
  await broker.advance('25h')
  expect(broker.handled(worker)).toMatchObject([{ data: { n: 1 } }])
  await broker.close()
})

test('a crash between effect and completion runs the handler again, and what it emitted is emitted once', async () => {
  const broker = testBroker({ seed: 7, faults: { crash: 0.5, reorder: true } })
  let effects = 0
  const books = consumer('books', orders, { retry: { attempts: 50 } }).on(Paid, async ({ data }, ctx) => {
    effects++
    await ctx.emit(reminders, Reminder(data))
  })
  await broker.start(books)
  for (let n = 0; n < 100; n++) await broker.publish(orders, Paid({ order: `o-${n % 9}`, n }))
  await broker.settled()
  expect(effects).toBeGreaterThan(130)
  const emitted = (await broker.published(reminders)).map(({ data }) => (data as { n: number }).n)
  expect(emitted.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n))
  await broker.close()
})

test('the same seed does the same', async () => {
  const run = async (seed: number): Promise<number[]> => {
    const broker = testBroker({ seed, faults: { redeliver: 0.3, reorder: true } })
    const order: number[] = []
    await broker.start(consumer('c', orders).on(Paid, ({ data }) => void order.push((data as { n: number }).n)))
    await broker.publish(
      orders,
      Array.from({ length: 40 }, (_, n) => Paid({ order: `o-${n}`, n })),
    )
    await broker.settled()
    await broker.close()
    return order
  }
  expect(await run(3)).toEqual(await run(3))
  expect(await run(3)).not.toEqual(await run(4))
})

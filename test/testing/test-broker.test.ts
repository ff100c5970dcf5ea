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
  const books = consumer('books', orders, { retry: { attempts: 3, backoff: 'fixed', min: '10m' } }).on(
    Paid,
    (_event, ctx) => {
      attempts.push([ctx.attempt, broker.now.getUTCMinutes()])
      throw new Error('no')
    },
  )
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

test('a batch that waits for more settles, and is handled when its wait is over', async () => {
  const broker = testBroker()
  const batches: number[] = []
  await broker.start(
    consumer('batches', orders).onBatch(Paid, { size: 10, wait: '5m' }, (events) => void batches.push(events.length)),
  )
  await broker.publish(orders, [Paid({ order: 'a' }), Paid({ order: 'b' })])
  await broker.settled()
  expect(batches).toEqual([])
  await broker.advance('4m')
  expect(batches).toEqual([])
  await broker.publish(orders, Paid({ order: 'c' }))
  await broker.advance('2m')
  expect(batches).toEqual([3])
  await broker.close()
})

test('a batch that waits for a day keeps its lease', async () => {
  const broker = testBroker()
  const batches: number[] = []
  const daily = consumer('daily', orders, { lease: '1m' }).onBatch(
    Paid,
    { size: 10, wait: '1d' },
    (events) => void batches.push(events.length),
  )
  await broker.start(daily)
  await broker.publish(orders, Paid({ order: 'a' }))
  await broker.advance('25h')
  expect(batches).toEqual([1])
  expect(broker.handled(daily)).toHaveLength(1)
  await broker.close()
})

// With a renewal every ten seconds this would be three million steps per consumer.
test('a year passes in steps of what is due, however many consumers run', async () => {
  const broker = testBroker()
  const fired: number[] = []
  for (let n = 0; n < 10; n++) await broker.start(consumer(`idle-${n}`, orders).on(Paid, () => undefined))
  await broker.start(consumer('worker', reminders).on(Reminder, () => void fired.push(broker.now.getTime())))
  const start = broker.now.getTime()
  for (let day = 1; day <= 365; day += 7) await broker.publish(reminders, Reminder({ day }), { delay: `${day}d` })
  await broker.advance('365d')
  expect(fired).toEqual(Array.from({ length: 53 }, (_, week) => start + (1 + week * 7) * 86_400_000))
  await broker.close()
})

test('a handler that hangs is ended by its time limit when time passes', async () => {
  const broker = testBroker()
  const attempts: number[] = []
  const slow = consumer('slow', orders, { timeout: '30s', retry: { attempts: 2, backoff: 'fixed', min: '1s' } }).on(
    Paid,
    (_event, ctx) => {
      attempts.push(ctx.attempt)
      return new Promise<void>((_resolve, reject) =>
        ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason as Error)),
      )
    },
  )
  await broker.start(slow)
  await broker.publish(orders, Paid({ order: 'a' }))
  await broker.advance('2m')
  expect(attempts).toEqual([1, 2])
  expect(await broker.deadLetters(slow).list()).toMatchObject([{ attempts: 2 }])
  await broker.close()
})

test("events have the broker's time, unless they say their own: published, delayed and emitted", async () => {
  const broker = testBroker({ start: new Date('2030-06-01T00:00:00Z') })
  await broker.start(
    consumer('c', orders).on(
      Paid,
      async ({ data }, ctx) => void (await ctx.emit(reminders, [Reminder(data), Reminder(data, { id: 'own' })])),
    ),
  )
  const said = { time: '2001-01-01T00:00:00Z' }
  await broker.advance('1d')
  const now = '2030-06-02T00:00:00.000Z'
  await broker.publish(orders, [Paid({ order: 'a' }), Paid({ order: 'b' }, { id: 'b' }), Paid({ order: 'c' }, said)])
  await broker.publish('orders', { type: 'order.paid', data: { order: 'd' } })
  await broker.settled()
  expect((await broker.published(orders)).map(({ time }) => time)).toEqual([now, now, said.time, now])
  expect(new Set((await broker.published(reminders)).map(({ time }) => time))).toEqual(new Set([now]))
  await broker.close()
})

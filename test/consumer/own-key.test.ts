/** A consumer's own key in the consumer room: what the function gets, what is refused, and what people see of it. */
import { afterEach, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { Broker } from '../../src/broker/broker.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import { connect, consumer, event, queue, stream } from '../../src/index.ts'
import { whyDelivery } from '../../src/why/why-delivery.ts'

const Placed = event('order.placed', z.object({ order: z.string(), show: z.string().default('none') }))
const Paid = event('order.paid', z.object({ show: z.string() }))
const orders = stream('orders', { events: [Placed], key: (e) => e.data.order })
const payments = stream('payments', { events: [Paid] })

let open: Broker | null = null
afterEach(async () => {
  await open?.close()
  open = null
})

async function connected(): Promise<Broker> {
  open = await connect('memory:')
  return open
}

test('the function gets the event as a handler does: decoded by its schema', async () => {
  const broker = await connected()
  const keys: (string | null)[] = []
  await broker.start(
    consumer('seats', [orders, payments], {
      key: (e) => {
        expectTypeOf(e.data.show).toEqualTypeOf<string>()
        return e.data.show
      },
    })
      .on(Placed, (_, ctx) => void keys.push(ctx.key))
      .on(Paid, (_, ctx) => void keys.push(ctx.key)),
  )
  await broker.publish(orders, Placed({ order: '1' }))
  await broker.publish(payments, Paid({ show: 's' }))
  await expect.poll(() => keys).toEqual(['none', 's'])
})

const Taken = event('seat.taken', z.object({ performance: z.string() }))
const TakenNow = Taken.nextVersion(2, z.object({ show: z.string() }), ({ performance }) => ({ show: performance }))

test('the function gets an event of an earlier version in the newest one', async () => {
  const broker = await connected()
  const seats = stream('seats', { events: [Taken] })
  await broker.publish(seats, Taken({ performance: 'p' }))
  const keys: (string | null)[] = []
  await broker.start(
    consumer('hall', 'seats', { key: (e) => (e.data as { readonly show: string }).show }).on(
      TakenNow,
      (_, ctx) => void keys.push(ctx.key),
    ),
  )
  await expect.poll(() => keys).toEqual(['p'])
})

test('an event in a version that the instance does not know waits for one that does, and is not given up', async () => {
  const broker = await connected()
  await broker.publish(stream('seats', { events: [TakenNow] }), TakenNow({ show: 's' }))
  const key = (e: { readonly data: unknown }): string => (e.data as { readonly performance: string }).performance.trim()
  const old = await broker.start(consumer('hall', 'seats', { key }).on(Taken, () => undefined))
  await expect.poll(async () => (await broker.describe()).alarms.map(({ code }) => code)).toEqual(['UNKNOWN_VERSION'])
  expect((await broker.consumer('hall').describe()).deadLetters).toBe(0)
  const keys: (string | null)[] = []
  await broker.start(
    consumer('hall', 'seats', { key: (e) => (e.data as { readonly show: string }).show }).on(
      TakenNow,
      (_, ctx) => void keys.push(ctx.key),
    ),
  )
  await old.stop()
  await expect.poll(() => keys).toHaveLength(1)
})

test('an event that does not satisfy its schema becomes a dead letter, as without a key', async () => {
  const broker = await connected()
  await broker.declare(stream('orders', { key: 'data.order' }))
  await broker.publish('orders', {
    type: 'order.placed',
    id: '1',
    time: new Date().toISOString(),
    data: { order: 'a', show: 5 },
  } as never)
  await broker.start(consumer('seats', 'orders', { key: () => 'k' }).on(Placed, () => undefined))
  await expect
    .poll(async () => (await broker.deadLetters('seats').list()).map(({ failure }) => failure.code))
    .toEqual(['SCHEMA_MISMATCH'])
})

test('what waits for an earlier event of its own key is explained by it', async () => {
  const broker = await connected()
  await broker.start(
    consumer('seats', orders, { key: (e) => e.data.show, concurrency: 4 }).on(Placed, (_, ctx) => {
      if (ctx.offset === 0) throw ctx.retryAfter('1h')
    }),
  )
  await broker.publish(orders, [Placed({ order: '1', show: 's' }), Placed({ order: '2', show: 's' })])
  await expect.poll(async () => (await broker.consumer('seats').describe()).retrying).toBe(1)
  const why = await whyDelivery(engineOf(broker), 'seats', 'orders', { offset: 1 })
  expect(why.reasons[0]).toMatchObject({ because: 'behind', facts: { event: { channel: 'orders', offset: 0 } } })
})

test('a key that is no function is refused', () => {
  expect(() => consumer('seats', orders, { key: 'data.show' as never })).toThrow(
    'key of consumer "seats" is a function',
  )
})

test('instances with and without an own key raise an alarm', async () => {
  const broker = await connected()
  const jobs = queue('jobs', { events: [Placed] })
  await broker.start(consumer('seats', jobs, { key: (e) => e.data.show }).on(Placed, () => undefined))
  await broker.start(consumer('seats', jobs).on(Placed, () => undefined))
  const { alarms } = await broker.describe()
  expect(alarms.map(({ code, message }) => [code, message.includes('differ in key')])).toEqual([
    ['CONSUMER_DIFFERS', true],
  ])
})

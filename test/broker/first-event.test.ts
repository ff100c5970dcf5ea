import { expect, test } from 'vitest'
import { z } from 'zod'
import { connect, consumer, event, isMillraceError, queue, stream } from '../../src/index.ts'

const ItemAdded = event('cart.item.added', z.object({ cart: z.string(), sku: z.string(), quantity: z.int() }))
const LowStock = event('stock.low', z.object({ sku: z.string(), left: z.int() }))
const carts = stream('carts', { events: [ItemAdded], key: (e) => e.data.cart })
const restock = queue('restock', { events: [LowStock] })

test('an event is published, handled, and what its handler emits is handled too', async () => {
  const broker = await connect('memory:')
  const handled: unknown[] = []
  const restocked: unknown[] = []
  const stock = consumer('stock', carts).on(ItemAdded, async ({ data }, ctx) => {
    handled.push(data)
    await ctx.emit(restock, LowStock({ sku: data.sku, left: 3 }))
  })
  const buyer = consumer('buyer', restock).on(LowStock, ({ data }) => {
    restocked.push(data)
  })
  const running = [await broker.start(stock), await broker.start(buyer)]
  const receipt = await broker.publish(carts, ItemAdded({ cart: 'c-1', sku: 'tea', quantity: 2 }))
  expect(receipt).toMatchObject({ channel: 'carts', offset: 0, duplicate: false })
  await expect.poll(() => restocked).toEqual([{ sku: 'tea', left: 3 }])
  expect(handled).toEqual([{ cart: 'c-1', sku: 'tea', quantity: 2 }])
  expect(await running[0]?.stop()).toMatchObject({ completed: 1 })
  await broker.close()
})

test('a failing handler is retried, then its event is dead-lettered, redriven and handled', async () => {
  const broker = await connect('memory:')
  let broken = true
  const attempts: number[] = []
  const stock = consumer('stock', carts, { retry: { attempts: 3, min: 1, max: 2 } }).on(ItemAdded, (_event, ctx) => {
    attempts.push(ctx.attempt)
    if (broken) throw new Error('no')
  })
  await broker.start(stock)
  await broker.publish(carts, ItemAdded({ cart: 'c-1', sku: 'tea', quantity: 2 }))
  await broker.publish(carts, ItemAdded({ cart: 'c-1', sku: 'milk', quantity: 1 }))
  await expect
    .poll(() => broker.deadLetters('stock').list())
    .toMatchObject([{ offset: 0, attempts: 3, failure: { message: 'no' }, waiting: 1 }])
  broken = false
  expect(await broker.deadLetters(stock).redrive()).toBe(1)
  await expect.poll(() => attempts).toEqual([1, 2, 3, 1, 1])
  const described = await broker.describe()
  expect(described.consumers).toMatchObject([{ name: 'stock', deadLetters: 0, parked: 0, channels: [{ lag: 0 }] }])
  await broker.close()
})

test('data that its schema refuses is refused at publish, with the issues', async () => {
  const broker = await connect('memory:')
  const wrong = broker.publish(carts, ItemAdded({ cart: 'c-1', sku: 'tea', quantity: 'two' as never }))
  await expect(wrong).rejects.toSatisfy(
    (error) => isMillraceError(error, 'SCHEMA_MISMATCH') && JSON.stringify(error.details).includes('quantity'),
  )
  await broker.close()
})

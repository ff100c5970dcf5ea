/** What must compile and what must not: publishing, consuming, and the events' types that go with them. Never run. */
import { connect, consumer, type EventFilter, event, queue, type StoredEvent, stream } from 'millrace'
import { z } from 'zod'

const ItemAdded = event('cart.item.added', z.object({ cart: z.string(), sku: z.string(), quantity: z.int() }))
const ItemRemoved = event('cart.item.removed', z.object({ cart: z.string(), sku: z.string() }))
const LowStock = event('stock.low', z.object({ sku: z.string(), left: z.int() }))
const Parsed = event('parsed', z.object({ n: z.string().transform(Number) }))
const Untyped = event('untyped')
const Nested = event('nested', z.object({ a: z.object({ b: z.string() }) }))
const Maybe = event('maybe', z.object({ a: z.string().optional() }))
const carts = stream('carts', { events: [ItemAdded, ItemRemoved], key: (e) => e.data.cart })
const restock = queue('restock', { events: [LowStock] })
const anything = stream('anything')

export async function publishing(): Promise<void> {
  const broker = await connect('memory:')
  await broker.publish(carts, ItemAdded({ cart: 'c', sku: 'tea', quantity: 1 }))
  await broker.publish(carts, [
    ItemAdded({ cart: 'c', sku: 'tea', quantity: 1 }),
    ItemRemoved({ cart: 'c', sku: 'tea' }),
  ])
  await broker.publish(anything, { type: 'whatever', data: 1 })
  await broker.publish('by-name', ItemAdded({ cart: 'c', sku: 'tea', quantity: 1 }))

  // @ts-expect-error the channel does not carry it
  await broker.publish(carts, LowStock({ sku: 'tea', left: 1 }))
  // @ts-expect-error one of several is not carried
  await broker.publish(carts, [ItemRemoved({ cart: 'c', sku: 'tea' }), LowStock({ sku: 'tea', left: 1 })])
  // @ts-expect-error a queue carries only its own, too
  await broker.publish(restock, ItemRemoved({ cart: 'c', sku: 'tea' }))
  // @ts-expect-error a field is missing
  ItemAdded({ cart: 'c', sku: 'tea' })
  // @ts-expect-error a field is of another type
  ItemAdded({ cart: 'c', sku: 'tea', quantity: '1' })
  // @ts-expect-error there is no such field
  ItemAdded({ cart: 'c', sku: 'tea', quantity: 1, colour: 'green' })
  // @ts-expect-error there is no such attribute
  ItemAdded({ cart: 'c', sku: 'tea', quantity: 1 }, { keys: 'x' })
  // @ts-expect-error an event without a type
  await broker.publish(anything, { data: 1 })
  // @ts-expect-error delay is a duration
  await broker.publish(carts, ItemRemoved({ cart: 'c', sku: 'tea' }), { delay: 'soon' })

  const receipt = await broker.publish(carts, ItemRemoved({ cart: 'c', sku: 'tea' }))
  if (receipt.offset === null) receipt.dueAtMs satisfies number
  else receipt.offset satisfies number
  // @ts-expect-error an event whose id waits for its time has no offset
  receipt.offset satisfies number
  const scheduled = await broker.publish(carts, ItemRemoved({ cart: 'c', sku: 'tea' }), { delay: '1m' })
  // @ts-expect-error what is not yet due has no offset
  scheduled.offset satisfies number
}

export async function reading(): Promise<void> {
  const broker = await connect('memory:')
  for await (const read of broker.read(carts)) {
    read.data.sku satisfies string
    read.offset satisfies number
    // @ts-expect-error only one of the channel's events has it
    read.data.quantity satisfies number
    if (read.type === 'cart.item.added') read.data.quantity satisfies number
    // @ts-expect-error the channel carries no such type
    if (read.type === 'stock.low') return
  }
  for await (const read of broker.read('by-name')) {
    // @ts-expect-error of an unknown channel nothing is known
    read.data.sku satisfies string
    read satisfies StoredEvent
  }
}

export const handled = consumer('stock', carts)
  .on(ItemAdded, async ({ data, offset }, ctx) => {
    data.quantity satisfies number
    offset satisfies number
    // @ts-expect-error the event has no such field
    data.left satisfies number
    await ctx.emit(restock, LowStock({ sku: data.sku, left: 1 }))
    // @ts-expect-error the channel does not carry what is emitted
    await ctx.emit(restock, ItemRemoved({ cart: data.cart, sku: data.sku }))
  })
  .on(ItemRemoved, ({ data }) => {
    // @ts-expect-error it is in the other event
    data.quantity satisfies number
  })
  // @ts-expect-error the consumer's channel does not carry it
  .on(LowStock, () => undefined)

consumer('several', [carts, restock]).on(LowStock, ({ data }) => data.left satisfies number)
consumer('wide', 'orders.*').on(LowStock, ({ data }) => data.left satisfies number)
// A handler gets the schema's output, a producer gives its input.
consumer('parsed', stream('p', { events: [Parsed] })).on(Parsed, ({ data }) => data.n satisfies number)
Parsed({ n: '1' })
// @ts-expect-error the output is not the input
Parsed({ n: 1 })
Untyped({ any: ['thing'] })
consumer('untyped', stream('u', { events: [Untyped] })).on(Untyped, ({ data }) => {
  // @ts-expect-error nothing is known of it
  data.any satisfies unknown
})
// @ts-expect-error concurrency is a number
consumer('x', carts, { concurrency: '8' })
// @ts-expect-error there is no such option
consumer('x', carts, { retries: 8 })
// @ts-expect-error a queue keeps nothing
queue('q', { retain: { age: '1d' } })
// @ts-expect-error the key is of the event's own fields
stream('s', { events: [ItemAdded], key: (e) => e.data.customer })

ItemAdded.where({ quantity: [1] }) satisfies EventFilter<'cart.item.added'>
consumer('batch', carts).onBatch(ItemAdded, { size: 10 }, (events) => {
  events[0]?.data.quantity satisfies number | undefined
  return undefined
})
// @ts-expect-error a batch has a size
consumer('batch', carts).onBatch(ItemAdded, {}, () => undefined)

export function keys(): void {
  stream('keyed', { events: [ItemAdded, ItemRemoved], key: 'data.cart' })
  stream('keyed', { events: [ItemAdded], key: 'data.quantity' })
  queue('keyed', { events: [LowStock], key: 'data.sku' })
  stream('keyed', { events: [ItemAdded], key: 'subject' })
  stream('keyed', { events: [ItemAdded], key: 'tenant' })
  stream('keyed', { events: [ItemAdded], key: false })
  stream('keyed', { events: [Untyped], key: 'data.anything.at.all' })
  stream('keyed', { key: 'data.anything' })
  stream('keyed', { events: [Nested], key: 'data.a.b' })

  // @ts-expect-error there is no such member
  stream('keyed', { events: [ItemAdded], key: 'data.carts' })
  // @ts-expect-error not every event has it
  stream('keyed', { events: [ItemAdded, ItemRemoved], key: 'data.quantity' })
  // @ts-expect-error it may be absent
  stream('keyed', { events: [Maybe], key: 'data.a' })
  // @ts-expect-error an object is no key
  stream('keyed', { events: [Nested], key: 'data.a' })
  // @ts-expect-error true is no key
  stream('keyed', { key: true })
}

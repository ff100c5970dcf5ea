/** Keeps count of the stock, and orders more before it runs out. */
import { type Broker, consumer, type Running } from 'millrace'
import { CATALOGUE } from '../catalogue.ts'
import { carts, Delivered, deliveries, ItemAdded, ItemRemoved, StockChanged, stock } from '../events.ts'
import { latest } from '../latest.ts'

const REORDER_BELOW = 5
const REORDER_QUANTITY = 24

interface Shelf {
  readonly left: number
  readonly onOrder: boolean
}

export async function startInventory(broker: Broker): Promise<Running> {
  const shelves = new Map<string, Shelf>(CATALOGUE.map(({ sku, stock: left }) => [sku, { left, onOrder: false }]))
  for (const [sku, { data }] of await latest(broker, stock, (event) => event.data.sku)) shelves.set(sku, data)

  // One at a time: the carts are independent of each other, but all take from the same stock.
  const inventory = consumer('inventory', [carts, deliveries], { concurrency: 1 })
    .on(ItemAdded, async ({ data: { sku, quantity } }, ctx) => {
      const { left, onOrder } = shelfOf(sku)
      const low = left - quantity < REORDER_BELOW && !onOrder
      const next = { left: left - quantity, onOrder: onOrder || low }
      await ctx.emit(stock, StockChanged({ sku, change: -quantity, reason: 'added', ...next }))
      if (low) await ctx.emit(deliveries, Delivered({ sku, quantity: REORDER_QUANTITY }), { delay: '12s' })
      shelves.set(sku, next)
    })
    .on(ItemRemoved, async ({ data: { sku, quantity } }, ctx) => {
      const { left, onOrder } = shelfOf(sku)
      const next = { left: left + quantity, onOrder }
      await ctx.emit(stock, StockChanged({ sku, change: quantity, reason: 'removed', ...next }))
      shelves.set(sku, next)
    })
    .on(Delivered, async ({ data: { sku, quantity } }, ctx) => {
      const next = { left: shelfOf(sku).left + quantity, onOrder: false }
      await ctx.emit(stock, StockChanged({ sku, change: quantity, reason: 'delivered', ...next }))
      shelves.set(sku, next)
    })
  return broker.start(inventory)

  function shelfOf(sku: string): Shelf {
    return shelves.get(sku) ?? { left: 0, onOrder: false }
  }
}

/** Knows the content and the price of each cart, and turns it into an order at checkout. */
import { type Broker, consumer, type Running } from 'millrace'
import { ARTICLES } from '../catalogue.ts'
import { CartPriced, CheckedOut, carts, ItemAdded, ItemRemoved, OrderPlaced, orders, prices } from '../events.ts'
import { latest } from '../latest.ts'

const FREE_SHIPPING_FROM_CENTS = 4000
const SHIPPING_CENTS = 490

type Quantities = ReadonlyMap<string, number>

export async function startPricing(broker: Broker): Promise<Running> {
  const baskets = new Map<string, Quantities>()
  for (const [cart, { data }] of await latest(broker, prices, (event) => event.data.cart)) {
    baskets.set(cart, new Map(data.lines.map((line) => [line.sku, line.quantity])))
  }

  // The channel's key is the cart, so events of one cart come one at a time and in order, and different carts in
  // parallel.
  const pricing = consumer('pricing', carts)
    .on(ItemAdded, async ({ data: { cart, sku, quantity } }, ctx) => {
      const next = changed(baskets.get(cart), sku, quantity)
      await ctx.emit(prices, CartPriced({ cart, ...priced(next) }))
      baskets.set(cart, next)
    })
    .on(ItemRemoved, async ({ data: { cart, sku, quantity } }, ctx) => {
      const next = changed(baskets.get(cart), sku, -quantity)
      await ctx.emit(prices, CartPriced({ cart, ...priced(next) }))
      baskets.set(cart, next)
    })
    .on(CheckedOut, async ({ id, data: { cart, email } }, ctx) => {
      const { lines, totalCents } = priced(baskets.get(cart) ?? new Map())
      if (lines.length === 0) return
      await ctx.emit(orders, OrderPlaced({ order: `o-${id.slice(-8)}`, cart, email, lines, totalCents }))
      await ctx.emit(prices, CartPriced({ cart, ...priced(new Map()) }))
      baskets.delete(cart)
    })
  return broker.start(pricing)
}

function changed(basket: Quantities | undefined, sku: string, by: number): Quantities {
  const next = new Map(basket)
  const quantity = Math.min(99, Math.max(0, (next.get(sku) ?? 0) + by))
  if (quantity === 0) next.delete(sku)
  else next.set(sku, quantity)
  return next
}

function priced(basket: Quantities): Omit<Parameters<typeof CartPriced>[0], 'cart'> {
  const lines = [...basket].flatMap(([sku, quantity]) => {
    const article = ARTICLES.get(sku)
    return article === undefined
      ? []
      : [{ sku, name: article.name, quantity, unitCents: article.cents, totalCents: article.cents * quantity }]
  })
  const sum = lines.reduce((cents, line) => cents + line.totalCents, 0)
  const discountCents = lines.reduce(
    (cents, line) =>
      cents + (ARTICLES.get(line.sku)?.bulk && line.quantity >= 3 ? Math.round(line.totalCents / 10) : 0),
    0,
  )
  const shippingCents = lines.length === 0 || sum - discountCents >= FREE_SHIPPING_FROM_CENTS ? 0 : SHIPPING_CENTS
  return { lines, discountCents, shippingCents, totalCents: sum - discountCents + shippingCents }
}

/**
 * The events of the shop and the channels that carry them. Producers and consumers import this file, and nothing from
 * each other.
 */
import { event, queue, stream } from 'millrace'
import { z } from 'zod'

const cart = z.string().min(1).max(60)
const sku = z.string().min(1).max(60)
const quantity = z.int().min(1).max(99)
const line = z.object({ sku, name: z.string(), quantity, unitCents: z.int(), totalCents: z.int() })

/** What a visitor does. The storefront page publishes it over HTTP. */
export const ItemAdded = event('cart.item.added', z.object({ cart, sku, quantity }))
export const ItemRemoved = event('cart.item.removed', z.object({ cart, sku, quantity }))
export const CheckedOut = event('cart.checked-out', z.object({ cart, email: z.email() }))
export const carts = stream('carts', {
  events: [ItemAdded, ItemRemoved, CheckedOut],
  key: (e) => e.data.cart,
  retain: { age: '30d' },
})

/** How many of an article are in stock, and whether more were ordered. */
export const StockChanged = event(
  'stock.changed',
  z.object({
    sku,
    change: z.int(),
    left: z.int(),
    onOrder: z.boolean(),
    reason: z.enum(['added', 'removed', 'delivered']),
  }),
)
export const stock = stream('stock', { events: [StockChanged], key: (e) => e.data.sku, retain: { latestByKey: true } })

/** Goods from the mill: published with a delay when they are ordered. */
export const Delivered = event('stock.delivered', z.object({ sku, quantity: z.int().min(1) }))
export const deliveries = queue('deliveries', { events: [Delivered], key: (e) => e.data.sku })

/** The current price of a cart. */
export const CartPriced = event(
  'cart.priced',
  z.object({ cart, lines: z.array(line), discountCents: z.int(), shippingCents: z.int(), totalCents: z.int() }),
)
export const prices = stream('prices', {
  events: [CartPriced],
  key: (e) => e.data.cart,
  retain: { latestByKey: true, age: '30d' },
})

/** The life of an order. */
const order = z.string().min(1)
export const OrderPlaced = event(
  'order.placed',
  z.object({ order, cart, email: z.email(), lines: z.array(line), totalCents: z.int() }),
)
export const OrderPacked = event('order.packed', z.object({ order, cart, parcels: z.int() }))
export const OrderShipped = event('order.shipped', z.object({ order, cart, tracking: z.string() }))
export const orders = stream('orders', { events: [OrderPlaced, OrderPacked, OrderShipped], key: (e) => e.data.order })

/** Mail to be sent: a queue, so each goes to one worker and is removed when it is done. */
export const MailRequested = event(
  'mail.requested',
  z.object({ to: z.email(), template: z.enum(['order-confirmed', 'order-shipped']), subject: z.string(), order, cart }),
)
export const mail = queue('mail', { events: [MailRequested] })

/** Mail that was sent, with the number of attempts. */
export const MailSent = event(
  'mail.sent',
  z.object({ to: z.email(), template: z.string(), subject: z.string(), order, cart, attempts: z.int() }),
)
export const letters = stream('letters', { events: [MailSent], key: (e) => e.data.order })

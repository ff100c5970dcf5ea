/** Packs and ships orders, and lets the customer know. */
import { setTimeout as wait } from 'node:timers/promises'
import { type Broker, consumer, type Running } from 'millrace'
import { MailRequested, mail, OrderPacked, OrderPlaced, OrderShipped, orders } from '../events.ts'

/** It has no state of its own: the event contains everything that it needs. */
export function startFulfilment(broker: Broker): Promise<Running> {
  const fulfilment = consumer('fulfilment', orders, { concurrency: 4 }).on(
    OrderPlaced,
    async ({ data: { order, cart, email, lines } }, ctx) => {
      await wait(600, undefined, { signal: ctx.signal })
      const parcels = Math.ceil(lines.reduce((sum, line) => sum + line.quantity, 0) / 10)
      await ctx.emit(orders, OrderPacked({ order, cart, parcels }))
      await ctx.emit(
        mail,
        MailRequested({
          to: email,
          template: 'order-confirmed',
          subject: `We are packing your order ${order}`,
          order,
          cart,
        }),
      )
      // The parcel is shipped a little later.
      const tracking = `MR${order.slice(2).toUpperCase()}`
      await ctx.emit(orders, OrderShipped({ order, cart, tracking }), { delay: '4s' })
      await ctx.emit(
        mail,
        MailRequested({
          to: email,
          template: 'order-shipped',
          subject: `Your order ${order} is on its way`,
          order,
          cart,
        }),
        { delay: '4s' },
      )
    },
  )
  return broker.start(fulfilment)
}

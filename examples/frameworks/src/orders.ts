/** What the examples share: an order, the mail about it, and the consumer that sends the mail. */
import { consumer, event, stream } from 'millrace'
import { z } from 'zod'

export const OrderPlaced = event('order.placed', z.object({ order: z.string(), email: z.email(), cents: z.int() }))
export const MailSent = event('mail.sent', z.object({ order: z.string(), to: z.string() }))

export const orders = stream('orders', { events: [OrderPlaced], key: 'data.order', retain: { age: '30d' } })
export const mails = stream('mails', { events: [MailSent], key: 'data.order', retain: { age: '30d' } })

export const mailer = consumer('mailer', orders, { concurrency: 16 }).on(OrderPlaced, async ({ data }, ctx) => {
  // Send the mail here. What is emitted is stored together with the completion of the order's event.
  await ctx.emit(mails, MailSent({ order: data.order, to: data.email }))
})

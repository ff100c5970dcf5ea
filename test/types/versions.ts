/** Versions: handlers get the newest, and an upcast goes from the output of one to the input of the next. */
import { consumer, event, stream } from 'millrace'
import { z } from 'zod'

const First = event('order.paid', z.object({ order: z.string(), at: z.coerce.date(), euros: z.number() }))
const Paid = First.nextVersion(2, z.object({ order: z.string(), cents: z.coerce.number() }), ({ order, at, euros }) => {
  at satisfies Date
  return { order, cents: `${euros * 100}` }
}).nextVersion(3, z.object({ id: z.string(), cents: z.int().optional() }), ({ order, cents }) => {
  cents satisfies number
  return { id: order }
})
const payments = stream('payments', { events: [Paid] })

export function right(): void {
  Paid({ id: 'o-1', cents: 5 }).type satisfies 'order.paid'
  consumer('ledger', payments).on(Paid, ({ data }) => {
    data.cents satisfies number | undefined
    data.id satisfies string
  })
  Paid.where({ cents: [{ numeric: ['>', 5] }] })
  event('order.paid', z.object({ order: z.string() }), { version: 4 }).version satisfies number
}

export function wrong(): void {
  // @ts-expect-error a producer gives the newest version
  Paid({ order: 'o-1', cents: 5 })
  consumer('ledger', payments).on(Paid, ({ data }) => {
    // @ts-expect-error a handler gets the newest version
    data.order satisfies string
  })
  // @ts-expect-error the result is not the input of the new version
  First.nextVersion(2, z.object({ cents: z.number() }), ({ euros }) => ({ cents: String(euros) }))
  // @ts-expect-error the version before has no such member
  First.nextVersion(2, z.object({ cents: z.number() }), ({ dollars }) => ({ cents: dollars }))
  // @ts-expect-error an upcast returns the data itself
  First.nextVersion(2, z.object({ cents: z.number() }), async ({ euros }) => ({ cents: euros }))
}

/**
 * An event that a channel does not carry, published or handled: the error names it, and the event that was probably
 * meant.
 */
import { afterEach, expect, it } from 'vitest'
import { type Broker, connect, consumer, event, stream } from '../../src/index.ts'

const Placed = event('order.placed')
const Paid = event('order.paid')
const Plcaed = event('order.plcaed')
const Unlike = event('weather.changed')
const orders = stream('orders', { events: [Placed, Paid] })
const refunds = stream('refunds', { events: [event('refund.asked')] })

let broker: Broker | undefined
afterEach(() => broker?.close())

const said = async (attempt: () => unknown): Promise<string> => {
  try {
    await attempt()
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as Error).message}`
  }
  return 'nothing'
}

it('a handler for an unknown type is refused with the nearest name in all channels, or with some names', async () => {
  const on = (given: unknown): Promise<string> =>
    said(() => consumer('books', [orders, refunds]).on(given as typeof Placed, () => undefined))
  expect(await on(Plcaed)).toBe(
    'TYPE_NOT_CARRIED consumer "books" has a handler for "order.plcaed", which none of its channels carries: did you mean "order.placed"?',
  )
  expect(await on(Unlike)).toMatch(/"weather\.changed".*: use one of order\.paid, order\.placed, refund\.asked$/)
  expect(await on('order.placed')).toMatch(/takes an event definition.*this is "order\.placed"$/)
})

it('an event of an unknown type is refused with the nearest name, or with some names', async () => {
  const here = await connect('memory:')
  broker = here
  await here.declare(orders)
  const publish = (given: unknown, to: unknown = orders): Promise<string> =>
    said(() => here.publish(to as typeof orders, given as never))
  expect(await publish(Plcaed({}))).toBe(
    'TYPE_NOT_CARRIED channel "orders" does not carry "order.plcaed": did you mean "order.placed"?',
  )
  expect(await publish({ type: 'weather.changed' }, 'orders')).toMatch(
    /"weather\.changed": use one of order\.paid, order\.placed$/,
  )
  expect(await publish(Placed)).toBe(
    'INVALID_EVENT an event for channel "orders" must be an object; this is the definition of "order.placed": call it with the event\'s data',
  )
  expect(await publish('order.placed')).toMatch(/must be an object; this is "order\.placed"$/)
})

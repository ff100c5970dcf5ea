/** Handles of a channel keep the types of its events; those that go by name have any event. */
import { type Broker, type ChannelHandle, type ConsumerHandle, event, queue, stream } from 'millrace'
import { z } from 'zod'

const Placed = event('order.placed', z.object({ order: z.string(), cents: z.coerce.number() }))
const Paid = event('order.paid', z.object({ order: z.string() }))
const orders = stream('orders', { events: [Placed, Paid] })
const jobs = queue('jobs')
declare const broker: Broker

export async function right(): Promise<void> {
  const channel: ChannelHandle<typeof orders> = broker.channel(orders)
  for await (const each of channel.read({ from: '1h' })) {
    each.type satisfies 'order.placed' | 'order.paid'
    if (each.type === 'order.placed') each.data.cents satisfies number
  }
  for await (const each of broker.channel('orders').read()) each.data satisfies unknown
  for await (const each of broker.channel(jobs).read()) each.data satisfies unknown
  const { first, next } = await channel.bounds()
  first satisfies number
  next satisfies number
  const { bytes, rate } = await channel.describe()
  bytes satisfies number | null
  rate satisfies number
  const stock: ConsumerHandle = broker.consumer('stock')
  await stock.rewind({ offset: 7 }, { channel: orders })
  await stock.pause({ reason: 'the bank is down' })
  await stock.deadLetters.redrive({ key: 'a' })
  const { channels, pause } = await broker.consumer({ name: 'stock' }).describe()
  channels.map(({ lag }) => lag) satisfies number[]
  pause?.reason satisfies string | null | undefined
}

export async function wrong(): Promise<void> {
  for await (const each of broker.channel(orders).read()) {
    // @ts-expect-error not a type that the channel carries
    each.type satisfies 'order.lost'
    // @ts-expect-error an order that is paid has no sum
    each.data.cents satisfies number
  }
  // @ts-expect-error a channel is given by its name or its definition
  broker.channel({ name: 'orders' })
  // @ts-expect-error the number of delayed events comes with describe() of the broker
  void (await broker.channel(orders).describe()).scheduled
  // @ts-expect-error an offset or a duration: a number does not say which
  await broker.consumer('stock').rewind(7)
  // @ts-expect-error
  await broker.consumer('stock').pause('the bank is down')
  // @ts-expect-error
  await broker.consumer('stock').deadLetters.list({ offset: '7' })
}

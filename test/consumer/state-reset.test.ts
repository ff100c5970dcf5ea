import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { type Broker, connect, consumer, event, queue, stream } from '../../src/index.ts'

const Came = event('came', z.object({ sku: z.string(), count: z.int() }))
const Left = event('left', z.object({ sku: z.string(), count: z.int() }))
const goods = stream('goods', { events: [Came], key: 'data.sku' })

describe.each([
  ['a stream', stream('returns', { events: [Left], key: 'data.sku' })],
  ['a queue', queue('returns', { events: [Left], key: 'data.sku' })],
])('a reset of the state while events of %s are in flight', (_, returns) => {
  let broker: Broker
  beforeEach(async () => {
    broker = await connect('memory:')
  })
  afterEach(() => broker.close())

  it.each([
    ['one channel is rewound', { channel: goods, state: 'reset' }, 97],
    ['all channels are rewound', { state: 'reset' }, 97],
  ] as const)('deletes the state for them too, when %s', async (_of, options, left) => {
    let open = (): void => undefined
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const seen: number[] = []
    const stock = consumer('stock', [goods, returns], {
      state: { schema: z.object({ left: z.int() }), initial: { left: 0 } },
    })
      .on(Came, ({ data }, ctx) => ctx.setState({ left: ctx.state.left + data.count }))
      .on(Left, async ({ data }, ctx) => {
        const { state } = ctx
        seen.push(state.left)
        await gate
        if (!ctx.signal.aborted) ctx.setState({ left: state.left - data.count })
      })
    const value = async (): Promise<unknown> => (await broker.table(stock).get('tea'))?.value
    await broker.start(stock)
    await broker.publish(goods, Came({ sku: 'tea', count: 100 }))
    await vi.waitFor(async () => expect(await value()).toEqual({ left: 100 }))
    await broker.publish(returns, Left({ sku: 'tea', count: 3 }))
    await vi.waitFor(() => expect(seen).toEqual([100]))
    await broker.consumer(stock).rewind('beginning', options)
    open()
    await vi.waitFor(async () => expect(await value()).toEqual({ left }))
    expect(seen).toHaveLength(2)
  })
})

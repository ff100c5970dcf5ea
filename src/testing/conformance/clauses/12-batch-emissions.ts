/** Clause 12, batches: their events complete in the order of their delivery, whichever of them emit. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import { gate, idle, numbers, type Order, orderStream, Placed, placed, placedMany, readAll } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const batchEmissions: readonly Scenario[] = clause(12, {
  'the-events-of-a-batch-emit-in-their-order': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
    const worker = consumer(world.name('worker'), orders).onBatch(
      Placed,
      { size: 10, wait: 20 },
      (events, contexts) => {
        events.forEach(({ data: { order, n } }, at) => {
          for (const part of numbers(3 - (n % 3)))
            void contexts[at]?.emit(out, placed(order, n, { subject: `${part}` }))
        })
      },
    )
    await broker.declare(out)
    await broker.start(worker)
    await broker.publish(orders, placedMany(30))
    await idle(world, broker, worker.name)
    const expected = numbers(30).flatMap((n) => numbers(3 - (n % 3)).map((part) => `${n} ${part}`))
    await world.eventually(async () =>
      assert.deepEqual(
        (await readAll(broker, out)).map(({ data, subject }) => `${(data as Order).n} ${subject}`),
        expected,
      ),
    )
  },

  'a-batch-that-emits-into-a-removed-channel-completes-in-order': async (world) => {
    const broker = await world.connect()
    const [orders, out, gone] = ['orders', 'out', 'gone'].map((name) => orderStream(world.name(name))) as [
      ReturnType<typeof orderStream>,
      ReturnType<typeof orderStream>,
      ReturnType<typeof orderStream>,
    ]
    const [emitted, removed] = [gate(), gate()]
    const options = { size: 10, wait: 20 } as const
    const worker = consumer(world.name('worker'), orders).onBatch(Placed, options, async (events, contexts) => {
      for (const [at, { data }] of events.entries()) {
        const { order, n } = data
        const emit = contexts[at]?.emit
        if (n === 1) await emit?.(gone, placed(order, n))
        await emit?.(out, placed(order, n))
      }
      if (events.some(({ data: { n } }) => n === 1)) {
        emitted.open()
        await removed.opened
      }
    })
    await broker.declare(out)
    await broker.declare(gone)
    await broker.start(worker)
    await broker.publish(orders, placedMany(20))
    await emitted.opened
    await broker.channel(gone).remove()
    removed.open()
    await idle(world, broker, worker.name)
    const stored = async (channel: string): Promise<number[]> =>
      (await readAll(broker, channel)).map(({ data }) => (data as Order).n)
    await world.eventually(async () =>
      assert.deepEqual([await stored(out.name), await stored(gone.name)], [numbers(20), [1]]),
    )
  },
})

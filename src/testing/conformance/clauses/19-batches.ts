/** Clause 19, batches: each event of a batch stores its change, and the next batch sees what the last one stored. */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import type { BatchOptions, StateContext } from '../../../consumer/consumer-types.ts'
import { gate, idle, numbers, orderStream, Placed, placed, placedMany, QUICK, readNs } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { kept, type Recording, type Seen, seen, settledTable } from '../state-fixtures.ts'
import type { World } from '../world.ts'

/** Counts events in batches, and emits for some of them: their completion waits for what they emit. */
async function countsEach(world: World, by: Pick<BatchOptions, 'by'>): Promise<void> {
  const broker = await world.connect()
  const [orders, out] = [orderStream(world.name('orders')), orderStream(world.name('out'))]
  const of = consumer(world.name('worker'), orders, { state: seen }).onBatch(
    Placed,
    { size: 5, wait: 10, ...by },
    async (events, contexts) => {
      for (const [at, { data }] of events.entries()) {
        const { n } = data
        const ctx = contexts[at] as StateContext<Seen>
        ctx.setState({ ns: [...ctx.state.ns, n] })
        for (const _ of numbers(n % 3)) await ctx.emit(out, placed('out', n))
      }
    },
  ) as unknown as Recording
  await broker.declare(out)
  await broker.start(of)
  // Later events come while batches run.
  for (const from of [0, 20, 40]) await broker.publish(orders, placedMany(20, 2, from))
  await settledTable(world, broker, of, 60, 2)
}

export const stateInBatches: readonly Scenario[] = clause(19, {
  'a-batch-in-which-some-events-emit-stores-each-change': (world) => countsEach(world, {}),

  'a-batch-by-key-in-which-some-events-emit-stores-each-change': (world) => countsEach(world, { by: 'key' }),

  'a-batch-that-emits-into-a-removed-channel-stores-each-change': async (world) => {
    const broker = await world.connect()
    const [orders, gone] = [orderStream(world.name('orders')), orderStream(world.name('gone'))]
    const [emitted, removed] = [gate(), gate()]
    const of = consumer(world.name('worker'), orders, { state: seen }).onBatch(
      Placed,
      { size: 4, wait: 10 },
      async (events, contexts) => {
        for (const [at, { data }] of events.entries()) {
          const ctx = contexts[at] as StateContext<Seen>
          ctx.setState({ ns: [...ctx.state.ns, data.n] })
          if (data.n !== 1) continue
          await ctx.emit(gone, placed('gone', data.n))
          emitted.open()
          await removed.opened
        }
      },
    ) as unknown as Recording
    await broker.declare(gone)
    await broker.start(of)
    await broker.publish(orders, placedMany(16, 1))
    await emitted.opened
    await broker.channel(gone).remove()
    removed.open()
    await settledTable(world, broker, of, 16, 1)
    assert.deepEqual(await readNs(broker, gone), [1])
  },

  'an-event-of-a-batch-that-is-given-up-leaves-no-change-behind': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const options = { state: seen, retry: { attempts: 1, ...QUICK }, onDead: 'skip' } as const
    const of = consumer(world.name('worker'), orders, options).onBatch(
      Placed,
      { size: 10, wait: 20 },
      (events, contexts) =>
        events.map(({ data: { n } }, at) => {
          const ctx = contexts[at] as StateContext<Seen>
          ctx.setState({ ns: [...ctx.state.ns, n] })
          return n === 2 ? new Error('never') : undefined
        }),
    ) as unknown as Recording
    await broker.start(of)
    await broker.publish(orders, placedMany(6))
    await idle(world, broker, of.name)
    await world.eventually(async () => assert.deepEqual(await kept(broker, of, 'k0'), [0, 1, 3, 4, 5]))
    assert.deepEqual(
      (await broker.deadLetters(of).list()).map(({ offset }) => offset).length,
      1,
      'the failed one is a dead letter',
    )
  },
})

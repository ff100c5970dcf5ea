/**
 * Clause 12, emissions that cannot be stored: the attempt of their event has failed, and everything that applies to
 * failed attempts applies to it.
 */
import assert from 'node:assert/strict'
import { consumer } from '../../../consumer/consumer.ts'
import type { ConsumerHooks } from '../../../consumer/consumer-types.ts'
import { Calls, gate, idle, orderStream, Placed, placed, QUICK, readAll, unkeyedStream } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const refusedEmissions: readonly Scenario[] = clause(12, {
  'an-emission-to-a-channel-that-was-removed-meanwhile-declares-it-again': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), unkeyedStream(world.name('out'))]
    const [calls, emitted, removed] = [new Calls(), gate(), gate()]
    const worker = consumer(world.name('worker'), orders).on(Placed, async (each, ctx) => {
      calls.add(each, ctx)
      await ctx.emit(out, placed(each.data.order, each.data.n))
      emitted.open()
      await removed.opened
    })
    await broker.declare(out)
    await broker.start(worker)
    await broker.publish(orders, placed('a', 0))
    await emitted.opened
    await broker.channel(out).remove()
    removed.open()
    await idle(world, broker, worker.name)
    // Read by name: reading with the channel object would declare it.
    await world.eventually(async () => assert.equal((await readAll(broker, out.name)).length, 1, 'one emission'))
    assert.deepEqual(calls.ns, [0], 'one attempt')
  },

  'an-emission-that-cannot-be-stored-fails-the-attempt-and-is-told': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), unkeyedStream(world.name('out'))]
    const [calls, emitted, removed] = [new Calls(), gate(), gate()]
    const told: string[] = []
    const on: ConsumerHooks = {
      failed: ({ attempt, failure }) => told.push(`failed ${attempt} ${failure.code}`),
      retried: ({ attempt }) => told.push(`retried ${attempt}`),
      dead: ({ attempt }) => told.push(`dead ${attempt}`),
    }
    const options = { retry: { attempts: 2, ...QUICK }, onDead: 'skip', on } as const
    const worker = consumer(world.name('worker'), orders, options).on(Placed, async (each, ctx) => {
      calls.add(each, ctx)
      if (each.data.n > 0) return
      // Emitted by name only: the channel object would be declared again.
      await ctx.emit(out.name, placed(each.data.order, each.data.n))
      emitted.open()
      await removed.opened
    })
    await broker.declare(out)
    await broker.start(worker)
    const [refused] = await broker.publish(orders, [placed('a', 0), placed('a', 1), placed('b', 2)])
    await emitted.opened
    await broker.channel(out).remove()
    removed.open()
    await world.eventually(() => assert.equal(told.at(-1), 'dead 2'))
    await idle(world, broker, worker.name)
    assert.deepEqual(told, ['failed 1 UNKNOWN_CHANNEL', 'retried 1', 'failed 2 UNKNOWN_CHANNEL', 'dead 2'])
    const [letter, ...others] = await broker.deadLetters(worker).list()
    assert.deepEqual(
      [letter?.offset, letter?.attempts, letter?.failure.code, others],
      [refused?.offset, 2, 'UNKNOWN_CHANNEL', []],
    )
    assert.deepEqual(calls.of('a'), [0, 0, 1], 'what came behind it continues')
  },
})

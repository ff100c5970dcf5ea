/** Stopping, pausing and closing: from outside, and from inside of handlers. */
import { describe, expect, test } from 'vitest'
import { engineOf } from '../../src/broker/engine-of.ts'
import { consumer, type HandlerContext, type Running } from '../../src/index.ts'
import { Gate, Noted, notes, open, turns } from './fixture.ts'

type Stop = () => Promise<unknown>

/** Ways in which the code of a handler comes to call something: it is waited for by the handler in each. */
const WAYS: readonly (readonly [name: string, call: (stop: Stop) => unknown])[] = [
  ['at once', async (stop) => void (await stop())],
  ['returned', (stop) => stop()],
  ['not awaited', (stop) => void stop()],
  ['later', async (stop) => { await turns(); await stop() }], // biome-ignore format: a line each
  ['in a function of a function', async (stop) => { await turns(); await (async () => { await Promise.resolve(); await stop() })() }], // biome-ignore format: a line each
  ['in a then()', (stop) => turns().then(() => stop())],
  ['in Promise.all', async (stop) => void (await Promise.all([turns(), turns().then(() => stop())]))],
  ['in Promise.race', async (stop) => void (await Promise.race([turns().then(() => stop())]))],
  ['in a finally', async (stop) => { try { await turns() } finally { await stop() } }], // biome-ignore format: a line each
  ['twice', async (stop) => { await stop(); await stop() }], // biome-ignore format: a line each
]

describe.each(['running.stop()', 'broker.close()'] as const)('%s inside a handler', (what) => {
  const started = async (
    handle: (stop: Stop, n: number, ctx: HandlerContext) => unknown,
    batch = false,
  ): Promise<ReturnType<typeof open> & { running: Running }> => {
    const bed = open()
    let running: Running | null = null
    const stop: Stop = () => (what === 'broker.close()' ? bed.broker.close() : (running as Running).stop())
    const worker = consumer('worker', notes, { drain: '1h' })
    if (batch)
      worker.onBatch(
        Noted,
        { size: 10 },
        (events, contexts) => handle(stop, events[0]?.data ?? 0, contexts[0] as HandlerContext) as undefined,
      )
    else worker.on(Noted, ({ data }, ctx) => handle(stop, data, ctx))
    running = await bed.broker.start(worker)
    return { ...bed, running }
  }

  test.each(WAYS)('%s does not wait for that handler, and its event is done', async (_name, call) => {
    let ended = false
    const { broker, clock, running } = await started(async (stop) => {
      await call(stop)
      ended = true
    })
    await broker.publish(notes, Noted(1))
    await clock.pass(0)
    for (let wait = 0; wait < 20 && !ended; wait++) await turns()
    expect(ended).toBe(true)
    expect(await running.done).toEqual({ completed: 1, retried: 0, deadLettered: 0, released: 0 })
    await broker.close()
  })

  test.each(WAYS)('%s of a batch does not wait for that handler', async (_name, call) => {
    const { broker, clock, running } = await started(async (stop) => {
      await call(stop)
    }, true)
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(0)
    expect(await running.done).toEqual({ completed: 2, retried: 0, deadLettered: 0, released: 0 })
    await broker.close()
  })

  test('waits for other handlers, and takes no more events', async () => {
    const gate = new Gate()
    const order: string[] = []
    const { broker, clock, running } = await started(async (stop, n) => {
      if (n === 1) {
        await gate.opened
        order.push('other ended')
      } else if (n === 2) {
        await turns()
        await stop()
        order.push('stopped')
      } else order.push('too late')
    })
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(0)
    if (what === 'running.stop()') await broker.publish(notes, Noted(3))
    await clock.pass(60_000)
    expect(order).toEqual([])
    gate.open()
    expect(await running.done).toMatchObject({ completed: 2, released: 0 })
    expect(order).toEqual(['other ended', 'stopped'])
  })

  test('two handlers that stop do not wait for each other', async () => {
    const { broker, clock, running } = await started(async (stop) => {
      await turns()
      await stop()
    })
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(0)
    expect(await running.done).toMatchObject({ completed: 2 })
  })

  test('a caller outside waits for all handlers', async () => {
    const gate = new Gate()
    const { broker, clock, running } = await started(async (stop) => {
      await turns()
      await stop()
      await gate.opened
    })
    await broker.publish(notes, Noted(1))
    await clock.pass(0)
    let outside = false
    const stopped = (what === 'broker.close()' ? broker.close() : running.stop()).then(() => {
      outside = true
    })
    await turns()
    expect(outside).toBe(false)
    gate.open()
    await stopped
    expect(await running.done).toMatchObject({ completed: 1 })
  })
})

describe('a consumer that runs', () => {
  test('takes no events while it is paused, and cannot be resumed after it was stopped', async () => {
    const { broker, clock } = open()
    const [seen, gate] = [[] as number[], new Gate()]
    const running = await broker.start(
      consumer('worker', notes, { concurrency: 1 }).on(Noted, async ({ data }) => {
        seen.push(data)
        if (data === 2) await gate.opened
      }),
    )
    running.pause()
    await broker.publish(notes, [Noted(1), Noted(2), Noted(3)])
    await clock.pass(10)
    expect(seen).toEqual([])
    running.resume()
    await clock.pass(10)
    expect(seen).toEqual([1, 2])
    const stopped = running.stop()
    running.resume()
    gate.open()
    await clock.pass(10)
    expect(await stopped).toMatchObject({ completed: 2, released: 0 })
    expect(seen).toEqual([1, 2])
  })

  test('is stopped once by `await using`, and `done` resolves with the summary of `stop`', async () => {
    const { broker, clock } = open()
    let kept: Running | null = null
    {
      await using running = await broker.start(consumer('worker', notes).on(Noted, () => undefined))
      kept = running
      await broker.publish(notes, Noted(1))
      await clock.pass(10)
    }
    const summary = { completed: 1, retried: 0, deadLettered: 0, released: 0 }
    expect(await kept.done).toEqual(summary)
    expect(await kept.stop()).toEqual(summary)
    expect((await broker.describe()).consumers[0]?.instances).toBe(0)
  })

  test('handles the gathered batch at once when it is stopped', async () => {
    const { broker, clock } = open()
    const batches: number[][] = []
    const running = await broker.start(
      consumer('worker', notes, { concurrency: 100 }).onBatch(Noted, { size: 2, wait: '1h' }, async (events) => {
        await turns()
        batches.push(events.map(({ data }) => data))
      }),
    )
    await broker.publish(notes, [Noted(1), Noted(2), Noted(3), Noted(4), Noted(5)])
    await clock.pass(0)
    expect(await running.stop()).toMatchObject({ completed: 5, released: 0 })
    expect(batches).toEqual([[1, 2], [3, 4], [5]])
  })

  test('rejects `done` and `stop` when its completions could not be made durable', async () => {
    const { broker } = open()
    const engine = engineOf(broker)
    const subscribe = engine.subscribe.bind(engine)
    engine.subscribe = async (spec, sink) => {
      const subscription = await subscribe(spec, sink)
      const close = subscription.close.bind(subscription)
      subscription.close = async () => {
        await close()
        throw new Error('the disk is gone')
      }
      return subscription
    }
    const running = await broker.start(consumer('worker', notes).on(Noted, () => undefined))
    await expect(running.stop()).rejects.toThrow('the disk is gone')
    await expect(running.done).rejects.toThrow('the disk is gone')
  })
})

/** Why publishing is slow: the bound that it has reached, found in a broker that has reached it. */
import { expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import type { PublishLoad } from '../../src/broker/publish-load.ts'
import { connect, stream } from '../../src/index.ts'
import { whyPublish } from '../../src/why/why-publish.ts'

const IDLE: PublishLoad = {
  ...{ storedBy: 'disk', waitingBytes: 0, waitingBytesMax: 1000, underWayMs: null, takesMs: 1, journalFull: false },
}

async function because(...loads: Partial<PublishLoad>[]): Promise<string[]> {
  const engine = {
    publishLoad: async () => loads.map((load) => ({ ...IDLE, ...load })),
    alarms: { all: [], ask: async () => [] },
  } as unknown as Engine
  return (await whyPublish(engine, 'orders')).reasons.map((each) => each.because)
}

test('the bound that is reached is the answer, the nearest first', async () => {
  expect(await because({})).toEqual(['not-slow'])
  expect(await because({ waitingBytes: 1001 })).toEqual(['credit'])
  expect(await because({ takesMs: 80 })).toEqual(['commit'])
  expect(await because({ underWayMs: 5000 })).toEqual(['commit'])
  expect(await because({ journalFull: true, underWayMs: 5000 })).toEqual(['journal', 'commit'])
  expect(await because({ storedBy: 'server', takesMs: 80 }, { takesMs: 70 })).toEqual(['answer', 'commit'])
  expect(await because({ storedBy: 'servers', waitingBytes: 2000, underWayMs: 2000 })).toEqual(['credit', 'answer'])
})

test('a broker answers with what it measures, and an unknown channel is refused', async () => {
  const broker = await connect('memory:')
  const orders = stream('orders')
  await broker.declare(orders)
  const ask = (channel: string): ReturnType<typeof whyPublish> => whyPublish(engineOf(broker), channel)
  await broker.publish(orders, { type: 'order.placed' })
  expect((await ask('orders')).reasons[0]).toMatchObject({
    because: 'not-slow',
    facts: { takesMs: expect.any(Number), waitingBytes: 0 },
  })
  await expect(ask('nothing')).rejects.toMatchObject({ code: 'UNKNOWN_CHANNEL' })

  const text = 'x'.repeat(900_000)
  const publishes = Array.from({ length: Math.ceil(LIMITS.pendingBytesMax / 900_000) + 2 }, () =>
    broker.publish(orders, { type: 'order.placed', data: text }).catch((error: unknown) => error),
  )
  expect((await ask('orders')).reasons[0]).toMatchObject({ because: 'credit' })
  await Promise.all(publishes)
  await broker.close()
})

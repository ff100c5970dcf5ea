/** The limits of a consumer: what is refused, what people see of them, and key functions that fail. */
import { afterEach, expect, test } from 'vitest'
import type { Broker } from '../../src/broker/broker.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import { connect, consumer, event, stream } from '../../src/index.ts'
import { testBroker } from '../../src/testing/index.ts'
import { whyConsumer } from '../../src/why/why-consumer.ts'
import { whyDelivery } from '../../src/why/why-delivery.ts'

const Asked = event('asked')
const asked = stream('asked', { events: [Asked] })

let open: Broker | null = null
afterEach(async () => {
  await open?.close()
  open = null
})

test('an event that a limit holds back, and its consumer, say so', async () => {
  const broker = await connect('memory:')
  open = broker
  const hung: (() => void)[] = []
  await broker.start(
    consumer('slow', asked, {
      limit: { concurrency: 1, key: () => 'one' },
      stall: '50ms',
    }).on(Asked, () => new Promise<void>((resolve) => hung.push(resolve))),
  )
  await broker.publish(asked, [Asked({ n: 0 }), Asked({ n: 1 })])
  await expect.poll(() => hung.length).toBe(1)
  const why = await whyDelivery(engineOf(broker), 'slow', 'asked', { offset: 1 })
  expect(why.reasons[0]).toMatchObject({
    because: 'limited',
    facts: { limit: 'slow~limit', kind: 'concurrency', dueAtMs: null },
  })
  const { reasons } = await whyConsumer(engineOf(broker), 'slow')
  expect(reasons.map(({ because }) => because)).toContain('limited')
  expect(await broker.limits()).toMatchObject([{ name: 'slow~limit', keys: 1, waiting: 1, consumers: ['slow'] }])
  for (const end of hung) end()
  await expect.poll(() => hung.length).toBe(2)
  hung[1]?.()
})

test('waiting for a rate is no stall, and says until when', async () => {
  const broker = testBroker()
  open = broker
  let calls = 0
  const rate = { events: 1, per: '1h' } as const
  await broker.start(consumer('hourly', asked, { rate, stall: '1m' }).on(Asked, () => void calls++))
  await broker.publish(asked, [Asked({ n: 0 }), Asked({ n: 1 })])
  await broker.advance('10m')
  expect(calls).toBe(1)
  expect((await broker.consumer('hourly').describe()).stalled).toBeNull()
  const { reasons } = await whyConsumer(engineOf(broker), 'hourly')
  expect(reasons.find(({ because }) => because === 'limited')?.text).toMatch(/"hourly~rate".*until 2026-01-01T01:00:00/)
  await broker.advance('50m')
  expect(calls).toBe(2)
})

test('events for which the key function of a limit fails count as one key, and an alarm says so', async () => {
  const broker = testBroker()
  open = broker
  let running = 0
  let most = 0
  const key = ({ data }: { readonly data: unknown }): string => {
    const { n } = data as { readonly n: number }
    if (n < 4) throw new Error('no tenant')
    return String(n)
  }
  await broker.start(
    consumer('worker', asked, { limit: { concurrency: 1, key } }).on(Asked, async () => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
    }),
  )
  await broker.publish(
    asked,
    [0, 1, 2, 3].map((n) => Asked({ n })),
  )
  await broker.settled()
  expect(most).toBe(1)
  expect((await broker.describe()).alarms.map(({ code }) => code)).toEqual(['LIMIT_KEY_FAILED'])
  expect((await broker.consumer('worker').describe()).channels[0]?.lag).toBe(0)
})

test('a limit of another kind under the same name is refused', async () => {
  const broker = testBroker()
  open = broker
  await broker.start(consumer('a', asked, { limit: { concurrency: 1, share: 'x' } }).on(Asked, () => undefined))
  const other = consumer('b', asked, { rate: { events: 1, per: '1s', share: 'x' } }).on(Asked, () => undefined)
  await expect(broker.start(other)).rejects.toThrow('limit "x" is a rate limit of consumer "b"')
})

test('options without a meaning are refused', () => {
  const made = (options: object): unknown => consumer('worker', asked, options)
  expect(() => made({ limit: { concurrency: 0 } })).toThrow('limit.concurrency')
  expect(() => made({ limit: { concurrency: 1, per: '1s' } })).toThrow('per')
  expect(() => made({ limit: [] })).toThrow('1 to 3')
  expect(() => made({ rate: { events: 1 } })).toThrow('rate.per')
  expect(() => made({ rate: { events: 2, per: '1s', burst: 3 } })).toThrow('rate.burst')
  expect(() => made({ rate: { events: 2, per: '1s', key: 'data.n' } })).toThrow('rate.key')
  expect(() => made({ limit: { concurrency: 1, share: 'a b' } })).toThrow('a b')
  const twice = { concurrency: 1, share: 'x' }
  expect(() => made({ limit: [twice, twice] })).toThrow('twice')
})

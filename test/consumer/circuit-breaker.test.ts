/** The circuit breaker of a consumer's instance, on the virtual clock. */
import { expect, test } from 'vitest'
import { engineOf } from '../../src/broker/engine-of.ts'
import { consumer, event, stream } from '../../src/index.ts'
import { testBroker } from '../../src/testing/index.ts'
import { whyConsumer } from '../../src/why/why-consumer.ts'

const Asked = event('asked')
const asked = stream('asked', { events: [Asked], key: 'data.key' })
const asks = (count: number): ReturnType<typeof Asked>[] =>
  Array.from({ length: count }, (_, n) => Asked({ key: `k${n}`, n }))
const RETRY = { attempts: 100, backoff: 'fixed', min: '1s', max: '1s' } as const

test('after failures in a row no event uses an attempt, one probe is made after each wait, and a probe closes it', async () => {
  const broker = testBroker()
  let down = true
  const calls: number[] = []
  await broker.start(
    consumer('caller', asked, { concurrency: 1, retry: RETRY, breaker: { failures: 3, wait: '10s', max: '15s' } }).on(
      Asked,
      ({ data }) => {
        calls.push((data as { n: number }).n)
        if (down) throw Object.assign(new Error('secret of an event'), { code: 'ECONNREFUSED' })
      },
    ),
  )
  await broker.publish(asked, asks(8))
  await broker.settled()
  expect(calls).toEqual([0, 1, 2])
  const described = await broker.describe()
  expect(described.alarms.map(({ code }) => code)).toEqual(['CIRCUIT_OPEN'])
  expect(described.alarms[0]?.message).toMatch(
    /3 attempt\(s\) failed in a row, the last one with: Error \(ECONNREFUSED\)/,
  )
  expect(described.alarms[0]?.message).not.toMatch(/secret/)
  expect(described.consumers[0]?.paused).toBe(true)
  const why = await whyConsumer(engineOf(broker), 'caller')
  expect(why.reasons.map(({ because }) => because)).toContain('circuit-open')

  await broker.advance('9s')
  expect(calls).toHaveLength(3)
  await broker.advance('1s')
  expect(calls).toHaveLength(4)
  // The second wait is 15 s: twice the first, up to `max`.
  await broker.advance('14s')
  expect(calls).toHaveLength(4)
  down = false
  await broker.advance('1s')
  await broker.advance('2s')
  const { consumers, alarms } = await broker.describe()
  expect(alarms).toEqual([])
  expect(consumers[0]).toMatchObject({ paused: false, retrying: 0, deadLetters: 0 })
  expect(new Set(calls.slice(4))).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]))
  await broker.close()
})

test('a share of the last attempts opens it, although no failures follow each other', async () => {
  const broker = testBroker()
  const calls: number[] = []
  await broker.start(
    consumer('caller', asked, {
      concurrency: 1,
      retry: RETRY,
      breaker: { rate: { share: 0.5, of: 6 }, wait: '1h' },
    }).on(Asked, ({ data }) => {
      const { n } = data as { n: number }
      calls.push(n)
      if (n % 2 === 1) throw new Error('every second one')
    }),
  )
  await broker.publish(asked, asks(10))
  await broker.settled()
  expect(calls).toEqual([0, 1, 2, 3, 4, 5])
  await broker.close()
})

test('rejected events and asked-for delays do not count, and a rejected probe is followed by another', async () => {
  const broker = testBroker()
  const calls: string[] = []
  let mode: 'reject' | 'later' | 'fail' = 'reject'
  await broker.start(
    consumer('caller', asked, { concurrency: 1, retry: RETRY, breaker: { failures: 2, wait: '10s' } }).on(
      Asked,
      (_, ctx) => {
        calls.push(mode)
        if (mode === 'reject') ctx.reject('no')
        if (mode === 'later') ctx.retryAfter('1h')
        throw new Error('down')
      },
    ),
  )
  await broker.publish(asked, asks(3))
  await broker.settled()
  mode = 'later'
  await broker.publish(
    asked,
    asks(3).map((one) => Asked({ ...(one.data as object), key: `later${one.id}` })),
  )
  await broker.settled()
  expect((await broker.describe()).alarms).toEqual([])
  mode = 'fail'
  await broker.publish(
    asked,
    asks(4).map((one) => Asked({ ...(one.data as object), key: `fail${one.id}` })),
  )
  await broker.settled()
  expect(calls.filter((each) => each === 'fail')).toHaveLength(2)
  mode = 'reject'
  await broker.advance('10s')
  // Each event that is tried is rejected, so none of them closes the circuit: they are tried one by one.
  expect(calls.filter((each) => each === 'reject').length).toBeGreaterThan(4)
  expect((await broker.describe()).alarms.map(({ code }) => code)).toEqual(['CIRCUIT_OPEN'])
  await broker.close()
})

test('a pause of the application holds while the circuit closes, and stop() ends it', async () => {
  const broker = testBroker()
  let down = true
  let calls = 0
  const running = await broker.start(
    consumer('caller', asked, { concurrency: 1, retry: RETRY, breaker: { failures: 1, wait: '10s' } }).on(Asked, () => {
      calls++
      if (down) throw new Error('down')
    }),
  )
  await broker.publish(asked, asks(4))
  await broker.settled()
  expect(calls).toBe(1)
  running.pause()
  down = false
  await broker.advance('1m')
  expect(calls).toBe(1)
  running.resume()
  await broker.settled()
  await broker.advance('2s')
  expect(calls).toBe(5)
  await running.stop()
  expect((await broker.describe()).alarms).toEqual([])
  await broker.close()
})

test('options without a meaning are refused', () => {
  const made = (breaker: object): unknown => consumer('caller', asked, { breaker })
  expect(() => made({ failures: 0 })).toThrow('breaker.failures')
  expect(() => made({ wait: '10s', max: '1s' })).toThrow('breaker.max')
  expect(() => made({ rate: { share: 0, of: 10 } })).toThrow('breaker.rate.share')
  expect(() => made({ rate: { share: 1 } })).toThrow('breaker.rate.of')
  expect(() => made({ tries: 3 })).toThrow('tries')
})

/** Batches by key: of one key only, in order, each with its own wait, side by side with those of other keys. */
import { expect, test } from 'vitest'
import { consumer } from '../../src/index.ts'
import { keyed, Noted, open, turns } from './fixture.ts'

const values = (events: readonly { readonly data: number }[]): number[] => events.map(({ data }) => data)

test('a batch has events of one key, in order, and is full or has waited', async () => {
  const { broker, clock } = open()
  const got: number[][] = []
  const options = { size: 3, wait: '1s', by: 'key' } as const
  await broker.start(
    consumer('c', keyed, { concurrency: 20 }).onBatch(Noted, options, (events) => void got.push(values(events))),
  )
  await broker.publish(
    keyed,
    [10, 20, 11, 30, 12, 13, 21].map((value) => Noted(value)),
  )
  await turns()
  expect(got).toEqual([[10, 11, 12]])
  await clock.pass(600)
  await broker.publish(keyed, Noted(31))
  await clock.pass(500)
  // The wait is from the first event of each key.
  expect(new Map(got.map((batch) => [Math.floor((batch[0] ?? 0) / 10), batch]))).toEqual(
    new Map([
      [1, [13]],
      [2, [20, 21]],
      [3, [30, 31]],
    ]),
  )
  expect(got).toHaveLength(4)
})

test('batches of different keys run side by side, those of one key one after the other', async () => {
  const { broker } = open()
  const running: string[] = []
  const ends: (() => void)[] = []
  let overlaps = 0
  await broker.start(
    consumer('c', keyed, { concurrency: 20 }).onBatch(Noted, { size: 2, by: 'key' }, async (_, [ctx]) => {
      const key = String(ctx?.key)
      if (running.includes(key)) overlaps++
      running.push(key)
      await new Promise<void>((resolve) => ends.push(resolve))
      running.splice(running.indexOf(key), 1)
    }),
  )
  await broker.publish(
    keyed,
    [10, 11, 12, 13, 20, 21, 22].map((value) => Noted(value)),
  )
  await turns()
  expect([...running].sort()).toEqual(['1', '2'])
  while (ends.length > 0) {
    ends.shift()?.()
    await turns()
  }
  expect(overlaps).toBe(0)
  expect((await broker.consumer('c').describe()).channels[0]?.lag).toBe(0)
})

test('a failed event hands back the later ones of its key only', async () => {
  const { broker, clock } = open()
  const got: number[] = []
  let failed = false
  const retry = { backoff: 'fixed', min: '1s', max: '1s' } as const
  await broker.start(
    consumer('c', keyed, { concurrency: 20, retry }).onBatch(Noted, { size: 4, by: 'key' }, (events) =>
      events.map(({ data }) => {
        if (data === 11 && !failed) {
          failed = true
          return new Error('once')
        }
        got.push(data)
        return 'done' as const
      }),
    ),
  )
  await broker.publish(
    keyed,
    [10, 11, 12, 20, 21].map((value) => Noted(value)),
  )
  await turns()
  await clock.pass(1100)
  expect(got.filter((value) => value >= 20)).toEqual([20, 21])
  const tens = got.filter((value) => value < 20)
  expect(tens.slice(-2)).toEqual([11, 12])
  expect((await broker.consumer('c').describe()).channels[0]?.lag).toBe(0)
})

test('all events in hand run when there is no room for more, although their batches are not full', async () => {
  const { broker } = open()
  const got: number[][] = []
  await broker.start(
    consumer('c', keyed, { concurrency: 3 }).onBatch(Noted, { size: 3, wait: '1h', by: 'key' }, (events) => {
      got.push(values(events))
    }),
  )
  await broker.publish(
    keyed,
    [10, 20, 30, 40].map((value) => Noted(value)),
  )
  await turns()
  expect(got).toEqual([[10], [20], [30]])
})

test('another value is refused', () => {
  expect(() => consumer('c', keyed).onBatch(Noted, { size: 2, by: 'type' as never }, () => undefined)).toThrow("'key'")
})

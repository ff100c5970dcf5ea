import { expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import type { Delivery } from '../../src/broker/engine.ts'
import type { Instance } from '../../src/delivery/dispatch/instance.ts'
import { Scheduler } from '../../src/external-log/delay/scheduler.ts'

test('events that are due together are put back until the same time, whatever the clock does meanwhile', () => {
  let nowMs = 1000
  const scheduler = new Scheduler(
    { ...systemClock, now: () => nowMs++ },
    () => 'i',
    () => undefined,
  )
  const until: number[] = []
  const instance = { retryAt: (_: Delivery, dueAtMs: number) => until.push(dueAtMs) > 0, renew: () => undefined }
  scheduler.begin(instance as unknown as Instance)
  const text = JSON.stringify({
    channel: 'orders',
    incarnation: 'i',
    event: { id: 'a', type: 't', key: null, text: '{}' },
    dueAtMs: 5000,
  })
  scheduler.deliver([0, 1, 2].map((offset) => ({ offset, text }) as Delivery))
  scheduler.end()
  expect(until).toEqual([5000, 5000, 5000])
})

test('an event that becomes due meanwhile waits behind the events of its time that were put back before it', () => {
  let nowMs = 1000
  const scheduler = new Scheduler(
    { ...systemClock, now: () => nowMs },
    () => 'i',
    () => undefined,
  )
  const [putBack, emitted]: [(readonly [number, number])[], number[]] = [[], []]
  const instance = {
    retryAt: ({ offset }: Delivery, dueAtMs: number) => putBack.push([offset, dueAtMs]) > 0,
    complete: ({ offset }: Delivery) => emitted.push(offset) > 0,
    renew: () => undefined,
  }
  scheduler.begin(instance as unknown as Instance)
  const waiting = (offset: number, dueAtMs: number): Delivery => {
    const text = JSON.stringify({
      channel: 'orders',
      incarnation: 'i',
      event: { id: `${offset}`, type: 't', key: null, text: '{}' },
      dueAtMs,
    })
    return { offset, text } as Delivery
  }
  scheduler.deliver([waiting(0, 1005), waiting(1, 1005)])
  nowMs = 1010
  scheduler.deliver([waiting(2, 1005), waiting(3, 1004)])
  expect(putBack).toEqual([
    [0, 1005],
    [1, 1005],
    [2, 1011],
  ])
  expect(emitted).toEqual([3])
  scheduler.deliver([waiting(0, 1005), waiting(1, 1005), waiting(2, 1005)])
  scheduler.deliver([waiting(4, 1005)])
  expect(emitted).toEqual([3, 0, 1, 2, 4])
  scheduler.end()
})

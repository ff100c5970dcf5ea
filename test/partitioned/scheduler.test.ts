import { expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import type { Delivery } from '../../src/broker/engine.ts'
import type { Instance } from '../../src/delivery/instance.ts'
import { Scheduler } from '../../src/partitioned/scheduler.ts'

test('events that are due together are put back until one time, whatever the clock does while they are looked at', () => {
  let nowMs = 1000
  const scheduler = new Scheduler(
    { ...systemClock, now: () => nowMs++ },
    () => 'i',
    () => undefined,
  )
  const until: number[] = []
  const instance = { retryAt: (_: Delivery, dueAtMs: number) => until.push(dueAtMs) > 0, renew: () => undefined }
  scheduler.begin(instance as unknown as Instance)
  const text = JSON.stringify({ channel: 'orders', incarnation: 'i', event: { id: 'a', type: 't', key: null, text: '{}' }, dueAtMs: 5000 })
  scheduler.deliver([0, 1, 2].map((offset) => ({ offset, text }) as Delivery))
  scheduler.end()
  expect(until).toEqual([5000, 5000, 5000])
})

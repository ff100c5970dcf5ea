/** The series `other`: what it says of the channels and consumers beyond the bound. */
import { expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import type { BrokerDescription, ConsumerDescription } from '../../src/broker/description.ts'
import { metricFamilies } from '../../src/telemetry/broker-metrics.ts'
import { Meter } from '../../src/telemetry/meter.ts'

function consumerOf(name: string, lagMs: number, changed: Partial<ConsumerDescription> = {}): ConsumerDescription {
  const channels = [{ channel: 'orders', lag: 2, lagMs }] as unknown as ConsumerDescription['channels']
  const counts = { instances: 1, inFlight: 0, retrying: 1, deadLetters: 3, parked: 0, rate: 0 }
  return { name, channels, ...counts, paused: false, pause: null, stalled: null, ...changed }
}

/** The value of each gauge in the series `other`. */
function otherOf(consumers: readonly ConsumerDescription[]): Record<string, unknown> {
  const description = { engine: 'memory', channels: [], consumers, alarms: [] } as unknown as BrokerDescription
  return Object.fromEntries(
    metricFamilies(new Meter(), description, () => true).flatMap(({ name, samples }) =>
      samples.flatMap(([labels, value]) =>
        labels['messaging_consumer_group_name'] === 'other' ? [[name, value]] : [],
      ),
    ),
  )
}

const first = Array.from({ length: LIMITS.metricSeriesMax }, (_, at) => consumerOf(`c${at}`, 0))

test('the other consumers have the sum of their counts, and the age of their oldest event', () => {
  const others = [200_000, 250_000, 100_000].map((lagMs, at) => consumerOf(`o${at}`, lagMs))
  expect(otherOf(first)).toEqual({})
  expect(otherOf([...first, ...others])).toEqual({
    millrace_consumer_lag: 6,
    millrace_consumer_lag_time_seconds: 250,
    millrace_consumer_dead_letters: 9,
    millrace_consumer_retrying: 3,
    millrace_consumer_parked: 0,
    millrace_consumer_instances: 3,
    millrace_consumer_paused: 0,
    millrace_consumer_stalled: 0,
  })
})

test('the other consumers are paused or stalled if one of them is', () => {
  const stalled = { sinceMs: 1, reason: 'hangs' }
  const others = [{}, { paused: true, stalled }, {}, { paused: true, stalled }].map((changed, at) =>
    consumerOf(`o${at}`, 0, changed),
  )
  expect(otherOf([...first, ...others])).toMatchObject({ millrace_consumer_paused: 1, millrace_consumer_stalled: 1 })
})

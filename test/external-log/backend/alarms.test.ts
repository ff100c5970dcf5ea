/** Alarms of a backend, before and while an engine listens. */
import { expect, test } from 'vitest'
import { BackendAlarms, LASTING_TIMES } from '../../../src/external-log/backend/alarms.ts'

function listener(): {
  readonly told: string[]
  alarm(code: string, message: string): void
  cleared(code: string): void
} {
  const told: string[] = []
  return {
    told,
    alarm: (code, message) => told.push(`${code}: ${message}`),
    cleared: (code) => told.push(`${code} is over`),
  }
}

test('an alarm that was raised before the engine listens is told when it begins to listen', () => {
  const alarms = new BackendAlarms()
  alarms.raise('UNAVAILABLE', 'no connection')
  alarms.raise('DATA_DAMAGED', 'a record')
  alarms.clear('UNAVAILABLE')
  const { told, ...hooks } = listener()
  alarms.listen(hooks)
  expect(told).toEqual(['DATA_DAMAGED: a record'])
})

test('an alarm is told at once to a listener, and its end only when it was raised', () => {
  const alarms = new BackendAlarms()
  const { told, ...hooks } = listener()
  alarms.listen(hooks)
  alarms.clear('UNAVAILABLE')
  alarms.raise('UNAVAILABLE', 'no connection')
  alarms.clear('UNAVAILABLE')
  expect(told).toEqual(['UNAVAILABLE: no connection', 'UNAVAILABLE is over'])
})

test('failures of retention are an alarm when they last, until retention succeeds', () => {
  const alarms = new BackendAlarms()
  const { told, ...hooks } = listener()
  alarms.listen(hooks)
  for (let times = 1; times < LASTING_TIMES; times++) alarms.retention.failed('channel "orders"', new Error('refused'))
  expect(told).toEqual([])
  alarms.retention.failed('channel "orders"', new Error('refused'))
  expect(told).toEqual([expect.stringMatching(/^RETENTION_FAILED: .*channel "orders".*refused/)])
  alarms.retention.succeeded('channel "orders"')
  expect(told.slice(1)).toEqual(['RETENTION_FAILED is over'])
})

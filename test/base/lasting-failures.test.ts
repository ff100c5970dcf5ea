import { expect, test } from 'vitest'
import { LastingFailures } from '../../src/base/lasting-failures.ts'

test('a failure that lasts is told with what it is about and its reason, and ends when all succeed; one that passes is not told', () => {
  const told: string[] = []
  const failures = new LastingFailures(3, { raise: (message) => told.push(message), end: () => told.push('ended') })
  for (const outcome of ['a', 'a', null, 'a', 'a']) {
    if (outcome === null) failures.succeeded('channel "one"')
    else failures.failed('channel "one"', new Error('no leader'))
  }
  expect(told).toEqual([])
  failures.failed('channel "one"', new Error('not authorized'))
  expect(told).toEqual([expect.stringMatching(/"one".*not authorized/)])
  for (let times = 0; times < 3; times++) failures.failed('channel "two"', 'odd')
  failures.succeeded('channel "one"')
  expect(told).not.toContain('ended')
  failures.succeeded('channel "two"')
  failures.succeeded('channel "two"')
  expect(told.filter((each) => each === 'ended')).toEqual(['ended'])
})

import { expect, test } from 'vitest'
import { Condition } from '../../src/base/condition.ts'

test('a wait ends with the first check that finds the condition true, and at once where it holds already', async () => {
  let left = 2
  const none = new Condition(() => left === 0)
  const ended: string[] = []
  const waits = ['one', 'two'].map((name) => none.reached().then(() => ended.push(name)))
  left = 1
  none.check()
  await Promise.resolve()
  expect(ended).toEqual([])
  left = 0
  none.check()
  await Promise.all(waits)
  expect(ended).toEqual(['one', 'two'])
  await none.reached()
  left = 1
  const later = none.reached().then(() => ended.push('later'))
  none.check()
  await Promise.resolve()
  expect(ended).toHaveLength(2)
  left = 0
  none.check()
  await later
})

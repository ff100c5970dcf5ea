/** The order in which what waits for a limit is woken. */
import { expect, test } from 'vitest'
import { Waiting } from '../../src/delivery/flow/limit-table.ts'

const microtasks = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('a place that was woken and found no room is before those that came later', async () => {
  const waiting = new Waiting()
  const woken: string[] = []
  const add = (place: string): void => waiting.add(place, () => void woken.push(place))
  add('a')
  add('b')
  waiting.wake(2)
  await microtasks()
  // `a` takes all of the room and waits for more; `b` finds none.
  waiting.served('a')
  add('a')
  add('b')
  add('c')
  waiting.wake(1)
  await microtasks()
  expect(woken).toEqual(['a', 'b', 'b'])
  waiting.wake(5)
  await microtasks()
  expect(woken).toEqual(['a', 'b', 'b', 'a', 'c'])
  expect(waiting.size).toBe(0)
})

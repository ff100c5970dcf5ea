/** A defect that throws while a cursor hands out is told, and the cursor goes on. */
import { expect, test } from 'vitest'
import { CursorWorld } from './cursor-world.ts'

const DEFECT = new Error('a defect')

/** Throws the first time. */
function once(): () => void {
  let thrown = false
  return () => {
    if (thrown) return
    thrown = true
    throw DEFECT
  }
}

test('while it looks at a new event', async () => {
  const world = new CursorWorld()
  const look = once()
  world.log.superseded = () => {
    look()
    return false
  }
  world.log.append('a', 'b')
  await expect.poll(() => world.given, { timeout: 10_000 }).toEqual([0, 1])
  expect(world.alarms).toEqual([DEFECT])
})

test('while it looks at an event that waited for its key', async () => {
  const world = new CursorWorld()
  world.log.append('a', 'a')
  await expect.poll(() => world.given).toEqual([0])
  const { filter } = world.instance
  const [accepts, look] = [filter.accepts.bind(filter), once()]
  filter.accepts = (block, index) => {
    look()
    return accepts(block, index)
  }
  world.complete(0)
  await expect.poll(() => world.given, { timeout: 10_000 }).toEqual([0, 1])
  expect(world.alarms).toEqual([DEFECT])
})

test('while it hands over, and what was not taken is given again', async () => {
  const world = new CursorWorld()
  world.taking = once()
  world.log.append('a', 'b', null)
  await expect.poll(() => world.given.toSorted(), { timeout: 10_000 }).toEqual([0, 1, 2])
  expect(world.alarms).toEqual([DEFECT])
  for (const offset of [0, 1, 2]) world.complete(offset)
  expect(world.cursor.done.floor).toBe(3)
})

test('again and again, and says so no more than once a second', async () => {
  const world = new CursorWorld()
  world.log.superseded = () => {
    throw DEFECT
  }
  await expect.poll(() => world.instance.begun).toBe(true)
  for (let each = 0; each < 100; each++) world.log.append('a')
  expect(world.alarms).toEqual([DEFECT])
  world.log.superseded = () => false
  await expect.poll(() => world.given, { timeout: 10_000 }).toEqual([0])
})

/** A defect that throws while a cursor delivers raises an alarm, and the cursor goes on. */
import { expect, test } from 'vitest'
import { CursorWorld } from './cursor-world.ts'

const DEFECT = new Error('a defect')

/** Throws on the first call only. */
function once(): () => void {
  let thrown = false
  return () => {
    if (thrown) return
    thrown = true
    throw DEFECT
  }
}

test('a defect in looking at a new event raises an alarm, and the event is delivered', async () => {
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

test('a defect in looking at an event that waited for its key raises an alarm, and the event is delivered', async () => {
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

test('a defect in the handover raises an alarm, and the same events are delivered again', async () => {
  const world = new CursorWorld()
  world.taking = once()
  world.log.append('a', 'b', null)
  await expect.poll(() => world.given.toSorted(), { timeout: 10_000 }).toEqual([0, 1, 2])
  expect(world.alarms).toEqual([DEFECT])
  for (const offset of [0, 1, 2]) world.complete(offset)
  expect(world.cursor.done.floor).toBe(3)
})

test('a defect that throws each time raises one alarm a second at most', async () => {
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

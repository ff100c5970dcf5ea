/**
 * Clause 4 for events that wait as offsets only: their blocks are read again before they join a chain or are
 * delivered.
 */
import { expect, it } from 'vitest'
import { CursorWorld } from './cursor-world.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Complete every delivery until `count` are completed. Returns their offsets. */
async function completeAll(world: CursorWorld, count: number): Promise<number[]> {
  const done: number[] = []
  await expect
    .poll(() => {
      for (const { offset } of [...world.deliveries]) {
        world.complete(offset)
        done.push(offset)
      }
      return done.length
    })
    .toBeGreaterThanOrEqual(count)
  return done
}

it('a new event does not overtake events that wait in its lane when the first of its key becomes a dead letter', async () => {
  const world = new CursorWorld()
  world.log.append('a', 'a', 'a', 'a')
  await expect.poll(() => world.given).toEqual([0])
  world.reject(0)
  // The blocks of 1, 2, 3 are being read now.
  world.log.append('a')
  await turn()
  world.log.append('a')
  await expect.poll(() => world.cursor.box.waiting).toBe(5)
  await world.redrive()
  expect(await completeAll(world, 6)).toEqual([0, 1, 2, 3, 4, 5])
})

it('a new event does not overtake deliveries of its key when one of them becomes a dead letter', async () => {
  const world = new CursorWorld({ perKey: 4 })
  world.log.append('a', 'a', 'a')
  await expect.poll(() => world.given).toEqual([0, 1, 2])
  world.reject(0)
  world.log.append('a')
  await turn()
  world.reject(2)
  world.retry(1, 0)
  await expect.poll(() => world.cursor.box.waiting).toBe(2)
  expect(world.cursor.box.dead).toBe(2)
  await world.redrive()
  expect(await completeAll(world, 4)).toEqual([0, 1, 2, 3])
})

it('a letter in the middle of a chain holds back the events behind it when only the first letter is redriven', async () => {
  const world = new CursorWorld({ perKey: 4 })
  world.log.append('a', 'a', 'a')
  await expect.poll(() => world.given).toEqual([0, 1, 2])
  world.reject(0)
  world.reject(1)
  world.instance.release(world.held(2))
  await expect.poll(() => world.cursor.box.waiting).toBe(1)
  const { keys } = await world.cursor.box.redrive('worker', { offset: 0 })
  world.cursor.wake(keys)
  expect(await completeAll(world, 1)).toEqual([0])
  await turn()
  expect(world.deliveries).toEqual([])
  await world.redrive()
  expect(await completeAll(world, 2)).toEqual([1, 2])
})

it('after a rewind, an event that waited before it is not delivered a second time', async () => {
  const world = new CursorWorld()
  world.log.append('a', 'a', 'b')
  await expect.poll(() => world.given).toEqual([0, 2])
  world.retry(0, 20)
  world.cursor.rewind(0)
  await expect.poll(() => world.deliveries.map(({ offset }) => offset)).toEqual([0, 2])
  await new Promise((resolve) => setTimeout(resolve, 40))
  expect(world.deliveries.map(({ offset }) => offset)).toEqual([0, 2])
  expect(await completeAll(world, 3)).toEqual([0, 2, 1])
})

it('the lost text of a letter raises an alarm, and the events behind it go on', async () => {
  const world = new CursorWorld()
  world.log.append('a', 'a', null, null)
  await expect.poll(() => world.given).toEqual([0, 2, 3])
  for (const offset of [0, 2, 3]) world.reject(offset)
  await expect.poll(() => world.cursor.box.waiting).toBe(1)
  for (const key of [...world.records.keys()])
    if (key.startsWith('d/') && (key.endsWith('00') || key.endsWith('02'))) world.records.delete(key)
  await world.redrive()
  expect((await completeAll(world, 2)).sort()).toEqual([1, 3])
  expect(world.alarms.map(String)).toEqual([
    expect.stringContaining('offset 2 of channel "orders"'),
    expect.stringContaining('offset 0 of channel "orders"'),
  ])
})

it('letters without a key are redriven in order, and do not wait for one whose next attempt is not due', async () => {
  const world = new CursorWorld({ credit: 1 })
  world.log.append(...Array.from({ length: 20 }, () => null))
  for (let offset = 0; offset < 20; offset++) {
    await expect.poll(() => world.deliveries.length).toBe(1)
    world.reject(offset)
  }
  await world.redrive()
  await expect.poll(() => world.deliveries.length).toBe(1)
  world.retry(0, 1)
  const done = await completeAll(world, 20)
  expect(done.filter((offset) => offset > 0)).toEqual(Array.from({ length: 19 }, (_, at) => at + 1))
})

it('the event loop gets its turns while a long chain is delivered', async () => {
  const world = new CursorWorld()
  world.log.append('a')
  await expect.poll(() => world.given).toEqual([0])
  world.reject(0)
  world.log.append(...Array.from({ length: 5000 }, () => 'a'))
  await expect.poll(() => world.cursor.box.waiting).toBe(5000)
  await world.redrive()
  let turns = 0
  const done: number[] = []
  while (done.length < 5001) {
    for (let left = 2000; left > 0; left--) {
      for (const { offset } of [...world.deliveries]) {
        done.push(offset)
        world.complete(offset)
      }
      await Promise.resolve()
    }
    turns++
    await turn()
  }
  expect(done).toEqual(Array.from({ length: 5001 }, (_, at) => at))
  expect(turns).toBeGreaterThan(10)
})

it('the event loop gets its turns while many events are settled at once', async () => {
  const world = new CursorWorld({ credit: 16 })
  world.log.append(...Array.from({ length: 16 }, () => null))
  await expect.poll(() => world.given.length).toBe(16)
  for (const { offset } of [...world.deliveries]) world.reject(offset)
  for (let at = 0; at < 300; at++) {
    world.log.append(...Array.from({ length: 16 }, () => null))
    await expect.poll(() => world.deliveries.length, { interval: 1 }).toBe(16)
    for (const { offset } of [...world.deliveries]) world.reject(offset)
  }
  await world.redrive()
  let turns = 0
  let done = 0
  while (done < 4816) {
    for (let left = 2000; left > 0; left--) {
      for (const { offset } of [...world.deliveries]) {
        done++
        world.complete(offset)
      }
      await Promise.resolve()
    }
    turns++
    await turn()
  }
  expect(turns).toBeGreaterThan(8)
})

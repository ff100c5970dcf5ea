/** A worker that is given nothing more of a channel, and finishes what it has in hands: a partition is given back so. */
import { expect, it } from 'vitest'
import { consumerKeys, fromJson, type InFlightRecord } from '../../src/delivery/consumer-records.ts'
import { CursorWorld } from './cursor-world.ts'

function recorded({ records }: CursorWorld): InFlightRecord {
  return fromJson<InFlightRecord>(records.get(consumerKeys.inFlight('worker', 1)) as Uint8Array)
}

it('a rewind takes away what the worker has in hands', async () => {
  const world = new CursorWorld()
  world.log.append('a')
  await expect.poll(() => world.given).toEqual([0])
  const [delivery] = world.hands
  world.cursor.detach(world.instance)
  world.cursor.rewind(0)
  expect(world.hands).toEqual([])
  expect(delivery === undefined ? null : world.instance.complete(delivery, null)).toBe(false)
  expect(world.cursor.done.has(0)).toBe(false)
})

it('what the worker has in hands is recorded as in flight, and is found when it is withdrawn', async () => {
  const world = new CursorWorld()
  world.log.append('a')
  await expect.poll(() => world.given).toEqual([0])
  world.cursor.detach(world.instance)
  expect(recorded(world)).toEqual({ credit: 0, offsets: [0], solo: null })
  expect(world.cursor.withdraw(0)).toBe(true)
  expect(world.instance.held.size).toBe(0)
})

it('a suspect that has not begun to run is not recorded as one that ran', () => {
  const world = new CursorWorld()
  world.cursor.state.suspect(0)
  world.cursor.beginAlone(0)
  expect(recorded(world).solo).toBe(0)
  world.cursor.detach(world.instance)
  world.cursor.end()
  expect(recorded(world)).toEqual({ credit: 0, offsets: [], solo: null })
})

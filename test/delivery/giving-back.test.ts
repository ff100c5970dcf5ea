/** An instance that is detached from a cursor and still holds deliveries, as when a partition is released. */
import { expect, it } from 'vitest'
import { consumerKeys, fromJson, type InFlightRecord } from '../../src/delivery/consumer-records.ts'
import { CursorWorld } from './cursor-world.ts'

function recorded({ records }: CursorWorld): InFlightRecord {
  return fromJson<InFlightRecord>(records.get(consumerKeys.inFlight('worker', 1)) as Uint8Array)
}

it('a rewind revokes the deliveries of a detached instance', async () => {
  const world = new CursorWorld()
  world.log.append('a')
  await expect.poll(() => world.given).toEqual([0])
  const [delivery] = world.deliveries
  world.cursor.detach(world.instance)
  world.cursor.rewind(0)
  expect(world.deliveries).toEqual([])
  expect(delivery === undefined ? null : world.instance.complete(delivery, null)).toBe(false)
  expect(world.cursor.done.has(0)).toBe(false)
})

it('the deliveries of a detached instance are recorded as in flight, and can be withdrawn', async () => {
  const world = new CursorWorld()
  world.log.append('a')
  await expect.poll(() => world.given).toEqual([0])
  world.cursor.detach(world.instance)
  expect(recorded(world)).toEqual({ credit: 0, offsets: [0], solo: null })
  expect(world.cursor.withdraw(0)).toBe(true)
  expect(world.instance.held.size).toBe(0)
})

it('a suspect that has not begun to run is not recorded as one that ran alone', () => {
  const world = new CursorWorld()
  world.cursor.state.suspect(0)
  world.cursor.beginAlone(0)
  expect(recorded(world).solo).toBe(0)
  world.cursor.detach(world.instance)
  world.cursor.end()
  expect(recorded(world)).toEqual({ credit: 0, offsets: [], solo: null })
})

/** The newest events of a channel in memory, and where its partitions end. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PartitionEnds } from '../../../src/external-log/backend/partition-ends.ts'
import { type PushedEvent, TailWindow } from '../../../src/external-log/backend/tail-window.ts'

const NO_LIMIT = { count: 1000, bytes: 1_000_000 }

function pushed(offset: number, partition: number, bytes = 10): PushedEvent<string> {
  return { offset, partition, timeMs: offset * 10, bytes, raw: `event ${offset}`, record: null }
}

function windowOf(offset: number, bytesMax: number, decoded: string[] = []): TailWindow<string> {
  return new TailWindow(offset, bytesMax, (raw) => {
    decoded.push(raw)
    return { id: raw, type: 'test', key: null, text: raw }
  })
}

function offsets(records: readonly { readonly offset: number }[] | null): number[] | null {
  return records?.map(({ offset }) => offset) ?? null
}

test('events are read from an offset on, of one partition or of all, up to a limit', () => {
  const window = windowOf(5, 1000)
  for (const offset of [5, 7, 8, 12]) window.add(pushed(offset, offset % 2))
  expect(window.end).toBe(13)
  expect(offsets(window.read(null, 6, NO_LIMIT))).toEqual([7, 8, 12])
  expect(offsets(window.read(0, 5, NO_LIMIT))).toEqual([8, 12])
  expect(offsets(window.read(null, 5, { count: 2, bytes: 1000 }))).toEqual([5, 7])
  expect(offsets(window.read(null, 5, { count: 10, bytes: 1 }))).toEqual([5])
  expect(offsets(window.read(null, 13, NO_LIMIT))).toEqual([])
})

test('a window cannot answer for events that were stored before it began', () => {
  const window = windowOf(5, 1000)
  window.add(pushed(6, 0))
  expect(window.read(null, 4, NO_LIMIT)).toBeNull()
  window.clear()
  expect(window.read(null, 6, NO_LIMIT)).toBeNull()
  expect(window.read(null, 7, NO_LIMIT)).toEqual([])
})

test('an event is decoded when it is read, and once', () => {
  const decoded: string[] = []
  const window = windowOf(0, 1000, decoded)
  for (const offset of [0, 1]) window.add(pushed(offset, offset))
  expect(decoded).toEqual([])
  const [record] = window.read(1, 0, NO_LIMIT) ?? []
  expect(record).toMatchObject({ offset: 1, timeMs: 10, event: { id: 'event 1' } })
  window.read(1, 0, NO_LIMIT)
  expect(decoded).toEqual(['event 1'])
})

test('a window has every event that it covers, whatever has left it', () => {
  const sizes = fc.array(fc.record({ step: fc.integer({ min: 1, max: 3 }), bytes: fc.integer({ min: 1, max: 60 }) }))
  fc.assert(
    fc.property(sizes, fc.nat(100), (events, from) => {
      const window = windowOf(0, 100)
      const all: number[] = []
      for (const { step, bytes } of events) {
        const offset = (all.at(-1) ?? -1) + step
        all.push(offset)
        window.add(pushed(offset, 0, bytes))
      }
      expect(window.end).toBe((all.at(-1) ?? -1) + 1)
      const found = offsets(window.read(null, from, NO_LIMIT))
      expect(found === null).toBe(!window.covers(from))
      if (found !== null) expect(found).toEqual(all.filter((offset) => offset >= from))
    }),
  )
})

test('a partition ends behind its last event, or where the view of the channel began', () => {
  const ends = new PartitionEnds(100)
  expect(ends.of(3)).toBe(100)
  expect(ends.extend(3, 120)).toBe(100)
  expect(ends.extend(3, 121)).toBe(121)
  expect([ends.of(3), ends.of(4)]).toEqual([122, 100])
})

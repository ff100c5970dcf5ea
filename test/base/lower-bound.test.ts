/** The first index that is not before the searched value. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lowerBound } from '../../src/base/lower-bound.ts'

test('the index is the one that a search from the beginning finds', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50 })), fc.integer({ min: -1, max: 51 }), (items, wanted) => {
      const sorted = items.toSorted((a, b) => a - b)
      const index = sorted.findIndex((item) => item >= wanted)
      const found = lowerBound(0, sorted.length, (at) => (sorted[at] as number) < wanted)
      expect(found).toBe(index === -1 ? sorted.length : index)
    }),
  )
})

test('a search in an empty range answers its end, and asks for no item', () => {
  const isBefore = (): boolean => expect.fail('an item was asked for')
  expect(lowerBound(4, 4, isBefore)).toBe(4)
})

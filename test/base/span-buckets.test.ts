import { expect, test } from 'vitest'
import { bucketOf, newBuckets, percentile } from '../../src/base/span-buckets.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'

test('a percentile is within 10 % of the one of the sorted spans', () => {
  const random = seededRandom(4)
  for (let round = 0; round < 50; round++) {
    const spans = Array.from({ length: 1 + Math.floor(random() * 500) }, () => 0.2 * Math.exp(random() * 15))
    const buckets = newBuckets()
    for (const span of spans) {
      const bucket = bucketOf(span)
      buckets[bucket] = (buckets[bucket] as number) + 1
    }
    spans.sort((a, b) => a - b)
    for (const share of [0.01, 0.5, 0.95, 0.99, 1]) {
      const exact = spans[Math.ceil(share * spans.length) - 1] as number
      expect(Math.abs(percentile(buckets, share) - exact) / exact).toBeLessThan(0.1)
    }
  }
})

test('spans of any size have a bucket, and no spans have no percentile', () => {
  for (const strange of [Number.NaN, -5, 0, 1e-9]) expect(bucketOf(strange)).toBe(0)
  expect(bucketOf(Number.POSITIVE_INFINITY)).toBe(newBuckets().length - 1)
  expect(percentile(newBuckets(), 0.5)).toBe(0)
  expect(percentile([], 0.99)).toBe(0)
})

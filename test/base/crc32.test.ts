import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { joinCrc32 } from '../../src/base/crc32.ts'

test('the sum of two pieces is that of both together', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 70_000 }), (first, second) => {
      expect(joinCrc32(crc32(first), crc32(second), second.length)).toBe(crc32(second, crc32(first)))
    }),
  )
  const large = Buffer.alloc(5_000_000, 'millrace')
  expect(joinCrc32(crc32('a'), crc32(large), large.length)).toBe(crc32(large, crc32('a')))
})

/** The partition function never changes within a format, so its vectors are here and in docs/formats.md. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { CHANNEL_FORMAT } from '../../src/external-log/channel-entry.ts'
import { partitionOf } from '../../src/external-log/publish/appending.ts'
import { murmur2, partitionHash } from '../../src/external-log/publish/partition-hash.ts'

/**
 * @see https://github.com/apache/kafka/blob/4.1/clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java
 * `testMurmur2`
 */
const KAFKAS = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
] as const

it('is Kafka’s murmur2, by the vectors of Kafka’s own test', () => {
  for (const [text, hash] of KAFKAS) expect(murmur2(Buffer.from(text)), text).toBe(hash)
})

it('gives the hashes and partitions that docs/formats.md lists', () => {
  const page = readFileSync(new URL('../../docs/formats.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| `([^`]+)` \| (\d+) \| (\d+) \| (\d+) \|$/gm)]
  expect(rows.length).toBeGreaterThanOrEqual(6)
  for (const [, key = '', hash, ofFour, ofSixteen] of rows) {
    expect(partitionHash(key), key).toBe(Number(hash))
    const partitions = [4, 16].map((count) => partitionOf({ key, id: 'any', type: 't', text: '' }, count))
    expect(partitions, key).toEqual([Number(ofFour), Number(ofSixteen)])
  }
  expect(page).toContain(`| channels on servers | ${CHANNEL_FORMAT} |`)
})

it('spreads keys, and ids of events without a key, evenly', () => {
  const counts = new Array<number>(16).fill(0)
  for (let at = 0; at < 16_000; at++) {
    const partition = partitionOf({ key: at % 2 === 0 ? `cart-${at}` : null, id: `id-${at}`, type: 't', text: '' }, 16)
    counts[partition] = (counts[partition] ?? 0) + 1
  }
  expect(Math.min(...counts)).toBeGreaterThan(850)
  expect(Math.max(...counts)).toBeLessThan(1150)
})

/** Reused memory of blocks: it is never overwritten while a block in it may still be read. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BlockMemory } from '../../src/engines/embedded/storage/block-memory.ts'
import { UnappliedCommits } from '../../src/engines/embedded/storage/unapplied-commits.ts'

interface Live {
  readonly bytes: Buffer
  readonly mark: number
  lent: boolean
}

const step = fc.record({
  what: fc.constantFrom('make', 'make', 'lend', 'release'),
  size: fc.constantFrom(300, 70_000, 400_000, 1_500_000),
  which: fc.integer({ min: 0, max: 1000 }),
})

test('a block keeps its bytes until it is released, and a block that is lent for ever keeps them', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const memory = new BlockMemory()
      const live: Live[] = []
      const kept: Live[] = []
      let mark = 0
      for (const { what, size, which } of steps) {
        const at = live.length === 0 ? -1 : which % live.length
        if (what === 'make') {
          const bytes = memory.take(memory.reserve(size + 100), size)
          mark = (mark + 1) % 256
          bytes.fill(mark)
          live.push({ bytes, mark, lent: false })
        } else if (at >= 0 && what === 'lend') {
          const block = live[at] as Live
          memory.lend(block.bytes)
          block.lent = true
        } else if (at >= 0) {
          const [block] = live.splice(at, 1) as [Live]
          memory.release(block.bytes)
          if (block.lent) kept.push(block)
        }
      }
      for (const { bytes, mark: expected } of [...live, ...kept])
        expect(bytes[0] === expected && bytes[bytes.length - 1] === expected).toBe(true)
    }),
    { numRuns: 60 },
  )
})

test('released slabs are used again', () => {
  const memory = new BlockMemory()
  const slabs = new Set<ArrayBufferLike>()
  for (let round = 0; round < 50; round++) {
    const blocks = Array.from({ length: 4 }, () => memory.take(memory.reserve(900_000), 900_000))
    for (const block of blocks) {
      slabs.add(block.buffer)
      memory.release(block)
    }
  }
  expect(slabs.size).toBeLessThan(6)
})

test('a block that the unapplied layer gave out is not overwritten', () => {
  const memory = new BlockMemory()
  const unapplied = new UnappliedCommits(undefined as never, memory)
  const block = (offset: number) => {
    const bytes = memory.take(memory.reserve(900_000), 900_000)
    bytes.fill(offset)
    return { channelId: 1, firstOffset: offset, count: 1, timeMs: 0, bytes }
  }
  const commit = (offset: number): void =>
    unapplied.add({ blocks: [block(offset)], records: [], trims: [] }, { sequence: offset, check: 0 }, 900_000)
  for (let offset = 0; offset < 4; offset++) commit(offset)
  const given = [unapplied.find(1, 1), ...unapplied.blocks(1, 3)]
  for (let offset = 4; offset < 40; offset++) {
    if (unapplied.beginApply() !== null) unapplied.applied()
    commit(offset)
  }
  expect(given.map((each) => [each?.bytes[0], each?.bytes[899_999]])).toEqual([
    [1, 1],
    [3, 3],
  ])
})

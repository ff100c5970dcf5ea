/** Events after the journal: segments that fill, empty, are compacted and deleted. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { DiskStore } from '../../src/engines/embedded/storage/disk-store.ts'
import type { Frame } from '../../src/engines/embedded/store.ts'
import { encodeBlock } from '../../src/event/block.ts'
import { revive } from './simulation.ts'
import { committed } from './world.ts'

const root = mkdtempSync(join(tmpdir(), 'millrace-segments-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** Applied at once when this many bytes wait, and never by time. */
const OPTIONS = { applyIntervalMs: 3_600_000, segmentFileBytes: 64 * 1024, journalFileBytes: 256 * 1024 }

function blockOf(channelId: number, offset: number, bytes: number): Frame['blocks'][number] {
  return encodeBlock(channelId, offset, 1, [
    { id: `e${offset}`, type: 't', key: null, text: JSON.stringify({ data: 'x'.repeat(bytes) }) },
  ])
}

test('an apply does not compact the segment that it has just filled', async () => {
  const directory = join(root, 'filled')
  const session = async (frames: readonly Frame[]): Promise<void> => {
    const store = await DiskStore.open(directory, revive, OPTIONS)
    for (const frame of frames) await committed(store, frame)
    await store.close()
  }
  // Channel 1 fills most of the first segment and is then removed, so little of the segment is live.
  await session([{ blocks: [blockOf(1, 0, 50_000), blockOf(2, 0, 4000)], records: [], trims: [] }])
  await session([{ blocks: [], records: [], trims: [{ channelId: 1, beforeOffset: 1 }] }])
  // One apply that adds a small extent at its end, and a larger one to the next segment.
  await session([{ blocks: [blockOf(2, 1, 2000), blockOf(3, 0, 40_000)], records: [], trims: [] }])
  await session([{ blocks: [blockOf(3, 1, 10)], records: [], trims: [] }])
  const store = await DiskStore.open(directory, revive, OPTIONS)
  expect((await store.read(2, 0, 1e6)).map((block) => block.firstOffset)).toEqual([0, 1])
  expect((await store.read(3, 0, 1e6)).map((block) => block.firstOffset)).toEqual([0, 1])
  await store.close()
})

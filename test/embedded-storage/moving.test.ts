/** Reads continue while compaction and retention move what they are about to read. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { DiskStore } from '../../src/engines/embedded/storage/disk-store.ts'
import { type FileSystem, nodeFileSystem } from '../../src/engines/embedded/storage/file-system.ts'
import { encodeBlock } from '../../src/event/block.ts'
import { committed } from './world.ts'

const directories: string[] = []
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
})

function blockOf(channelId: number, offset: number, bytes: number): ReturnType<typeof encodeBlock> {
  return encodeBlock(channelId, offset, 1000, [{ id: `e${offset}`, type: 'a.b', key: null, text: 'x'.repeat(bytes) }])
}

test('an extent that compaction moves between two reads of one answer is found at its new position', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-moving-'))
  directories.push(directory)
  let meanwhile: (() => Promise<void>) | null = null
  const fileSystem: FileSystem = {
    ...nodeFileSystem,
    read: async (fd, into, position) => {
      const count = await nodeFileSystem.read(fd, into, position)
      const work = meanwhile
      meanwhile = null
      await work?.()
      return count
    },
  }
  const removed: string[] = []
  const watched: FileSystem = {
    ...fileSystem,
    remove: (path) => {
      removed.push(path)
      nodeFileSystem.remove(path)
    },
  }
  const store = await DiskStore.open(directory, (block) => block, {
    fileSystem: watched,
    applyIntervalMs: 1,
    segmentFileBytes: 1_500_000,
  })
  const applied = async (): Promise<void> => {
    while (store.stats().unappliedBytes > 0) await new Promise((resolve) => setTimeout(resolve, 2))
  }
  // Segment 1: two extents of channel 1 that stay, and many of channel 2 that are removed.
  for (const offset of [0, 1])
    await committed(store, { blocks: [blockOf(1, offset, 200_000)], records: [], trims: [] }).then(applied)
  for (let offset = 0; offset < 4; offset++)
    await committed(store, { blocks: [blockOf(2, offset, 250_000)], records: [], trims: [] }).then(applied)
  // Segment 2 has begun, and segment 1 is mostly dead.
  await committed(store, {
    blocks: [blockOf(3, 0, 300_000)],
    records: [],
    trims: [{ channelId: 2, beforeOffset: 4 }],
  }).then(applied)
  removed.length = 0
  meanwhile = async () => {
    await committed(store, { blocks: [blockOf(3, 1, 1000)], records: [], trims: [] }).then(applied)
    expect(removed.filter((path) => path.endsWith('segment-00000001'))).toHaveLength(1)
  }
  const offsets: number[] = []
  while (offsets.length < 2)
    offsets.push(...(await store.read(1, offsets.length, 1_000_000)).map((block) => block.firstOffset))
  expect(meanwhile).toBeNull()
  expect(offsets).toEqual([0, 1])
  await store.close()
})

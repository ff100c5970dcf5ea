/** Blocks of a partition: neighbouring events with gaps, each with the time at which it was stored. */
import { expect, test } from 'vitest'
import type { ChannelSpec } from '../../src/channel/channel.ts'
import { PartitionLog } from '../../src/external-log/read/partition-log.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const SPEC: ChannelSpec = {
  ...{ name: 'orders', kind: 'stream', types: null, dedupe: null, eventBytesMax: 1000 },
  retain: { ageMs: null, bytes: null, count: null, latestByKey: false },
}

test('each event of a block has the time at which it was stored, not that of the first one', async () => {
  const backend = new MemoryBackend(new MemoryServer())
  await backend.createChannel({ spec: SPEC, partitions: 2, incarnation: 'i', format: 1 })
  const item = (partition: number, timeMs: number): Parameters<MemoryBackend['append']>[1][number] => {
    return { partition, dedupeId: null, timeMs, event: { id: `e${timeMs}`, type: 't', key: null, text: '{}' } }
  }
  await backend.append('orders', [item(0, 10), item(1, 20), item(0, 30), item(0, 40)])
  const log = new PartitionLog(backend, SPEC, 0, () => 99)
  await log.refresh()
  const [block] = await log.load(0, 1000)
  const times = [0, 1, 2, 3].flatMap((index) =>
    block === undefined || block.holes(index) > 0 ? [] : [[index, block.timeAt(index)]],
  )
  expect(times).toEqual([
    [0, 10],
    [2, 30],
    [3, 40],
  ])
})

/** What deleted states leave behind is removed: the events that delete them, and the records of their keys. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { systemClock } from '../../src/base/clock.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { STATE_DELETED } from '../../src/channel/state-channel.ts'
import { memoryCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { DeletedStates } from '../../src/engines/embedded/deleted-states.ts'
import { EmbeddedEngine } from '../../src/engines/embedded/embedded-engine.ts'
import { DiskStore } from '../../src/engines/embedded/storage/disk-store.ts'
import { MemoryStore } from '../../src/engines/embedded/storage/memory-store.ts'
import type { Store } from '../../src/engines/embedded/store.ts'
import { type Block, decodeBlock } from '../../src/event/block.ts'
import { consumer, event, stream } from '../../src/index.ts'

const directories: string[] = []
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
})

const Seen = event('seen', z.object({ key: z.string(), end: z.boolean() }))
const seen = stream('seen', { events: [Seen], key: 'data.key', dedupe: false })
const sessions = consumer('sessions', seen, { state: { schema: z.object({ note: z.string() }) }, concurrency: 500 }).on(
  Seen,
  ({ data }, ctx) => (data.end ? ctx.deleteState() : ctx.setState({ note: `${data.key} ${'x'.repeat(1500)}` })),
)

const stores: readonly (readonly [string, () => Promise<Store<Block>>])[] = [
  ['memory', async () => new MemoryStore<Block>()],
  [
    'disk',
    async () => {
      const directory = mkdtempSync(join(tmpdir(), 'millrace-deleted-'))
      directories.push(directory)
      return DiskStore.open(directory, (block) => decodeBlock(block.channelId, block.bytes), { applyIntervalMs: 1 })
    },
  ],
]

describe.each(stores)('deleted states (%s)', (_, open) => {
  test('leave nothing after an hour, and the states of other keys stay', async () => {
    const store = await open()
    let aheadMs = 0
    const clock = { ...systemClock, now: () => Date.now() + aheadMs }
    const engine = new EmbeddedEngine({ name: 'memory', capabilities: memoryCapabilities, store, clock })
    const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
    await broker.start(sessions)
    const say = async (from: number, to: number, end: boolean): Promise<void> => {
      await broker.publish(
        seen,
        Array.from({ length: to - from }, (_each, at) => Seen({ key: `k${String(from + at).padStart(5, '0')}`, end })),
      )
      await expect.poll(async () => (await broker.consumer('sessions').describe()).channels[0]?.lag).toBe(0)
      await expect.poll(() => store.stats().unappliedBytes).toBe(0)
    }
    const left = async (): Promise<{ readonly deletions: number; readonly records: number }> => {
      let deletions = 0
      for await (const { type } of broker.read('$state.sessions')) if (type === STATE_DELETED) deletions++
      return { deletions, records: store.count('y/', 'y0') }
    }
    await say(0, 3000, false)
    await say(0, 2990, true)
    await engine.sweep()
    await expect.poll(left).toEqual({ deletions: 2990, records: 3000 })
    aheadMs = 61 * 60_000
    await say(3000, 6000, false)
    await expect
      .poll(async () => {
        await engine.sweep()
        return left()
      })
      .toEqual({ deletions: 0, records: 3010 })
    const table = broker.table(sessions)
    expect((await table.get('k02995'))?.value.note).toMatch(/^k02995 /)
    expect(await table.get('k00001')).toBeUndefined()
    // A key that begins anew.
    await say(1, 2, false)
    await expect.poll(async () => (await table.get('k00001'))?.value.note).toMatch(/^k00001 /)
    await broker.close()
  })
})

test('the record of a key stays while a later event of the key waits for its commit', () => {
  const records = new Map([
    ['y/00000001/a', 5],
    ['y/00000001/b', 6],
    ['y/00000001/c', 9],
  ])
  const gone: string[] = []
  const float = (value: number): Uint8Array => {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleLE(value)
    return bytes
  }
  const log = { id: 1, committing: { events: [{ key: 'b' }], waiters: [] }, pending: [] }
  const deleted = new DeletedStates(
    log as never,
    {
      store: { get: (key) => (records.has(key) ? float(records.get(key) as number) : undefined) },
      committer: { record: (key) => void gone.push(key) },
    },
    10_000_000,
  )
  deleted.begin()
  for (const [key, offset] of [
    ['a', 5],
    ['b', 6],
    ['c', 7],
  ] as const)
    expect(deleted.takes(key, offset, STATE_DELETED, 0)).toBe(true)
  expect(deleted.takes('d', 8, 'other', 0)).toBe(false)
  expect(deleted.takes('e', 8, STATE_DELETED, 9_999_999)).toBe(false)
  deleted.done()
  deleted.begin()
  // A step that did not reach the disk.
  deleted.takes('z', 20, STATE_DELETED, 0)
  deleted.forget()
  expect(gone).toEqual(['y/00000001/a'])
})

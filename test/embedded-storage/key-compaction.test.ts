/**
 * Streams that keep the latest event of each key free the space of the other events, also after a key that never
 * changes.
 */
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { withoutSuperseded } from '../../src/engines/embedded/key-compaction.ts'
import { DiskStore } from '../../src/engines/embedded/storage/disk-store.ts'
import { MemoryStore } from '../../src/engines/embedded/storage/memory-store.ts'
import type { Store } from '../../src/engines/embedded/store.ts'
import { type Block, decodeBlock, encodeBlock, voidBlock } from '../../src/event/block.ts'
import { type Broker, connect, consumer, event, stream } from '../../src/index.ts'
import { committed } from './world.ts'

const directories: string[] = []
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
})

function directory(): string {
  const made = mkdtempSync(join(tmpdir(), 'millrace-keys-'))
  directories.push(made)
  return made
}

interface Entry {
  readonly offset: number
  readonly key: string | null
  readonly text: string
}

/** The events of a sequence of blocks; fails if blocks are not adjacent. */
function entries(blocks: readonly Block[]): Entry[] {
  const found: Entry[] = []
  let next = blocks[0]?.firstOffset ?? 0
  for (const each of blocks) {
    // As it is read back from a disk.
    const block = decodeBlock(1, each.bytes)
    expect(block.firstOffset).toBe(next)
    next += block.count
    for (
      let index = block.holes(0);
      index < block.count;
      index += 1 + (index + 1 < block.count ? block.holes(index + 1) : 0)
    ) {
      const { key, text } = block.at(index)
      found.push({ offset: block.firstOffset + index, key, text })
    }
  }
  return found
}

const anEvent = fc.record({
  key: fc.option(fc.constantFrom('a', 'b', 'c', 'é')),
  size: fc.integer({ min: 1, max: 60 }),
})
const someBlocks = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.array(anEvent, { minLength: 1, maxLength: 30 }) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }) },
  ),
  {
    minLength: 1,
    maxLength: 8,
  },
)

function blocksOf(shapes: readonly (readonly { key: string | null; size: number }[] | number)[], from = 0): Block[] {
  let offset = from
  return shapes.map((shape, at) => {
    const first = offset
    offset += typeof shape === 'number' ? shape : shape.length
    if (typeof shape === 'number') return voidBlock(1, first, shape, 1000 + at)
    return encodeBlock(
      1,
      first,
      1000 + at,
      shape.map(({ key, size }, index) => ({
        id: `e${first + index}`,
        type: 'a.b',
        key,
        text: JSON.stringify({ é: 'x'.repeat(size) }),
      })),
    )
  })
}

function latestOf(found: readonly Entry[]): (key: string | null, offset: number) => boolean {
  const latest = new Map(found.map(({ key, offset }) => [key, offset]))
  return (key, offset) => key !== null && (latest.get(key) as number) > offset
}

describe('blocks without superseded events', () => {
  test('have the other events at their offsets, and cover the same offsets', () => {
    fc.assert(
      fc.property(someBlocks, fc.nat(1000), (shapes, from) => {
        const before = blocksOf(shapes, from)
        const superseded = latestOf(entries(before))
        const after = withoutSuperseded(1, before, superseded)
        if (after === null) return
        expect(after[0]?.firstOffset).toBe(from)
        expect(after.reduce((sum, { count }) => sum + count, 0)).toBe(before.reduce((sum, { count }) => sum + count, 0))
        expect(entries(after)).toEqual(entries(before).filter(({ key, offset }) => !superseded(key, offset)))
        // A search for a time finds the event that was stored then, or the next one before it.
        const times = after.map(({ timeMs }) => timeMs)
        expect(times).toEqual([...times].sort((a, b) => a - b))
      }),
      { numRuns: 300 },
    )
  })

  test('of a run of any length cost the same', () => {
    const many = blocksOf([Array.from({ length: 1000 }, () => ({ key: 'a', size: 50 }))])
    const [gone, last] = withoutSuperseded(1, many, (_, offset) => offset < 999) as [Block, Block]
    expect([gone.count, gone.bytes.length, last.count]).toEqual([999, 42, 1])
  })

  test('are not written if they would save little', () => {
    const all = blocksOf([Array.from({ length: 10 }, () => ({ key: 'a', size: 50 }))])
    expect(withoutSuperseded(1, all, (_, offset) => offset === 3)).toBeNull()
  })
})

describe.each([
  ['memory', async (): Promise<Store<Block>> => new MemoryStore<Block>()],
  [
    'disk',
    (): Promise<Store<Block>> =>
      DiskStore.open(directory(), ({ bytes }) => decodeBlock(1, bytes), {
        applyIntervalMs: 1,
        segmentFileBytes: 40_000,
      }),
  ],
] as const)('a store (%s)', (_, open) => {
  test('replaces blocks by others', async () => {
    const store = await open()
    const all = blocksOf(
      Array.from({ length: 60 }, (_each, at) =>
        Array.from({ length: 10 }, (_none, index) => ({ key: `k${(at + index) % 7}`, size: 200 })),
      ),
    )
    for (const block of all) await committed(store, { blocks: [block], records: [], trims: [] })
    while (store.stats().unappliedBytes > 0) await new Promise((resolve) => setTimeout(resolve, 2))
    const superseded = latestOf(entries(all))
    const before = store.size(1)
    const rewrite = (blocks: readonly { readonly bytes: Uint8Array }[]): Block[] | null =>
      withoutSuperseded(
        1,
        blocks.map(({ bytes }) => decodeBlock(1, bytes)),
        superseded,
      )
    // Not beyond an offset that is still needed completely.
    for (let from: number | null = 0; from !== null; ) from = await store.compact(1, from, 500, 20_000, rewrite)
    const half = await contents(store)
    expect(half.filter(({ offset }) => offset >= 500)).toHaveLength(100)
    for (let from: number | null = 0; from !== null; ) from = await store.compact(1, from, 600, 20_000, rewrite)
    expect(await contents(store)).toEqual(entries(all).filter(({ key, offset }) => !superseded(key, offset)))
    expect(store.size(1)).toBeLessThan(before / 10)
    expect([...store.sizes(1, 0)].reduce((sum, { bytes }) => sum + bytes, 0)).toBe(store.size(1))
    await committed(store, {
      blocks: [encodeBlock(1, 600, 5000, [{ id: 'last', type: 'a.b', key: 'k1', text: '{}' }])],
      records: [],
      trims: [],
    })
    expect((await contents(store)).at(-1)).toMatchObject({ offset: 600 })
    await store.close()
  })
})

async function contents(store: Store<Block>): Promise<Entry[]> {
  const blocks: Block[] = []
  for (let offset = 0; ; offset = (blocks.at(-1)?.firstOffset ?? 0) + (blocks.at(-1)?.count ?? 0)) {
    const read = await store.read(1, offset, 30_000)
    blocks.push(...read.map(({ bytes }) => decodeBlock(1, bytes)).filter(({ firstOffset }) => firstOffset >= offset))
    if (read.length === 0 || offset === (blocks.at(-1)?.firstOffset ?? 0) + (blocks.at(-1)?.count ?? 0))
      return entries(blocks)
  }
}

test('the latest-by-key record becomes valid together with its event', async () => {
  const frames: { blocks: number; latest: string[] }[] = []
  class Watched extends MemoryStore<Block> {
    override commit(...[frame, done]: Parameters<MemoryStore<Block>['commit']>): void {
      frames.push({
        blocks: frame.blocks.length,
        latest: frame.records.map(([key]) => key).filter((key) => key.startsWith('y/')),
      })
      super.commit(frame, done)
    }
  }
  const { EmbeddedEngine } = await import('../../src/engines/embedded/embedded-engine.ts')
  const { memoryCapabilities } = await import('../../src/engines/embedded/capabilities.ts')
  const { systemClock } = await import('../../src/base/clock.ts')
  const { ConnectedBroker } = await import('../../src/broker/connected-broker.ts')
  const engine = new EmbeddedEngine({
    name: 'memory',
    capabilities: memoryCapabilities,
    store: new Watched(),
    clock: systemClock,
  })
  const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
  const prices = stream('prices', { retain: { latestByKey: true }, key: (each) => (each.data as { sku: string }).sku })
  await broker.publish(prices, { type: 'price', data: { sku: 'tea' } })
  expect(frames.filter(({ blocks }) => blocks > 0)).toEqual([{ blocks: 1, latest: ['y/00000001/tea'] }])
  await broker.close()
})

const Price = event('price', z.object({ sku: z.string(), cents: z.int(), note: z.string() }))
const prices = stream('prices', {
  events: [Price],
  key: (each) => each.data.sku,
  retain: { latestByKey: true },
  dedupe: false,
})

async function publishMany(broker: Broker, from: number, count: number): Promise<void> {
  for (let at = from; at < from + count; at += 500) {
    await broker.publish(
      prices,
      Array.from({ length: Math.min(500, from + count - at) }, (_, index) =>
        Price({ sku: `sku-${(at + index) % 20}`, cents: at + index, note: 'x'.repeat(700) }),
      ),
    )
  }
}

async function latest(broker: Broker): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for await (const { data } of broker.read(prices, { from: 'beginning' })) {
    expect(found.has(data.sku), data.sku).toBe(false)
    found.set(data.sku, data.cents)
  }
  return found
}

function segmentBytes(at: string): number {
  return readdirSync(at)
    .filter((name) => name.startsWith('segment'))
    .reduce((sum, name) => sum + statSync(join(at, name)).size, 0)
}

test('a file engine frees space behind a key that never changes, and readers and consumers see the latest events, also after a crash', {
  timeout: 60_000,
}, async () => {
  const data = join(directory(), 'data')
  let broker = await connect(`file:${data}`)
  await broker.declare(prices)
  await broker.publish(prices, Price({ sku: 'never-changes', cents: -1, note: '' }))
  const count = 24_000
  await publishMany(broker, 0, count)
  const stored = async (): Promise<number> =>
    (await broker.describe()).channels.find(({ name }) => name === 'prices')?.bytes ?? 0
  await expect.poll(stored, { timeout: 30_000, interval: 100 }).toBeLessThan(8 * 1024 * 1024)
  const expected = new Map([
    ['never-changes', -1],
    ...Array.from({ length: 20 }, (_, sku) => [`sku-${sku}`, count - 20 + sku] as const),
  ])
  expect(await latest(broker)).toEqual(expected)
  const handled: number[] = []
  const running = await broker.start(
    consumer('till', prices, { from: 'beginning' }).on(Price, ({ data: { cents } }) => void handled.push(cents)),
  )
  await expect.poll(() => handled.length, { timeout: 20_000 }).toBe(21)
  await running.stop()
  // A crash at this moment is simulated by a copy, made while it runs.
  await publishMany(broker, count, 10_000)
  const copy = join(directory(), 'copy')
  for (const name of readdirSync(data).sort(
    (a, b) => Number(a.startsWith('journal')) - Number(b.startsWith('journal')),
  )) {
    if (!name.endsWith('.sock')) cpSync(join(data, name), join(copy, name))
  }
  await broker.close()
  broker = await connect(`file:${copy}`)
  const after = new Map([
    ['never-changes', -1],
    ...Array.from({ length: 20 }, (_, sku) => [`sku-${sku}`, count + 10_000 - 20 + sku] as const),
  ])
  expect(await latest(broker)).toEqual(after)
  await broker.close()
  expect(segmentBytes(data)).toBeGreaterThan(0)
})

test('an event that a later one superseded while it waited for its next attempt is done', {
  timeout: 30_000,
}, async () => {
  const broker = await connect('memory:')
  const seen: number[] = []
  const worker = consumer('worker', prices, { retry: { attempts: 50, backoff: () => 300 } }).onAny((each) => {
    const { sku, cents } = each.data as { sku: string; cents: number }
    seen.push(cents)
    if (sku === 'sick' && cents === 1) throw new Error('not yet')
  })
  await broker.start(worker)
  await broker.publish(prices, Price({ sku: 'never-changes', cents: 0, note: '' }))
  await broker.publish(prices, Price({ sku: 'sick', cents: 1, note: '' }))
  await expect.poll(() => seen).toContain(1)
  await broker.publish(prices, Price({ sku: 'sick', cents: 2, note: '' }))
  await publishMany(broker, 100, 8000)
  // Its space is freed with that of the others, and its key continues.
  await expect.poll(() => seen, { timeout: 20_000 }).toContain(2)
  await expect.poll(async () => (await broker.describe()).consumers).toMatchObject([{ deadLetters: 0, retrying: 0 }])
  await broker.close()
})

test('commits that fill the journal continue while extents are rewritten', {
  timeout: 60_000,
}, async () => {
  const store = await DiskStore.open(directory(), (block) => decodeBlock(block.channelId, block.bytes), {
    journalFiles: 2,
    journalFileBytes: 32_768,
    applyBytes: 8192,
  })
  let writing = true
  const rewriting = (async () => {
    while (writing) {
      await store.compact(1, 0, Number.MAX_SAFE_INTEGER, 1_000_000, () => null)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  const text = JSON.stringify({ pad: 'x'.repeat(9000) })
  for (let offset = 0; offset < 200; offset++) {
    const block = encodeBlock(1, offset, Date.now(), [{ id: `${offset}`, type: 't', key: null, text }])
    await committed(store, { blocks: [block], records: [], trims: [] })
  }
  writing = false
  await rewriting
  expect(store.bounds(1).next).toBe(200)
  await store.close()
})

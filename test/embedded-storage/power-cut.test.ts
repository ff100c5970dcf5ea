/**
 * Power cuts at random moments of a random load: the store opens again, and holds all that was acknowledged, whole and in order, and of the commit that was under
 * way all or nothing. `MILLRACE_SEEDS=N` for more of them; a failure names its seed.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { DiskStore, type DiskStoreOptions } from '../../src/engines/embedded/storage/disk-store.ts'
import { INDEX_FILE } from '../../src/engines/embedded/storage/index-db.ts'
import type { StoredBlock } from '../../src/engines/embedded/store.ts'
import { decodeBlock } from '../../src/event/block.ts'
import { CuttableFileSystem, cutIndex } from './power-cut.ts'
import { committed, contentOf, Model, randomFrame, randomFrom } from './world.ts'

const root = mkdtempSync(join(tmpdir(), 'millrace-power-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const SEEDS = Number(process.env['MILLRACE_SEEDS'] ?? 60)
const SMALL: DiskStoreOptions = { journalFileBytes: 32 * 1024, journalFiles: 3, applyIntervalMs: 3, applyBytes: 40 * 1024, segmentFileBytes: 64 * 1024 }
const revive = (block: StoredBlock): StoredBlock => decodeBlock(block.channelId, block.bytes)

interface Cut {
  readonly directory: string
  /** The states that may be found: after the last acknowledged commit, or after the one that was under way. */
  readonly acceptable: readonly Model[]
}

/** Run a load, and cut the power at a random moment: between turns, within a commit, or within the index's transaction. */
async function runAndCut(seed: number): Promise<Cut> {
  const random = randomFrom(seed * 7919 + 1)
  const directory = join(root, `${seed}`)
  const cutTo = join(root, `${seed}-cut`)
  mkdirSync(cutTo)
  const fs = new CuttableFileSystem()
  const where = [
    'turn',
    'journal.before-write',
    'journal.after-write',
    'journal.after-sync',
    'apply.after-segment',
    'apply.after-index',
    'index',
    'apply.after-recycle',
  ][seed % 8] as string
  let countdown = 1 + Math.floor(random() * 60)
  const applies = where.startsWith('apply') || where === 'index'
  if (applies) countdown = 1 + Math.floor(random() * 8)
  let done = false
  let indexBefore: Buffer | null = null
  const cut = (index?: Buffer): void => {
    done = true
    fs.cut(directory, cutTo, random, index)
  }
  const failpoint = (name: string): void => {
    if (done) return
    if (name === 'apply.after-segment') indexBefore = readFileSync(join(directory, INDEX_FILE))
    if (where === 'index' && name === 'apply.after-index' && --countdown === 0 && indexBefore !== null) {
      cut(cutIndex(indexBefore, readFileSync(join(directory, INDEX_FILE)), random))
    } else if (name === where && --countdown === 0) cut()
  }
  const store = await DiskStore.open(directory, revive, { ...SMALL, fileSystem: fs, failpoint })
  const [before, after] = [new Model(), new Model()]
  let acceptable: Model[] = [before, after]
  const frames = []
  for (let turn = 0; turn < 400 && !done; turn++) {
    const frame = randomFrame(random, after)
    frames.push(frame)
    after.apply(frame)
    await committed(store, frame)
    if (!done) before.apply(frame)
    if (!done && where === 'turn' && --countdown === 0) cut()
    if (random() < 0.1) await new Promise((resolve) => setTimeout(resolve, 2))
  }
  if (!done) {
    cut()
    acceptable = [before]
  }
  await store.close()
  return { directory: cutTo, acceptable }
}

describe('power cuts', () => {
  test.each(Array.from({ length: SEEDS }, (_, seed) => seed))('seed %d', async (seed) => {
    const { directory, acceptable } = await runAndCut(seed)
    const store = await DiskStore.open(directory, revive, SMALL)
    const first = acceptable.at(-1)?.first ?? new Map()
    const found = await contentOf(store, first)
    const matches = acceptable.filter((model) => {
      const wanted = model.content()
      const events = Object.fromEntries(
        Object.entries(wanted.events).filter(([place]) => Number(place.split('/')[1]) >= (first.get(Number(place.split('/')[0])) ?? 0)),
      )
      return JSON.stringify([sorted(events), wanted.records]) === JSON.stringify([sorted(found.events), sorted(found.records)])
    })
    if (matches.length === 0) expect(found).toEqual(acceptable[0]?.content())
    // It goes on, and what it takes now is there after another opening.
    const [model] = matches as [Model]
    const frame = randomFrame(randomFrom(seed + 1), model, false)
    await committed(store, frame)
    await store.close()
    model.apply(frame)
    const again = await DiskStore.open(directory, revive, SMALL)
    expect(sorted((await contentOf(again, first)).records)).toEqual(model.content().records)
    await again.close()
    for (const name of [`${seed}`, `${seed}-cut`]) rmSync(join(root, name), { recursive: true, force: true })
  })
})

test('of the first write to a new journal file all is kept but its first sector', async () => {
  const directory = join(root, 'first-sector')
  const cutTo = join(root, 'first-sector-cut')
  mkdirSync(cutTo)
  const fs = new CuttableFileSystem()
  const fates = [0.9, 0.9, 0.1]
  let cut = false
  const failpoint = (name: string): void => {
    if (name !== 'journal.after-write' || cut) return
    cut = true
    fs.cut(directory, cutTo, () => fates.shift() ?? 0.4)
  }
  const store = await DiskStore.open(directory, revive, { ...SMALL, fileSystem: fs, failpoint })
  await committed(store, { blocks: [], records: [['r/1', Buffer.alloc(4096, 'x')]], trims: [] })
  await store.close()
  const again = await DiskStore.open(cutTo, revive, SMALL)
  expect(again.get('r/1')).toBeUndefined()
  await again.close()
})

function sorted(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)))
}

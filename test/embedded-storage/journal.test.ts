/** The journal's files: their number is limited, and a commit of any size fits. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { DiskStore } from '../../src/engines/embedded/storage/disk-store.ts'
import { revive, SMALL } from './simulation.ts'
import { committed } from './world.ts'

const root = mkdtempSync(join(tmpdir(), 'millrace-journal-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

test('a commit that is larger than every file of a full journal is stored', async () => {
  const directory = join(root, 'large')
  const store = await DiskStore.open(directory, revive, SMALL)
  for (let at = 0; at < 40; at++)
    await committed(store, { blocks: [], records: [[`r/${at}`, Buffer.alloc(10_000, at)]], trims: [] })
  for (const bytes of [200_000, 250_000, 900_000])
    await committed(store, { blocks: [], records: [[`large/${bytes}`, Buffer.alloc(bytes, 7)]], trims: [] })
  await store.close()
  const again = await DiskStore.open(directory, revive, SMALL)
  expect(again.get('r/39')).toEqual(Buffer.alloc(10_000, 39))
  for (const bytes of [200_000, 250_000, 900_000]) expect(again.get(`large/${bytes}`)?.length).toBe(bytes)
  await again.close()
})

/** Changed records that are not applied yet: a range returns what a scan of all records would, at any time. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DiskStore } from '../../src/engines/embedded/storage/disk-store.ts'
import { LayerRecords } from '../../src/engines/embedded/storage/layer-records.ts'
import { MemoryStore } from '../../src/engines/embedded/storage/memory-store.ts'
import { committed, Model, randomFrame, randomFrom } from './world.ts'

test('a range has the same records as a scan of all records', () => {
  const key = fc
    .tuple(fc.constantFrom('b', 'g', 'k'), fc.nat(60))
    .map(([table, n]) => `${table}/c/${String(n).padStart(3, '0')}`)
  const change = fc.record({ kind: fc.constant('set' as const), key, value: fc.option(fc.nat(255)) })
  const range = fc.record({ kind: fc.constant('range' as const), from: key, to: key })
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 8, arbitrary: change }, { weight: 1, arbitrary: range }), {
        maxLength: 600,
        size: 'max',
      }),
      (steps) => {
        const [records, all] = [new LayerRecords(), new Map<string, Uint8Array | null>()]
        for (const step of steps) {
          if (step.kind === 'set') {
            const value = step.value === null ? null : Uint8Array.of(step.value)
            records.set(step.key, value)
            all.set(step.key, value)
          } else {
            const wanted = [...all]
              .filter(([each]) => each >= step.from && each < step.to)
              .sort(([a], [b]) => (a < b ? -1 : 1))
            expect([...records.range(step.from, step.to)].sort(([a], [b]) => (a < b ? -1 : 1))).toEqual(wanted)
          }
        }
        expect([...records]).toEqual([...all])
      },
    ),
    { numRuns: 60 },
  )
})

test('records are counted without being read, and as many as a range finds, applied or not', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-count-'))
  const disk = await DiskStore.open(directory, (block) => block, { applyIntervalMs: 1 })
  const random = randomFrom(5)
  const model = new Model()
  try {
    for (const store of [disk, new MemoryStore()]) {
      for (let n = 0; n < 60; n++) {
        const { records } = randomFrame(random, model)
        await committed(store, { blocks: [], records, trims: [] })
        if (n % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
        for (const [from, to] of [
          ['r/', 'r0'],
          ['r/1', 'r/2'],
          ['r/9', 'r/9'],
        ] as const)
          expect(store.count(from, to)).toBe(store.range(from, to).length)
      }
      await store.close()
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
})
